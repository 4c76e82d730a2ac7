// SPDX-License-Identifier: BSL-1.0
//
// Names of a request: its tag, the generation of its current I/O, the cookie that a device carries,
// and what a lookup answers when a cookie names nothing.

#ifndef BLKOWN_TAG_HPP
#define BLKOWN_TAG_HPP

#include <blkown/config.hpp>
#include <blkown/detail/enum_count.hpp>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace blkown {
inline namespace BLKOWN_ABI {

/// The index of a request within its hardware queue, 0 to depth - 1 (blk-mq's rq->tag).
struct Tag {
  std::uint32_t value = 0;
  friend constexpr auto operator<=>(Tag, Tag) = default;
};

/// The index of a hardware queue, 0 to queue_count() - 1. An integer does not convert to a
/// QueueIndex, so a lookup whose queue and value are swapped does not compile.
/// Source: blk-mq's hctx->queue_num.
struct QueueIndex {
  constexpr QueueIndex() noexcept = default;
  explicit constexpr QueueIndex(std::uint32_t index) noexcept : value{index} {}

  std::uint32_t value = 0;
  friend constexpr auto operator<=>(QueueIndex, QueueIndex) = default;
};
static_assert(sizeof(QueueIndex) == 4 && std::is_trivially_copyable_v<QueueIndex>,
              "a QueueIndex is passed in a register, as an integer is");

/// Which use of a tag an I/O is. It advances by one at every publication and wraps at the width of
/// the ownership word's field: 32 bits of a 64-bit word, 16 bits of a 32-bit word.
struct Generation {
  std::uint32_t value = 0;
  friend constexpr auto operator<=>(Generation, Generation) = default;
};

/// The name of one publication of one request. `value` is what goes to the device and comes back
/// from it (NVMe's command identifier, NBD's cookie, io_uring's user_data); the other fields are
/// the same name in full, for the driver's own side.
struct Cookie {
  std::uint64_t value = 0;
  Generation generation;
  Tag tag;
  QueueIndex queue;
  friend constexpr bool operator==(const Cookie&, const Cookie&) = default;
};

/// Why a lookup gave no request. A lookup tests in this order and answers the first that applies.
enum class LookupReason : std::uint8_t {
  none,              ///< No objection. Never the reason of a LookupError.
  no_such_queue,     ///< The queue that the value came from or names does not exist.
  no_such_tag,       ///< The tag is not below the depth, or a bit outside the layout is set.
  wrong_queue,       ///< The value names another queue than the one it came from.
  early,             ///< The generation is the next one: not published yet.
  stale_generation,  ///< The generation is another one: that I/O is over, or never was.
  owned,             ///< One handle has the request to itself; it is not with the device.
  idle,              ///< The block layer has it: no I/O was started, or it has ended.
  claimed,           ///< The right to end it is taken: a Claim holds it, or has ended it already.
  saturated,         ///< As many references exist as the word allows.
  shared,            ///< tag_to_owned only: references exist, so it cannot be had alone.
};

/// The enumerator's name, for messages and counters.
[[nodiscard]] constexpr const char* to_string(LookupReason reason) noexcept {
  switch (reason) {
    case LookupReason::none: return "none";
    case LookupReason::no_such_queue: return "no_such_queue";
    case LookupReason::no_such_tag: return "no_such_tag";
    case LookupReason::wrong_queue: return "wrong_queue";
    case LookupReason::early: return "early";
    case LookupReason::stale_generation: return "stale_generation";
    case LookupReason::owned: return "owned";
    case LookupReason::idle: return "idle";
    case LookupReason::claimed: return "claimed";
    case LookupReason::saturated: return "saturated";
    case LookupReason::shared: return "shared";
  }
  return "unknown reason";
}

/// The number of enumerators, for tables indexed by LookupReason.
inline constexpr std::size_t lookup_reason_count =
    static_cast<std::size_t>(LookupReason::shared) + 1;
static_assert(detail::counts_enumerators<LookupReason>(lookup_reason_count));

/// Why a device's value gave no request, with all that is needed to log it. Where the value names
/// no request (no_such_queue, no_such_tag, wrong_queue), seen_generation is 0.
struct LookupError {
  LookupReason reason = LookupReason::none;
  QueueIndex queue;                ///< The queue the value came from.
  Tag tag;                         ///< The tag it names.
  Generation expected_generation;  ///< What it carries, as many bits as the layout has.
  Generation seen_generation;      ///< What the request had at that moment, in full.
  friend constexpr bool operator==(const LookupError&, const LookupError&) = default;
};

/// A field of a CookieLayout: `bits` bits, the lowest at bit `shift` of the device's integer.
struct CookieField {
  std::uint8_t shift = 0;
  std::uint8_t bits = 0;
  friend constexpr bool operator==(const CookieField&, const CookieField&) = default;

  /// The largest value the field can carry; 0 for an absent field.
  [[nodiscard]] constexpr std::uint64_t max() const noexcept {
    return bits >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1;
  }
  /// The field's bits in place.
  [[nodiscard]] constexpr std::uint64_t mask() const noexcept {
    return bits == 0 ? 0 : max() << shift;
  }
  [[nodiscard]] constexpr std::uint64_t get(std::uint64_t value) const noexcept {
    return bits == 0 ? 0 : (value >> shift) & max();
  }
  /// `field_value` in place, its bits above the field's width cut off.
  [[nodiscard]] constexpr std::uint64_t put(std::uint64_t field_value) const noexcept {
    return bits == 0 ? 0 : (field_value & max()) << shift;
  }
};

/// Where queue, tag, generation and user bits sit in the integer that a device carries.
///
/// With g generation bits a stale value is refused unless a multiple of 2^g publications of its tag
/// lie between; with 0 bits every value that names a request in flight is accepted, with 1 bit
/// `early` and `stale_generation` cannot be told apart and `early` is answered.
/// A layout without a queue field takes the queue from where the completion arrived.
/// User bits are the driver's own: lookups ignore them.
///
/// A plain value; whether it is sound, and wide enough for a queue count and a depth, is checked
/// when a TagSet is made (TagSetError).
struct CookieLayout {
  std::uint8_t width_bits = 64;  ///< How wide the device's integer is.
  CookieField queue;
  CookieField tag;
  CookieField generation;
  CookieField user;
  bool all_ones_reserved = true;  ///< The integer with every bit set is never a cookie.

  friend constexpr bool operator==(const CookieLayout&, const CookieLayout&) = default;

  /// NVMe's 16-bit command identifier (NVM Express Base Specification, common command format): tag
  /// 12 bits, generation 4 bits; FFFFh is reserved. The queue is the one the completion is in.
  [[nodiscard]] static constexpr CookieLayout nvme() noexcept {
    return {.width_bits = 16,
            .queue = {},
            .tag = {.shift = 0, .bits = 12},
            .generation = {.shift = 12, .bits = 4},
            .user = {},
            .all_ones_reserved = true};
  }

  /// NBD's 64-bit cookie, which the server returns as it was sent (NBD protocol, simple and
  /// structured reply): tag 16 bits, queue (connection) 16 bits, generation as wide as the word's.
  [[nodiscard]] static constexpr CookieLayout nbd() noexcept {
    return {.width_bits = 64,
            .queue = {.shift = 16, .bits = 16},
            .tag = {.shift = 0, .bits = 16},
            .generation = {.shift = 32, .bits = widest_generation_bits},
            .user = {},
            .all_ones_reserved = true};
  }

  /// io_uring's 64-bit user_data: tag 16 bits, queue 8 bits, 8 user bits to tell the entries of one
  /// request apart (its link timeout, its cancel), generation as wide as the word's. All ones is
  /// what liburing itself uses for its internal timeouts.
  [[nodiscard]] static constexpr CookieLayout io_uring() noexcept {
    return {.width_bits = 64,
            .queue = {.shift = 16, .bits = 8},
            .tag = {.shift = 0, .bits = 16},
            .generation = {.shift = 32, .bits = widest_generation_bits},
            .user = {.shift = 24, .bits = 8},
            .all_ones_reserved = true};
  }

  /// The device's integer for a request, user bits 0. A generation wider than its field is cut.
  [[nodiscard]] constexpr std::uint64_t encode(QueueIndex queue_index, Tag tag_index,
                                               Generation current) const noexcept {
    return queue.put(queue_index.value) | tag.put(tag_index.value) | generation.put(current.value);
  }

  /// `value` with its user bits replaced; bits of `user_bits` above the field are cut off.
  [[nodiscard]] constexpr std::uint64_t with_user(std::uint64_t value,
                                                  std::uint64_t user_bits) const noexcept {
    return (value & ~user.mask()) | user.put(user_bits);
  }
  /// The driver's own bits of a value that came back.
  [[nodiscard]] constexpr std::uint64_t user_of(std::uint64_t value) const noexcept {
    return user.get(value);
  }

  /// The bits that no field uses; a value with one of them set was not made by this layout.
  [[nodiscard]] constexpr std::uint64_t stray_mask() const noexcept {
    return ~(queue.mask() | tag.mask() | generation.mask() | user.mask());
  }

  /// The width of the ownership word's generation, the most that a layout can use.
  static constexpr std::uint8_t widest_generation_bits = BLKOWN_WORD_BITS / 2;
};

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
