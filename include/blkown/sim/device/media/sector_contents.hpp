// SPDX-License-Identifier: BSL-1.0
//
// SectorContents: copies of sectors, each at a place of its own.

#ifndef BLKOWN_SIM_DEVICE_MEDIA_SECTOR_CONTENTS_HPP
#define BLKOWN_SIM_DEVICE_MEDIA_SECTOR_CONTENTS_HPP

#include <array>
#include <blkown/config.hpp>
#include <blkown/sim/device/command.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

/// Copies of sectors. A copy stays where it is until it is removed. The places of removed copies
/// are used again, so that the memory is that of the most copies at a time.
class SectorContents {
 public:
  using Content = std::array<std::byte, bytes_in_sector>;

  /// Copies a sector. Returns the place. The places are numbered from 0, in the order of their
  /// first use.
  [[nodiscard]] std::uint32_t add(const std::byte* sector) {
    std::uint32_t place = count_;
    if (free_.empty()) {
      // The caller reads a place only after the add() that returned it, which writes all its bytes.
      if (count_++ % chunk_size == 0) chunks_.push_back(std::make_unique_for_overwrite<Chunk>());
    } else {
      place = free_.back();
      free_.pop_back();
    }
    std::memcpy((*chunks_[place / chunk_size])[place % chunk_size].data(), sector, sizeof(Content));
    return place;
  }
  void remove(std::uint32_t place) { free_.push_back(place); }
  /// The copy at this place.
  [[nodiscard]] const Content& operator[](std::uint32_t place) const noexcept {
    return (*chunks_[place / chunk_size])[place % chunk_size];
  }

 private:
  static constexpr std::size_t chunk_size = 16;
  using Chunk = std::array<Content, chunk_size>;

  std::vector<std::unique_ptr<Chunk>> chunks_;
  std::vector<std::uint32_t> free_;
  std::uint32_t count_ = 0;
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
