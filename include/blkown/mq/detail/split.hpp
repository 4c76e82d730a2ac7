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
  std::uint64_t sector = 0;  ///< The first sector of the rest.
};

/// The limits of a disk, prepared for splitting.
class SplitLimits {
 public:
  /// Precondition: check() accepts the limits.
  constexpr SplitLimits(const QueueLimits& limits, std::uint32_t block_bytes) noexcept
      : limits_{limits},
        cut_{usable_segment_bytes(limits), limits.virt_boundary_mask},
        block_mask_{block_bytes - 1} {
    limits_.max_segment_bytes = usable_segment_bytes(limits);
    if (limits.chunk_sectors == 0 && limits_.max_segment_bytes > limits.virt_boundary_mask) {
      // Such memory is one piece even if it begins just before a boundary.
      max_plain_bytes_ = std::min(limits_.max_segment_bytes - limits.virt_boundary_mask,
                                  std::uint64_t{limits.max_sectors} << sector_shift);
    }
  }

  /// The limits. Pieces of at most max_segment_bytes keep the alignment of memory.
  [[nodiscard]] constexpr const QueueLimits& limits() const noexcept { return limits_; }
  [[nodiscard]] constexpr std::uint32_t block_bytes() const noexcept { return block_mask_ + 1; }
  [[nodiscard]] constexpr std::uint32_t block_mask() const noexcept { return block_mask_; }
  /// Where the memory of requests is cut.
  [[nodiscard]] constexpr RequestSegments::Cut cut() const noexcept { return cut_; }
  /// A read or write of one segment is not split up to this length, wherever it lies. 0: its place
  /// matters.
  [[nodiscard]] constexpr std::uint64_t max_plain_bytes() const noexcept {
    return max_plain_bytes_;
  }

 private:
  std::uint64_t max_plain_bytes_ = 0;
  QueueLimits limits_;
  RequestSegments::Cut cut_;
  std::uint32_t block_mask_;  // the block size is a power of two
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

/// The length of the longest range of at most `sectors` sectors that ends between two units of the
/// operation, or `sectors` if no range does.
[[nodiscard]] constexpr std::uint64_t cut_between_units(const Rest& rest, std::uint64_t sectors,
                                                        const QueueLimits& limits) noexcept {
  const bool is_discard = rest.op == Op::discard;
  const std::uint64_t unit =
      is_discard ? limits.discard_granularity_sectors : limits.write_zeroes_granularity_sectors;
  if (unit == 0) return sectors;
  const std::uint64_t first =
      is_discard ? limits.discard_alignment_sectors : limits.write_zeroes_alignment_sectors;
  const std::uint64_t end = (rest.sector + sectors) % unit;
  const std::uint64_t beyond = end >= first ? end - first : unit - (first - end);
  return beyond < sectors ? sectors - beyond : sectors;
}

/// next_part without its fast path. Takes a copy of the rest, so that the fast path's need not be
/// in memory.
[[nodiscard, gnu::noinline]] inline Part next_part_in_full(Rest rest,
                                                           const SplitLimits& split) noexcept {
  const QueueLimits& limits = split.limits();
  std::uint64_t limit_sectors = max_sectors_of(rest.op, limits);
  if (const std::uint64_t chunk = limits.chunk_sectors; chunk != 0) {
    limit_sectors = std::min(limit_sectors, chunk - rest.sector % chunk);
  }
  const std::uint64_t limit_bytes = limit_sectors > (~std::uint64_t{0} >> sector_shift)
                                        ? ~std::uint64_t{0}
                                        : limit_sectors << sector_shift;
  std::uint64_t length_bytes = std::min(rest.length_bytes, limit_bytes);
  if (has_data(rest.op)) {
    length_bytes = mappable_bytes(rest, length_bytes, limits);
  } else if (length_bytes != rest.length_bytes) {
    length_bytes = cut_between_units(rest, length_bytes >> sector_shift, limits) << sector_shift;
  }
  length_bytes -= length_bytes % split.block_bytes();
  if (rest.op == Op::zone_append && length_bytes != rest.length_bytes) return {};
  if (!has_data(rest.op)) return {length_bytes, {}};
  return {length_bytes, advanced(rest.segments, rest.begin, length_bytes)};
}

/// The longest part of the rest that one request may have: whole blocks, within max_sectors or the
/// operation's own limit, within a chunk, within max_segments, and without a gap on the virt
/// boundary. A range without data that is cut ends between two units, if a unit ends in it. A
/// zone_append is never split: the part is the whole rest, or empty.
/// Precondition: the rest is made of whole blocks, and its memory keeps the alignment.
[[nodiscard]] inline Part next_part(const Rest& rest, const SplitLimits& split) noexcept {
  // The common case: the rest is one piece of memory within the limits.
  if (rest.op <= Op::write && rest.segments.size() == 1 &&
      rest.length_bytes <= split.max_plain_bytes()) [[likely]] {
    return {rest.length_bytes, {1, 0}};
  }
  return next_part_in_full(rest, split);
}

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
