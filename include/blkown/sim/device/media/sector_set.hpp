// SPDX-License-Identifier: BSL-1.0
//
// SectorSet: a set of a disk's sectors.

#ifndef BLKOWN_SIM_DEVICE_MEDIA_SECTOR_SET_HPP
#define BLKOWN_SIM_DEVICE_MEDIA_SECTOR_SET_HPP

#include <algorithm>
#include <bit>
#include <blkown/config.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

/// A set of sectors, in whose words an empty range of 64 sectors costs one look.
class SectorSet {
 public:
  /// The empty set for sectors from 0 to `sector_count` - 1.
  explicit SectorSet(std::uint64_t sector_count)
      : sector_count_{static_cast<std::size_t>(sector_count)}, words_((sector_count_ + 63) / 64) {}

  [[nodiscard]] bool contains(std::size_t sector) const noexcept {
    return (words_[sector / 64] >> sector % 64 & 1) != 0;
  }
  void add(std::size_t sector) noexcept { words_[sector / 64] |= bit_of(sector); }
  void remove(std::size_t sector) noexcept { words_[sector / 64] &= ~bit_of(sector); }
  void add_all() noexcept {
    std::ranges::fill(words_, ~std::uint64_t{0});
    if (sector_count_ % 64 != 0) words_.back() = bit_of(sector_count_) - 1;
  }
  void clear() noexcept { std::ranges::fill(words_, std::uint64_t{0}); }

  /// The first sector of this set or of the other one for which `is_it(sector)` is true. `is_it`
  /// may remove its sector.
  /// Precondition: both sets are for as many sectors.
  template <class Predicate>
  [[nodiscard]] std::optional<std::uint64_t> first_of_union(const SectorSet& other,
                                                            Predicate is_it) const {
    for (std::size_t i = 0; i != words_.size(); ++i) {
      for (std::uint64_t left = words_[i] | other.words_[i]; left != 0; left &= left - 1) {
        const std::size_t sector = i * 64 + static_cast<unsigned>(std::countr_zero(left));
        if (is_it(sector)) return sector;
      }
    }
    return std::nullopt;
  }
  /// Calls `visit(sector)` for each sector, in order.
  template <class Visit>
  void for_each(Visit visit) const {
    static_cast<void>(first_of_union(*this, [&](std::size_t sector) {
      visit(sector);
      return false;
    }));
  }

 private:
  [[nodiscard]] static std::uint64_t bit_of(std::size_t sector) noexcept {
    return std::uint64_t{1} << sector % 64;
  }

  std::size_t sector_count_;
  std::vector<std::uint64_t> words_;
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
