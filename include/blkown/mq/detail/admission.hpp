// SPDX-License-Identifier: BSL-1.0
//
// Admission: the checks that a bio passes before it costs a tag.

#ifndef BLKOWN_MQ_DETAIL_ADMISSION_HPP
#define BLKOWN_MQ_DETAIL_ADMISSION_HPP

#include <blkown/config.hpp>
#include <blkown/mq/bio.hpp>
#include <blkown/mq/detail/split.hpp>
#include <blkown/mq/disk_config.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/status.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// The status that refuses a bio: not_supported if the disk does not have the operation, invalid if
/// the range is empty, not aligned to blocks, or beyond the capacity. Status::ok admits the bio.
[[nodiscard]] inline Status refusal(const Bio& bio, const DiskConfig& config) noexcept {
  const Op op = bio.op();
  if (config.read_only && is_write(op)) return Status::not_supported;
  if (op == Op::flush) return Status::ok;
  const std::uint64_t sector = bio.sector();
  const std::uint64_t length_bytes = bio.length_bytes();
  if (is_zone_management(op) || op == Op::zone_append) {
    if (!config.zoned) return Status::not_supported;
    if (sector >= config.capacity_sectors || sector % config.zone_sectors != 0) {
      return Status::invalid;
    }
    if (is_zone_management(op)) return Status::ok;
  }
  if (!has_range(op) || max_sectors_of(op, config.limits) == 0) return Status::not_supported;
  // The block size is a power of two, so the number of sectors in a block is one, too.
  const std::uint64_t block_mask = config.logical_block_bytes - 1;
  const bool is_aligned = (((sector << sector_shift) | length_bytes) & block_mask) == 0;
  const bool is_inside = sector < config.capacity_sectors &&
                         (length_bytes >> sector_shift) <= config.capacity_sectors - sector;
  return is_aligned && is_inside && length_bytes != 0 ? Status::ok : Status::invalid;
}

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
