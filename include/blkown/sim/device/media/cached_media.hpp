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

#ifndef BLKOWN_SIM_DEVICE_MEDIA_CACHED_MEDIA_HPP
#define BLKOWN_SIM_DEVICE_MEDIA_CACHED_MEDIA_HPP

#include <algorithm>
#include <array>
#include <bit>
#include <blkown/config.hpp>
#include <blkown/sim/device/command.hpp>
#include <blkown/sim/device/media/media.hpp>
#include <blkown/sim/device/media/sector_contents.hpp>
#include <blkown/sim/device/random.hpp>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <utility>
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
    for_each_part(offset_bytes, length_bytes,
                  [&](Part& part, std::uint64_t begin, std::uint64_t end) {
                    const std::lock_guard guard{part.mutex};
                    for (std::uint64_t sector = begin; sector != end; ++sector) part.forget(sector);
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
    for (std::size_t i = 0; i != parts_.size(); ++i) {
      const Part& part = parts_[i];
      part.for_each_cached([&](std::uint64_t sector, const Part::Stack& earlier) {
        const std::uint64_t choice = dice.below(std::uint64_t{earlier.height} + 1);
        if (choice == earlier.height) return;  // the last write
        lost.push_back(
            {.sector = i * part_sectors + sector, .content = part.content(earlier, choice)});
      });
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
  static constexpr std::uint64_t part_bytes = 65536;
  static constexpr std::uint64_t part_sectors = part_bytes / detail::bytes_in_sector;

  /// The cache of 64 KiB. Its sectors are numbered from 0.
  struct Part {
    /// The durable content of a sector whose latest write is cached, and on top of it the contents
    /// of the cached writes but the latest one.
    struct Stack {
      std::uint32_t top = 0;  // a place in `contents`
      std::uint32_t height = 0;
    };

    std::mutex mutex;
    std::array<std::uint64_t, part_sectors / 64> is_cached{};  // by sector, a bit for each
    std::vector<Stack> earlier;  // by sector. Empty until the first cached write
    detail::SectorContents contents;
    std::vector<std::uint32_t> below;  // by place: the next place of the stack

    void keep(std::uint64_t sector, const std::byte* content) {
      if (earlier.empty()) earlier.resize(std::size_t{part_sectors});
      const std::uint32_t place = contents.add(content);
      if (place == below.size()) below.emplace_back();
      Stack& its = earlier[static_cast<std::size_t>(sector)];
      below[place] = std::exchange(its.top, place);
      ++its.height;
      is_cached[static_cast<std::size_t>(sector / 64)] |= std::uint64_t{1} << sector % 64;
    }
    void forget(std::uint64_t sector) {
      std::uint64_t& word = is_cached[static_cast<std::size_t>(sector / 64)];
      if ((word >> sector % 64 & 1) == 0) return;
      word &= ~(std::uint64_t{1} << sector % 64);
      Stack& its = earlier[static_cast<std::size_t>(sector)];
      for (; its.height != 0; --its.height) {
        contents.remove(its.top);
        its.top = below[its.top];
      }
    }
    /// One of a stack's contents: 0 is the durable one.
    [[nodiscard]] std::span<const std::byte> content(const Stack& its, std::uint64_t index) const {
      std::uint32_t place = its.top;
      for (std::uint64_t i = its.height - 1; i != index; --i) place = below[place];
      return contents[place];
    }
    /// Calls `visit(sector, stack)` in the order of the sectors, so that a seed always leaves the
    /// same content.
    template <class Visit>
    void for_each_cached(Visit visit) const {
      for (std::size_t word = 0; word != is_cached.size(); ++word) {
        for (std::uint64_t left = is_cached[word]; left != 0; left &= left - 1) {
          const std::size_t sector = word * 64 + static_cast<unsigned>(std::countr_zero(left));
          visit(sector, earlier[sector]);
        }
      }
    }
  };

  [[nodiscard]] static std::uint64_t offset_of(std::uint64_t sector) noexcept {
    return sector * detail::bytes_in_sector;
  }
  /// Calls `visit(part, first sector, one past the last)` for the parts of the range's sectors.
  template <class Visit>
  void for_each_part(std::uint64_t offset_bytes, std::uint64_t length_bytes, Visit visit) {
    if (length_bytes == 0) return;
    const std::uint64_t end = (offset_bytes + length_bytes - 1) / detail::bytes_in_sector + 1;
    for (std::uint64_t at = offset_bytes / detail::bytes_in_sector; at != end;) {
      const std::uint64_t part = at / part_sectors;
      const std::uint64_t part_end = std::min(end, (part + 1) * part_sectors);
      visit(parts_[static_cast<std::size_t>(part)], at % part_sectors,
            part_end - part * part_sectors);
      at = part_end;
    }
  }
  void clear() {
    for (Part& part : parts_) {
      part.for_each_cached([&](std::uint64_t sector, const Part::Stack&) { part.forget(sector); });
    }
  }

  /// Keeps the contents that a write is about to replace.
  void keep_contents(std::uint64_t offset_bytes, std::uint64_t length_bytes) {
    if (mode_ == CacheMode::write_through) return;
    std::uint64_t at = offset_bytes / detail::bytes_in_sector * detail::bytes_in_sector;
    for_each_part(offset_bytes, length_bytes,
                  [&](Part& part, std::uint64_t begin, std::uint64_t end) {
                    const std::lock_guard guard{part.mutex};
                    for (std::uint64_t sector = begin; sector != end; ++sector) {
                      part.keep(sector, bytes().data() + at);
                      at += detail::bytes_in_sector;
                    }
                  });
  }

  CacheMode mode_;
  std::vector<Part> parts_;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
