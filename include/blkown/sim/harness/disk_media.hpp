// SPDX-License-Identifier: BSL-1.0
//
// WatchedMedia: the medium of a disk of a run. DiskMedia: the media of a run's disks, one behind
// the other as one medium.

#ifndef BLKOWN_SIM_HARNESS_DISK_MEDIA_HPP
#define BLKOWN_SIM_HARNESS_DISK_MEDIA_HPP

#include <algorithm>
#include <blkown/config.hpp>
#include <blkown/sim/device/command.hpp>
#include <blkown/sim/device/media/cached_media.hpp>
#include <blkown/sim/device/media/media.hpp>
#include <blkown/sim/device/media/sector_set.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// The medium of a disk, which notes the sectors that were written.
///
/// Context: one at a time. Two writes to different ranges note their sectors in the same words, and
/// a view sees a write beside it.
class WatchedMedia final : public CachedMedia {
 public:
  /// Precondition: the capacity is a multiple of 512.
  WatchedMedia(std::uint64_t capacity, CacheMode mode)
      : CachedMedia{capacity, mode}, changes_{capacity / detail::bytes_in_sector} {}

  [[nodiscard]] std::span<const std::byte> view(std::uint64_t offset_bytes,
                                                std::uint64_t length_bytes) override {
    return bytes().subspan(static_cast<std::size_t>(offset_bytes),
                           static_cast<std::size_t>(length_bytes));
  }
  [[nodiscard]] bool write(std::uint64_t offset_bytes, std::span<const std::byte> from) override {
    note(offset_bytes, from.size());
    return CachedMedia::write(offset_bytes, from);
  }
  [[nodiscard]] bool zero(std::uint64_t offset_bytes, std::uint64_t length_bytes) override {
    note(offset_bytes, length_bytes);
    return CachedMedia::zero(offset_bytes, length_bytes);
  }
  [[nodiscard]] bool has_ranges() const noexcept override { return false; }

  /// The sectors that were written or noted since forget_changes().
  [[nodiscard]] const detail::SectorSet& changes() const noexcept { return changes_; }
  /// Notes the sector as if it was written.
  void note_change(std::uint64_t sector) noexcept {
    changes_.add(static_cast<std::size_t>(sector));
  }
  /// Forgets which sectors were written.
  void forget_changes() noexcept { changes_.clear(); }

 private:
  void note(std::uint64_t offset_bytes, std::uint64_t length_bytes) noexcept {
    if (length_bytes == 0) return;
    const std::uint64_t last = (offset_bytes + length_bytes - 1) / detail::bytes_in_sector;
    for (std::uint64_t i = offset_bytes / detail::bytes_in_sector; i <= last; ++i) note_change(i);
  }

  detail::SectorSet changes_;
};

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
      disks_.push_back(std::make_unique<WatchedMedia>(disk_bytes, mode));
    }
  }

  /// The medium of one disk.
  [[nodiscard]] WatchedMedia& disk(std::uint32_t index) noexcept { return *disks_[index]; }

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
  [[nodiscard]] WatchedMedia& disk_at(std::uint64_t offset_bytes) noexcept {
    return *disks_[static_cast<std::size_t>(offset_bytes / disk_bytes_)];
  }

  std::uint64_t disk_bytes_;
  std::vector<std::unique_ptr<WatchedMedia>> disks_;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
