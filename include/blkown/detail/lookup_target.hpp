// SPDX-License-Identifier: BSL-1.0
//
// Where a value that a device sent points, before any request is looked at.

#ifndef BLKOWN_DETAIL_LOOKUP_TARGET_HPP
#define BLKOWN_DETAIL_LOOKUP_TARGET_HPP

#include <blkown/config.hpp>
#include <blkown/detail/cookie_codec.hpp>
#include <blkown/detail/ref_value.hpp>
#include <blkown/request.hpp>
#include <blkown/tag.hpp>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace detail {

/// The request that a lookup asks for, or why there is none.
struct LookupTarget {
  LookupReason reason = LookupReason::none;
  QueueIndex queue;
  Tag tag;
  Generation generation;

  /// By a value that arrived on a queue.
  [[nodiscard]] static LookupTarget of(const TagSetState& core, QueueIndex arrival_queue,
                                       std::uint64_t value) noexcept {
    const std::uint64_t queue = core.codec.queue(value, arrival_queue);
    const std::uint64_t tag = core.codec.tag(value);
    LookupTarget target;
    target.queue = arrival_queue;
    target.tag.value = static_cast<std::uint32_t>(tag);
    target.generation = core.codec.generation(value);
    if (arrival_queue.value >= core.queue_count || queue >= core.queue_count) {
      target.reason = LookupReason::no_such_queue;
    } else if (tag >= core.depth || core.codec.has_stray_bits(value)) {
      target.reason = LookupReason::no_such_tag;
    } else if (queue != arrival_queue.value) {
      target.reason = LookupReason::wrong_queue;
    }
    return target;
  }

  /// By queue and tag alone.
  [[nodiscard]] static LookupTarget of(const TagSetState& core, QueueIndex queue,
                                       Tag tag) noexcept {
    LookupTarget target;
    target.queue = queue;
    target.tag = tag;
    if (queue.value >= core.queue_count) {
      target.reason = LookupReason::no_such_queue;
    } else if (tag.value >= core.depth) {
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
