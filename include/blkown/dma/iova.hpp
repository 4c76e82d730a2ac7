// SPDX-License-Identifier: BSL-1.0
//
// Memory as a device sees it: addresses, directions, and what a device can reach at once.

#ifndef BLKOWN_DMA_IOVA_HPP
#define BLKOWN_DMA_IOVA_HPP

#include <blkown/config.hpp>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma {

/// Which way the bytes go (the kernel's enum dma_data_direction).
enum class Direction : std::uint8_t {
  to_device,      ///< The device reads memory: a write to the medium.
  from_device,    ///< The device writes memory: a read of the medium.
  bidirectional,  ///< Both: rings, compare-and-write.
};

[[nodiscard]] constexpr const char* to_string(Direction direction) noexcept {
  switch (direction) {
    case Direction::to_device: return "to_device";
    case Direction::from_device: return "from_device";
    case Direction::bidirectional: return "bidirectional";
  }
  return "unknown direction";
}
/// Whether the device may read memory that is mapped this way.
[[nodiscard]] constexpr bool device_reads(Direction direction) noexcept {
  return direction != Direction::from_device;
}
/// Whether it may write it.
[[nodiscard]] constexpr bool device_writes(Direction direction) noexcept {
  return direction != Direction::to_device;
}

/// One contiguous run of bytes in a device's address space: an element of the scatter list that
/// goes into a command (an NVMe SGL data block, a PRP entry).
struct IovaSegment {
  std::uint64_t iova = 0;
  std::uint64_t length_bytes = 0;
  friend constexpr bool operator==(const IovaSegment&, const IovaSegment&) = default;
};

/// What one element of a scatter list may be (the kernel's struct device_dma_parameters).
struct DeviceLimits {
  std::uint32_t max_segments = 128;
  std::uint64_t max_segment_bytes = 65536;
  /// No element crosses an address at which all of these bits come round to 0: one less than a
  /// power of two. All ones: no such limit.
  std::uint64_t boundary_mask = ~std::uint64_t{0};
  /// The bus addresses that the device can put on the bus. Memory elsewhere is bounced.
  std::uint64_t address_mask = ~std::uint64_t{0};
  friend constexpr bool operator==(const DeviceLimits&, const DeviceLimits&) = default;
};

}  // namespace dma
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
