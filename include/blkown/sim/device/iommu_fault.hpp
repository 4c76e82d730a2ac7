// SPDX-License-Identifier: BSL-1.0
//
// What an IOMMU has to say of an access that it did not let through.

#ifndef BLKOWN_SIM_DEVICE_IOMMU_FAULT_HPP
#define BLKOWN_SIM_DEVICE_IOMMU_FAULT_HPP

#include <array>
#include <blkown/config.hpp>
#include <blkown/dma/iova.hpp>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

enum class IommuFaultKind : std::uint8_t {
  unmapped,           ///< Nothing is mapped there.
  stale_translation,  ///< It was unmapped, and real hardware might still let the access through.
  wrong_direction,    ///< Mapped, but not for that.
  out_of_bounds,      ///< The page is mapped, this byte of it is not.
  other_owner,        ///< Mapped for another I/O.
};
inline constexpr std::size_t iommu_fault_kind_count = 5;

[[nodiscard]] constexpr const char* to_string(IommuFaultKind kind) noexcept {
  switch (kind) {
    case IommuFaultKind::unmapped: return "unmapped";
    case IommuFaultKind::stale_translation: return "stale_translation";
    case IommuFaultKind::wrong_direction: return "wrong_direction";
    case IommuFaultKind::out_of_bounds: return "out_of_bounds";
    case IommuFaultKind::other_owner: return "other_owner";
  }
  return "unknown kind";
}

/// One entry of the fault log.
struct IommuFault {
  IommuFaultKind kind{};
  std::uint32_t device = 0;
  std::uint64_t iova = 0;
  dma::Direction direction{};
  std::uint64_t cookie = 0;   ///< Of the command for which the device wanted the memory.
  std::uint64_t owner = 0;    ///< Of the I/O that it is, or was, mapped for; 0 if none is known.
  bool is_forbidden = false;  ///< The device knew that it must not.
};

struct IommuFaultCounts {
  std::array<std::uint64_t, iommu_fault_kind_count> by_kind{};
  /// Of accesses that a well-behaved device makes: what the driver is to blame for.
  std::uint64_t not_forbidden = 0;

  [[nodiscard]] std::uint64_t total() const noexcept {
    std::uint64_t sum = 0;
    for (const std::uint64_t count : by_kind) sum += count;
    return sum;
  }
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
