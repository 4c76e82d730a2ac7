// SPDX-License-Identifier: BSL-1.0
//
// The split of a bio into requests that keep the limits.

#ifndef BLKOWN_MQ_DETAIL_SPLIT_HPP
#define BLKOWN_MQ_DETAIL_SPLIT_HPP

#include <algorithm>
#include <blkown/config.hpp>
#include <blkown/mq/limits.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/mq/segments.hpp>
#include <blkown/segment.hpp>
#include <cstddef>
#include <cstdint>
#include <span>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// The part of a bio that is not issued yet: the argument of next_part.
struct Rest {
  Op op{};
  std::span<const Segment> segments;
  SegmentCursor begin;
  std::uint64_t length_bytes = 0;
};

/// The part of a bio that the next request gets.
struct Part {
  std::uint64_t length_bytes = 0;  ///< 0: the limits do not allow even one block.
  SegmentCursor end;               ///< The beginning of the next part.
};

[[nodiscard]] constexpr std::uint64_t max_sectors_of(Op op, const QueueLimits& limits) noexcept {
  switch (op) {
    case Op::discard: return limits.max_discard_sectors;
    case Op::write_zeroes: return limits.max_write_zeroes_sectors;
    case Op::zone_append: return limits.max_zone_append_sectors;
    default: return limits.max_sectors;
  }
}

/// The position `length_bytes` behind `at`.
[[nodiscard]] inline SegmentCursor advanced(std::span<const Segment> segments, SegmentCursor at,
                                            std::uint64_t length_bytes) noexcept {
  while (length_bytes != 0) {
    const std::uint64_t here_bytes = segments[at.index].length_bytes - at.offset_bytes;
    if (length_bytes < here_bytes) {
      at.offset_bytes += length_bytes;
      break;
    }
    length_bytes -= here_bytes;
    ++at.index;
    at.offset_bytes = 0;
  }
  return at;
}

/// The length of memory from the cursor on that forms at most max_segments pieces without a gap on
/// the virt boundary.
[[nodiscard]] inline std::uint64_t mappable_bytes(const Rest& rest, std::uint64_t max_bytes,
                                                  const QueueLimits& limits) noexcept {
  const RequestSegments pieces{rest.segments, rest.begin, max_bytes, limits.max_segment_bytes,
                               limits.virt_boundary_mask};
  std::uint64_t taken_bytes = 0;
  std::uint32_t count = 0;
  const std::byte* end = nullptr;
  for (const Segment piece : pieces) {
    // The part ends between two pieces unless the end of the first and the beginning of the second
    // lie on the boundary.
    const auto seam =
        reinterpret_cast<std::uintptr_t>(end) | reinterpret_cast<std::uintptr_t>(piece.data);
    const bool has_gap = count != 0 && (seam & limits.virt_boundary_mask) != 0;
    if (has_gap || count == limits.max_segments) break;
    ++count;
    taken_bytes += piece.length_bytes;
    end = piece.end();
  }
  return taken_bytes;
}

/// next_part without its fast path.
[[nodiscard, gnu::noinline]] inline Part next_part_in_full(const Rest& rest,
                                                           const QueueLimits& limits,
                                                           std::uint32_t block_bytes) noexcept {
  const std::uint64_t limit_sectors = max_sectors_of(rest.op, limits);
  const std::uint64_t limit_bytes = limit_sectors > (~std::uint64_t{0} >> sector_shift)
                                        ? ~std::uint64_t{0}
                                        : limit_sectors << sector_shift;
  std::uint64_t length_bytes = std::min(rest.length_bytes, limit_bytes);
  if (has_data(rest.op)) {
    length_bytes = mappable_bytes(rest, length_bytes, limits);
  }
  length_bytes -= length_bytes % block_bytes;
  if (rest.op == Op::zone_append && length_bytes != rest.length_bytes) return {};
  if (!has_data(rest.op)) return {length_bytes, {}};
  return {length_bytes, advanced(rest.segments, rest.begin, length_bytes)};
}

/// The longest part of the rest that one request may have: whole blocks, within max_sectors or the
/// operation's own limit, within max_segments, and without a gap on the virt boundary. A
/// zone_append is never split: the part is the whole rest, or empty.
/// Precondition: check_config() accepts the limits; the rest is made of whole blocks.
[[nodiscard]] inline Part next_part(const Rest& rest, const QueueLimits& limits,
                                    std::uint32_t block_bytes) noexcept {
  // The common case: the rest is one piece of memory within the limits.
  if (rest.op <= Op::write && rest.segments.size() == 1 && limits.virt_boundary_mask == 0 &&
      rest.length_bytes <= limits.max_segment_bytes &&
      (rest.length_bytes >> sector_shift) <= limits.max_sectors) [[likely]] {
    return {rest.length_bytes, {1, 0}};
  }
  return next_part_in_full(rest, limits, block_bytes);
}

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
