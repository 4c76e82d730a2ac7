// SPDX-License-Identifier: BSL-1.0
//
// LookupTarget: the request that a device's value names. The search reads no request.

#ifndef BLKOWN_DETAIL_LOOKUP_TARGET_HPP
#define BLKOWN_DETAIL_LOOKUP_TARGET_HPP

#include <blkown/config.hpp>
#include <blkown/detail/cookie_codec.hpp>
#include <blkown/detail/ref_value.hpp>
#include <blkown/detail/tag_set_state.hpp>
#include <blkown/tag.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace detail {

/// The request that a lookup names, or the reason why it names none.
struct LookupTarget {
  LookupReason reason = LookupReason::none;
  QueueIndex queue;
  Tag tag;
  Generation generation;

  /// The target of `value`, which a device sent on `arrival_queue`.
  [[nodiscard]] static LookupTarget of(const TagSetState& state, QueueIndex arrival_queue,
                                       std::uint64_t value) noexcept {
    const std::uint64_t tag = state.codec.tag(value);
    LookupTarget target;
    target.queue = arrival_queue;
    target.tag.value = static_cast<std::uint32_t>(tag);
    target.generation = state.codec.generation(value);
    if (!is_named(state, arrival_queue, value, tag)) [[unlikely]]
      target.reason = reason_of(state, arrival_queue, value);
    return target;
  }

  /// Whether the value, with this tag, names a request of the arrival queue.
  [[nodiscard]] static bool is_named(const TagSetState& state, QueueIndex arrival_queue,
                                     std::uint64_t value, std::uint64_t tag) noexcept {
    return arrival_queue.value < state.queue_count && tag < state.depth &&
           state.codec.is_of_queue(value, arrival_queue);
  }

  /// The error of a lookup whose request has refused it at a word with these bits. Out of line, so
  /// that a lookup which succeeds has no part of it.
  [[nodiscard, gnu::cold, gnu::noinline]] static LookupError error_of(const TagSetState& state,
                                                                      QueueIndex arrival_queue,
                                                                      std::uint64_t value,
                                                                      LookupReason refusal,
                                                                      Word seen_bits) noexcept {
    return of(state, arrival_queue, value).error(refusal, RefValue<Word>{seen_bits});
  }
  /// The error of a lookup whose value names no request.
  [[nodiscard, gnu::cold, gnu::noinline]] static LookupError error_of(
      const TagSetState& state, QueueIndex arrival_queue, std::uint64_t value) noexcept {
    const LookupTarget target = of(state, arrival_queue, value);
    return target.error(target.reason, RefValue<Word>{});
  }

  /// Why a value names no request, in the order in which the reasons are tested.
  /// Precondition: `of` has found that it names none.
  [[nodiscard, gnu::cold, gnu::noinline]] static LookupReason reason_of(
      const TagSetState& state, QueueIndex arrival_queue, std::uint64_t value) noexcept {
    const std::uint64_t queue = state.codec.queue(value, arrival_queue);
    const std::uint64_t tag = state.codec.tag(value);
    if (arrival_queue.value >= state.queue_count || queue >= state.queue_count) {
      return LookupReason::no_such_queue;
    }
    if (tag >= state.depth || state.codec.has_stray_bits(value)) return LookupReason::no_such_tag;
    return LookupReason::wrong_queue;
  }

  /// The target of a queue and a tag.
  [[nodiscard]] static LookupTarget of(const TagSetState& state, QueueIndex queue,
                                       Tag tag) noexcept {
    LookupTarget target;
    target.queue = queue;
    target.tag = tag;
    if (queue.value >= state.queue_count) {
      target.reason = LookupReason::no_such_queue;
    } else if (tag.value >= state.depth) {
      target.reason = LookupReason::no_such_tag;
    }
    return target;
  }

  [[nodiscard]] LookupError error(LookupReason refusal, RefValue<Word> seen) const noexcept {
    return {.reason = refusal,
            .queue = queue,
            .tag = tag,
            .expected_generation = generation,
            .seen_generation = seen.generation()};
  }
};

}  // namespace detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
