// SPDX-License-Identifier: BSL-1.0
//
// NvmeTransfer: moves the data of a command between the driver's memory and a buffer of the
// controller.

#ifndef BLKOWN_SIM_DEVICE_NVME_TRANSFER_HPP
#define BLKOWN_SIM_DEVICE_NVME_TRANSFER_HPP

#include <blkown/config.hpp>
#include <blkown/dma/iova.hpp>
#include <blkown/nvme/little_endian.hpp>
#include <blkown/nvme/prp.hpp>
#include <blkown/nvme/status.hpp>
#include <blkown/nvme/submission_entry.hpp>
#include <blkown/sim/device/iommu.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

/// Moves the data that the PRP entries of a command describe. All memory, the PRP lists included,
/// is reached through the IOMMU.
/// Context: one command at a time.
class NvmeTransfer {
 public:
  explicit NvmeTransfer(Iommu& iommu) : iommu_{iommu} {}

  /// A buffer of this length. Its content is any.
  [[nodiscard]] std::span<std::byte> buffer(std::uint64_t length_bytes) {
    const auto length = static_cast<std::size_t>(length_bytes);
    if (buffer_.size() < length) buffer_.resize(length);
    return std::span{buffer_}.first(length);
  }
  /// A second buffer.
  [[nodiscard]] std::span<std::byte> other_buffer(std::uint64_t length_bytes) {
    other_buffer_.resize(static_cast<std::size_t>(length_bytes));
    return other_buffer_;
  }

  /// Moves bytes to the driver's memory.
  /// Errors: prp_offset_invalid, data_transfer_error. Bytes before the wrong place have moved.
  [[nodiscard]] nvme::StatusCode to_driver(const nvme::SubmissionEntry& entry,
                                           std::span<const std::byte> from,
                                           std::uint32_t page_bytes, const Iommu::Access& access) {
    return for_each_run(entry, from.size(), page_bytes, access,
                        [&](std::uint64_t iova, std::size_t at, std::size_t bytes) {
                          return iommu_.write(iova, from.subspan(at, bytes), access);
                        });
  }
  /// Moves bytes from the driver's memory.
  /// Errors: as to_driver().
  [[nodiscard]] nvme::StatusCode from_driver(const nvme::SubmissionEntry& entry,
                                             std::span<std::byte> to, std::uint32_t page_bytes,
                                             const Iommu::Access& access) {
    return for_each_run(entry, to.size(), page_bytes, access,
                        [&](std::uint64_t iova, std::size_t at, std::size_t bytes) {
                          return iommu_.read(iova, to.subspan(at, bytes), access);
                        });
  }

 private:
  /// Calls `move(iova, offset of the data, length) -> bool` for each run of contiguous addresses.
  template <class Move>
  [[nodiscard]] nvme::StatusCode for_each_run(const nvme::SubmissionEntry& entry,
                                              std::size_t length_bytes, std::uint32_t page_bytes,
                                              const Iommu::Access& access, Move move) {
    runs_.clear();
    const auto walked = nvme::walk_prps(
        entry.prps(), length_bytes, page_bytes,
        [&](std::uint64_t iova, std::span<nvme::Le64> entries) {
          return iommu_.read(iova, std::as_writable_bytes(entries), access);
        },
        [&](const dma::IovaSegment& run) { add(run); });
    if (!walked.has_value()) return nvme::to_status_code(walked.error().reason);
    std::size_t done_bytes = 0;
    for (const dma::IovaSegment& run : runs_) {
      const auto bytes = static_cast<std::size_t>(run.length_bytes);
      if (!move(run.iova, done_bytes, bytes)) return nvme::StatusCode::data_transfer_error;
      done_bytes += bytes;
    }
    return nvme::StatusCode::success;
  }
  /// Adds a run, joined with the one before it if their addresses are contiguous.
  void add(const dma::IovaSegment& run) {
    if (!runs_.empty() && runs_.back().iova + runs_.back().length_bytes == run.iova) {
      runs_.back().length_bytes += run.length_bytes;
    } else {
      runs_.push_back(run);
    }
  }

  Iommu& iommu_;
  std::vector<dma::IovaSegment> runs_;
  std::vector<std::byte> buffer_;
  std::vector<std::byte> other_buffer_;
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
