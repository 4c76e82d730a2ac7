// SPDX-License-Identifier: BSL-1.0
//
// From the block layer to NVMe: a namespace as a disk, and a request as a command.

#ifndef EXAMPLES_NVME_IO_COMMAND_HPP
#define EXAMPLES_NVME_IO_COMMAND_HPP

#include <algorithm>
#include <blkown/dma/dma.hpp>
#include <blkown/mq/mq.hpp>
#include <blkown/nvme/submission_entry.hpp>
#include <cstdint>
#include <expected>

#include "controller_info.hpp"
#include "prp_pool.hpp"

namespace nvme_driver {

/// The most pieces of memory of one command.
inline constexpr std::uint32_t max_segments = 128;

/// The longest requests of a namespace. PRPs need memory without gaps within pages, and addresses
/// that are multiples of 4.
[[nodiscard]] inline blkown::mq::QueueLimits queue_limits(const ControllerInfo& info,
                                                          blkown::dma::DeviceLimits device,
                                                          unsigned block_shift,
                                                          std::uint64_t max_list_bytes) {
  device.max_segments = std::min(device.max_segments, max_segments);
  device.virt_boundary_mask = std::max<std::uint64_t>(device.virt_boundary_mask, page_bytes - 1);
  auto limits = blkown::mq::QueueLimits::for_device(device);
  const std::uint64_t max_bytes = std::min(info.max_transfer_bytes, max_list_bytes);
  limits.max_sectors = static_cast<std::uint32_t>(max_bytes >> blkown::mq::sector_shift);
  limits.dma_alignment_mask = 3;
  if (info.has_discard) limits.max_discard_sectors = std::uint64_t{UINT32_MAX} << block_shift;
  if (info.has_write_zeroes) limits.max_write_zeroes_sectors = std::uint64_t{65536} << block_shift;
  return limits;
}

/// The configuration of a namespace's disk, but for its queues and its depth.
/// Precondition: NamespaceInfo::is_usable().
[[nodiscard]] inline blkown::mq::DiskConfig disk_config(const ControllerInfo& info,
                                                        const NamespaceInfo& its,
                                                        const blkown::dma::DeviceLimits& device) {
  const unsigned block_shift = its.block_exponent - blkown::mq::sector_shift;
  blkown::mq::DiskConfig disk;
  disk.name = "nvme";
  disk.capacity_sectors = its.blocks << block_shift;
  disk.logical_block_bytes = its.block_bytes();
  disk.limits = queue_limits(info, device, block_shift, max_prp_bytes);
  disk.read_only = its.is_read_only;
  disk.write_cache = info.has_write_cache;
  disk.fua = info.has_write_cache;  // every NVMe controller has FUA
  disk.layout = blkown::CookieLayout::nvme();
  return disk;
}

/// The command of a request, without its id. A read or a write has an active mapping.
/// Errors: invalid, if no PRP list describes the memory.
template <class D, blkown::dma::Backend B>
[[nodiscard]] std::expected<SubmissionEntry, blkown::Status> io_command(
    const blkown::mq::Payload<D>& payload, blkown::Tag tag, const NamespaceInfo& info,
    PrpPool<B>& prps) {
  using blkown::mq::Op;
  const unsigned shift = info.block_exponent;
  const blkown::nvme::BlockRange blocks{
      .slba = payload.sector() >> (shift - blkown::mq::sector_shift),
      .block_count = static_cast<std::uint32_t>(payload.length_bytes() >> shift)};
  const bool is_fua = payload.flags().fua;
  SubmissionEntry entry;
  switch (payload.op()) {
    case Op::read: entry = SubmissionEntry::read(info.nsid, blocks); break;
    case Op::write: entry = SubmissionEntry::write(info.nsid, blocks, is_fua); break;
    case Op::write_zeroes: return SubmissionEntry::write_zeroes(info.nsid, blocks, false, is_fua);
    case Op::discard:
      entry = SubmissionEntry::dataset_management(info.nsid, 1, true);
      entry.set_prps(
          prps.put(tag, {.attributes = 0, .block_count = blocks.block_count, .slba = blocks.slba}));
      return entry;
    case Op::flush: return SubmissionEntry::flush(info.nsid);
    default: return std::unexpected(blkown::Status::not_supported);
  }
  const auto built = prps.build(tag, payload.driver_data.mapping->segments());
  if (!built.has_value()) return std::unexpected(blkown::Status::invalid);
  entry.set_prps(*built);
  return entry;
}

}  // namespace nvme_driver

#endif
