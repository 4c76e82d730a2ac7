// SPDX-License-Identifier: BSL-1.0
//
// CachedMedia: storage behind a volatile write cache, which a power cut empties.
//
// A write is cached at first. A flush, or a write with FUA, makes it durable. A power cut leaves
// each sector, independently of the others, with its durable content or with that of any cached
// write to the sector: the device may have written back any of them. A sector is never torn.
//
// Contexts that access disjoint ranges of whole sectors do so at the same time (has_ranges). The
// cache of each 64 KiB has a lock of its own for them. A flush is alone, as a power cut is.

#ifndef BLKOWN_SIM_DEVICE_CACHED_MEDIA_HPP
#define BLKOWN_SIM_DEVICE_CACHED_MEDIA_HPP

#include <algorithm>
#include <array>
#include <blkown/config.hpp>
#include <blkown/sim/device/command.hpp>
#include <blkown/sim/device/media.hpp>
#include <blkown/sim/device/random.hpp>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// When an acknowledged write is durable.
enum class CacheMode : std::uint8_t {
  write_through,  ///< At once.
  write_back,     ///< After a flush, or at once with FUA.
};

/// Storage in memory with a write cache. Reads return what was written last, cached or not.
class CachedMedia : public MemoryMedia {
 public:
  /// Precondition: the capacity is a multiple of 512.
  explicit CachedMedia(std::uint64_t capacity, CacheMode mode = CacheMode::write_back)
      : MemoryMedia{capacity},
        mode_{mode},
        parts_(static_cast<std::size_t>((capacity + part_bytes - 1) / part_bytes)) {}

  [[nodiscard]] bool write(std::uint64_t offset_bytes, std::span<const std::byte> from) override {
    keep_contents(offset_bytes, from.size());
    return MemoryMedia::write(offset_bytes, from);
  }
  [[nodiscard]] bool zero(std::uint64_t offset_bytes, std::uint64_t length_bytes) override {
    keep_contents(offset_bytes, length_bytes);
    return MemoryMedia::zero(offset_bytes, length_bytes);
  }
  [[nodiscard]] bool flush() override {
    clear();
    return true;
  }
  [[nodiscard]] bool flush_range(std::uint64_t offset_bytes, std::uint64_t length_bytes) override {
    for_each_sector(offset_bytes, length_bytes, [&](std::uint64_t sector) {
      Part& part = part_of(sector);
      const std::lock_guard guard{part.mutex};
      part.cached.erase(sector);
    });
    return true;
  }

  /// A sector with an earlier content than its latest write's.
  struct LostWrite {
    std::uint64_t sector = 0;
    std::span<const std::byte> content;  ///< Valid until the next access.
  };
  /// The sectors of which a power cut now would lose the latest write, as the seed decides for
  /// each.
  [[nodiscard]] std::vector<LostWrite> lost_by_power_cut(std::uint64_t seed) const {
    std::vector<LostWrite> lost;
    Random dice{seed};
    for (const Part& part : parts_) {
      for (const auto& [sector, earlier] : part.cached) {
        const std::uint64_t choice = dice.below(earlier.size() + 1);
        if (choice == earlier.size()) continue;  // the last write
        lost.push_back({.sector = sector, .content = earlier[static_cast<std::size_t>(choice)]});
      }
    }
    return lost;
  }
  /// The content that a power cut now would leave: that of bytes() without the lost writes.
  [[nodiscard]] std::vector<std::byte> after_power_cut(std::uint64_t seed) const {
    std::vector<std::byte> content(bytes().begin(), bytes().end());
    for (const LostWrite& lost : lost_by_power_cut(seed)) {
      std::ranges::copy(lost.content,
                        content.begin() + static_cast<std::ptrdiff_t>(offset_of(lost.sector)));
    }
    return content;
  }
  /// Cuts the power: the content becomes after_power_cut(seed), and the cache is empty.
  void power_cut(std::uint64_t seed) {
    const std::vector<std::byte> content = after_power_cut(seed);
    clear();
    static_cast<void>(MemoryMedia::write(0, content));
  }

 private:
  using Sector = std::array<std::byte, detail::bytes_in_sector>;

  static constexpr std::uint64_t part_bytes = 65536;

  struct Part {
    std::mutex mutex;
    // By sector, if its latest write is cached: the durable content, and the contents of the cached
    // writes but the latest one. Ordered, so that a seed always leaves the same content.
    std::map<std::uint64_t, std::vector<Sector>> cached;
  };

  [[nodiscard]] static std::uint64_t offset_of(std::uint64_t sector) noexcept {
    return sector * detail::bytes_in_sector;
  }
  template <class Visit>
  static void for_each_sector(std::uint64_t offset_bytes, std::uint64_t length_bytes, Visit visit) {
    if (length_bytes == 0) return;
    const std::uint64_t last = (offset_bytes + length_bytes - 1) / detail::bytes_in_sector;
    for (std::uint64_t i = offset_bytes / detail::bytes_in_sector; i <= last; ++i) visit(i);
  }

  [[nodiscard]] Part& part_of(std::uint64_t sector) noexcept {
    return parts_[static_cast<std::size_t>(offset_of(sector) / part_bytes)];
  }
  void clear() noexcept {
    for (Part& part : parts_) part.cached.clear();
  }

  /// Keeps the contents that a write is about to replace.
  void keep_contents(std::uint64_t offset_bytes, std::uint64_t length_bytes) {
    if (mode_ == CacheMode::write_through) return;
    for_each_sector(offset_bytes, length_bytes, [&](std::uint64_t sector) {
      Part& part = part_of(sector);
      const std::lock_guard guard{part.mutex};
      Sector& kept = part.cached[sector].emplace_back();
      std::ranges::copy(bytes().subspan(static_cast<std::size_t>(offset_of(sector)), kept.size()),
                        kept.begin());
    });
  }

  CacheMode mode_;
  std::vector<Part> parts_;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
