// SPDX-License-Identifier: BSL-1.0
//
// CookieCodec: a CookieLayout with precomputed masks. Every publication encodes a cookie and every
// completion decodes one, without a branch on the layout.

#ifndef BLKOWN_DETAIL_COOKIE_CODEC_HPP
#define BLKOWN_DETAIL_COOKIE_CODEC_HPP

#include <blkown/config.hpp>
#include <blkown/detail/ref_value.hpp>
#include <blkown/tag.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {

namespace detail {

class CookieCodec {
 public:
  CookieCodec() = default;
  /// Precondition: check_layout returns no error.
  explicit constexpr CookieCodec(const CookieLayout& layout) noexcept
      : queue_{layout.queue},
        tag_{layout.tag},
        generation_{layout.generation},
        stray_mask_{layout.stray_mask()},
        fixed_mask_{layout.stray_mask() | queue_.put(~std::uint64_t{0})},
        arrival_mask_{layout.queue.bits == 0 ? ~std::uint64_t{0} : 0},
        match_mask_{GenerationMatch<Word>::low_bits({}, layout.generation.bits).mask} {}

  [[nodiscard, gnu::always_inline]] constexpr Cookie cookie(QueueIndex queue, Tag tag,
                                                            Generation generation) const noexcept {
    return {queue_.put(queue.value) | tag_.put(tag.value) | generation_.put(generation.value),
            generation, tag, queue};
  }

  /// The value's queue. Without a queue field in the layout, the arrival queue.
  [[nodiscard]] constexpr std::uint64_t queue(std::uint64_t value,
                                              QueueIndex arrival_queue) const noexcept {
    return queue_.get(value) | (arrival_queue.value & arrival_mask_);
  }
  [[nodiscard]] constexpr std::uint64_t tag(std::uint64_t value) const noexcept {
    return tag_.get(value);
  }
  [[nodiscard]] constexpr Generation generation(std::uint64_t value) const noexcept {
    return {static_cast<std::uint32_t>(generation_.get(value))};
  }
  /// Whether the value is of the arrival queue, and no bit outside the layout is set: all that can
  /// be wrong with a value but its tag and its generation.
  /// Precondition: arrival_queue fits into the layout's queue field, if there is one.
  [[nodiscard]] constexpr bool is_of_queue(std::uint64_t value,
                                           QueueIndex arrival_queue) const noexcept {
    return has_fixed_bits(value, fixed_bits(arrival_queue));
  }
  /// The two steps of is_of_queue(), for a caller that keeps the queue's bits.
  [[nodiscard]] constexpr std::uint64_t fixed_bits(QueueIndex queue) const noexcept {
    return queue_.put(queue.value);
  }
  [[nodiscard]] constexpr bool has_fixed_bits(std::uint64_t value,
                                              std::uint64_t bits) const noexcept {
    return (value & fixed_mask_) == bits;
  }
  /// Whether a bit outside the layout is set.
  [[nodiscard]] constexpr bool has_stray_bits(std::uint64_t value) const noexcept {
    return (value & stray_mask_) != 0;
  }
  /// The comparison of a lookup for this generation.
  [[nodiscard]] constexpr GenerationMatch<Word> match(Generation generation) const noexcept {
    return {static_cast<Word>(RefValue<Word>::idle_at(generation).bits & match_mask_), match_mask_};
  }

 private:
  /// A CookieField with its mask, at bit 0. The mask of an absent field is 0.
  struct Field {
    std::uint64_t mask = 0;
    std::uint8_t shift = 0;

    Field() = default;
    constexpr Field(CookieField field) noexcept
        : mask{field.max()}, shift{field.bits == 0 ? std::uint8_t{0} : field.shift} {}
    [[nodiscard]] constexpr std::uint64_t get(std::uint64_t value) const noexcept {
      return (value >> shift) & mask;
    }
    [[nodiscard]] constexpr std::uint64_t put(std::uint64_t part) const noexcept {
      return (part & mask) << shift;
    }
  };

  Field queue_;
  Field tag_;
  Field generation_;
  std::uint64_t stray_mask_ = 0;
  std::uint64_t fixed_mask_ = 0;  // the stray bits and the queue
  std::uint64_t arrival_mask_ = 0;
  Word match_mask_ = 0;
};

}  // namespace detail

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
