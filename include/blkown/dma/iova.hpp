// SPDX-License-Identifier: BSL-1.0
//
// Device addresses, directions, and the limits of a scatter list.

#ifndef BLKOWN_DMA_IOVA_HPP
#define BLKOWN_DMA_IOVA_HPP

#include <blkown/config.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma {

/// The direction of a transfer.
/// Source: the kernel's enum dma_data_direction.
enum class Direction : std::uint8_t {
  to_device,      ///< The device reads the memory: a write to the medium.
  from_device,    ///< The device writes the memory: a read of the medium.
  bidirectional,  ///< Both: rings, compare and write.
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(Direction direction) noexcept {
  switch (direction) {
    case Direction::to_device: return "to_device";
    case Direction::from_device: return "from_device";
    case Direction::bidirectional: return "bidirectional";
  }
  return "unknown direction";
}
/// Whether the device may read memory that is mapped in this direction.
[[nodiscard]] constexpr bool device_reads(Direction direction) noexcept {
  return direction != Direction::from_device;
}
/// Whether the device may write memory that is mapped in this direction.
[[nodiscard]] constexpr bool device_writes(Direction direction) noexcept {
  return direction != Direction::to_device;
}

/// One element of a scatter list: a contiguous range of a device's address space, as a command
/// holds it (an NVMe SGL data block or PRP entry).
struct IovaSegment {
  std::uint64_t iova = 0;
  std::uint64_t length_bytes = 0;
  friend constexpr bool operator==(const IovaSegment&, const IovaSegment&) = default;
};

/// The limits of a device on a scatter list.
/// Source: the kernel's struct device_dma_parameters.
struct DeviceLimits {
  std::uint32_t max_segments = 128;         ///< The elements of one list.
  std::uint64_t max_segment_bytes = 65536;  ///< The length of one element.
  /// A power of two, minus one. No element crosses an address whose bits under this mask are all 0.
  /// All ones: no boundary.
  std::uint64_t boundary_mask = UINT64_MAX;
  /// The address bits that the device can drive. Memory at higher bus addresses is bounced.
  std::uint64_t address_mask = UINT64_MAX;
  /// One less than a power of two, or 0 for no boundary. Every element except the first begins, and
  /// every element except the last ends, at a bus address that has none of these bits set. A run of
  /// memory that is cut is cut there; memory with a gap is an error. NVMe's PRP lists need 4095.
  std::uint64_t virt_boundary_mask = 0;
  /// One less than a power of two. A bounce slot keeps these bits of the bus address of the memory
  /// that it replaces, and in any case the bits of virt_boundary_mask.
  /// Source: the kernel's dma_set_min_align_mask.
  std::uint64_t min_align_mask = 0;
  friend constexpr bool operator==(const DeviceLimits&, const DeviceLimits&) = default;
};

}  // namespace dma
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
