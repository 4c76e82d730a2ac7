// SPDX-License-Identifier: BSL-1.0
//
// Admission: the checks that a bio passes before it costs a tag.

#ifndef BLKOWN_MQ_DETAIL_ADMISSION_HPP
#define BLKOWN_MQ_DETAIL_ADMISSION_HPP

#include <blkown/config.hpp>
#include <blkown/mq/bio.hpp>
#include <blkown/mq/detail/medium_state.hpp>
#include <blkown/mq/detail/split.hpp>
#include <blkown/mq/disk_config.hpp>
#include <blkown/mq/limits.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/segment.hpp>
#include <blkown/status.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// Whether the range is made of whole blocks, and within the capacity. `block_mask` is the block
/// size less 1: the size is a power of two, so the number of sectors in a block is one, too.
/// Precondition: the range is not empty.
[[nodiscard, gnu::always_inline]] inline bool is_inside(const Bio& bio, std::uint64_t block_mask,
                                                        std::uint64_t capacity_sectors) noexcept {
  const std::uint64_t sector = bio.sector();
  const std::uint64_t length_bytes = bio.length_bytes();
  const bool is_aligned = (((sector << sector_shift) | length_bytes) & block_mask) == 0;
  return is_aligned && sector < capacity_sectors &&
         (length_bytes >> sector_shift) <= capacity_sectors - sector;
}

/// The status that refuses a bio for its operation or its range.
[[nodiscard]] inline Status range_refusal(const Bio& bio, const DiskConfig& config,
                                          const QueueLimits& limits,
                                          std::uint64_t capacity_sectors) noexcept {
  const Op op = bio.op();
  const std::uint64_t sector = bio.sector();
  if (op > Op::write) {  // every disk has reads and writes
    if (op == Op::flush) return Status::ok;
    if (is_zone_management(op) || op == Op::zone_append) {
      if (!config.zoned) return Status::not_supported;
      if (sector >= capacity_sectors || sector % config.zone_sectors != 0) return Status::invalid;
      if (op == Op::zone_reset_all && sector != 0) return Status::invalid;
      if (is_zone_management(op)) return Status::ok;
    }
    if (!has_range(op) || max_sectors_of(op, limits) == 0) return Status::not_supported;
  }
  const bool is_right =
      bio.length_bytes() != 0 && is_inside(bio, config.logical_block_bytes - 1, capacity_sectors);
  return is_right ? Status::ok : Status::invalid;
}

/// Whether the address and the length of each segment have none of the bits of `mask` set.
[[nodiscard]] inline bool is_memory_aligned(const Bio& bio, std::uint32_t mask) noexcept {
  std::uint64_t bits = 0;
  for (const Segment& segment : bio.segments()) {
    if (segment.empty()) continue;  // not part of any request
    bits |= reinterpret_cast<std::uintptr_t>(segment.data) | segment.length_bytes;
  }
  return (bits & mask) == 0;
}

/// The status with which a restriction of the disk refuses a bio. Status::ok if none does.
[[nodiscard, gnu::cold, gnu::noinline]] inline Status restriction(
    const Bio& bio, const DiskConfig& config, const QueueLimits& limits,
    const MediumState& medium) noexcept {
  if (medium.is_read_only() && is_write(bio.op())) return Status::not_supported;
  if (!has_data(bio.op()) || is_memory_aligned(bio, limits.dma_alignment_mask)) {
    return Status::ok;
  }
  const Status refused = range_refusal(bio, config, limits, medium.capacity_sectors());
  return refused != Status::ok ? refused : Status::invalid;
}

/// The status that refuses a bio: not_supported if the disk does not have the operation, invalid if
/// the range is empty, not aligned to blocks, or beyond the capacity, or if the memory is not
/// aligned. Status::ok admits the bio. `limits`: those of the bio's context.
[[nodiscard]] inline Status refusal(const Bio& bio, const DiskConfig& config,
                                    const QueueLimits& limits, const MediumState& medium) noexcept {
  if (medium.is_restricted()) [[unlikely]] {
    const Status refused = restriction(bio, config, limits, medium);
    if (refused != Status::ok) return refused;
  }
  return range_refusal(bio, config, limits, medium.capacity_sectors());
}

/// The status with which limits that have changed refuse the data of a bio that was admitted before
/// the change, and of which a part is not issued.
[[nodiscard, gnu::cold]] inline Status refusal_after_change(const Bio& bio,
                                                            const QueueLimits& limits) noexcept {
  if (has_range(bio.op()) && max_sectors_of(bio.op(), limits) == 0) return Status::not_supported;
  const bool is_refused = has_data(bio.op()) && !is_memory_aligned(bio, limits.dma_alignment_mask);
  return is_refused ? Status::invalid : Status::ok;
}

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
