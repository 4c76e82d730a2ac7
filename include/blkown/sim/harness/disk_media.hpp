// SPDX-License-Identifier: BSL-1.0
//
// DiskMedia: the media of a run's disks, one behind the other as one medium.

#ifndef BLKOWN_SIM_HARNESS_DISK_MEDIA_HPP
#define BLKOWN_SIM_HARNESS_DISK_MEDIA_HPP

#include <algorithm>
#include <blkown/config.hpp>
#include <blkown/sim/device/cached_media.hpp>
#include <blkown/sim/device/media.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// The media of several disks of one size. Offset 0 is the first disk's. An access is within a
/// disk.
///
/// Context: one at a time.
class DiskMedia final : public Media {
 public:
  /// Makes `count` media of this capacity.
  DiskMedia(std::uint32_t count, std::uint64_t disk_bytes, CacheMode mode)
      : disk_bytes_{disk_bytes} {
    for (std::uint32_t i = 0; i != count; ++i) {
      disks_.push_back(std::make_unique<CachedMedia>(disk_bytes, mode));
    }
  }

  /// The medium of one disk.
  [[nodiscard]] CachedMedia& disk(std::uint32_t index) noexcept { return *disks_[index]; }

  [[nodiscard]] std::uint64_t capacity_bytes() const override {
    return disk_bytes_ * disks_.size();
  }
  [[nodiscard]] bool read(std::uint64_t offset_bytes, std::span<std::byte> to) override {
    return disk_at(offset_bytes).read(offset_bytes % disk_bytes_, to);
  }
  [[nodiscard]] bool write(std::uint64_t offset_bytes, std::span<const std::byte> from) override {
    return disk_at(offset_bytes).write(offset_bytes % disk_bytes_, from);
  }
  [[nodiscard]] bool zero(std::uint64_t offset_bytes, std::uint64_t length_bytes) override {
    return disk_at(offset_bytes).zero(offset_bytes % disk_bytes_, length_bytes);
  }
  [[nodiscard]] bool flush() override {
    return std::ranges::all_of(disks_, [](const auto& disk) { return disk->flush(); });
  }

 private:
  [[nodiscard]] CachedMedia& disk_at(std::uint64_t offset_bytes) noexcept {
    return *disks_[static_cast<std::size_t>(offset_bytes / disk_bytes_)];
  }

  std::uint64_t disk_bytes_;
  std::vector<std::unique_ptr<CachedMedia>> disks_;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
