// SPDX-License-Identifier: BSL-1.0
//
// The faults that a simulated IOMMU logs: the accesses that the IOMMU refused.

#ifndef BLKOWN_SIM_DEVICE_IOMMU_FAULT_HPP
#define BLKOWN_SIM_DEVICE_IOMMU_FAULT_HPP

#include <array>
#include <blkown/config.hpp>
#include <blkown/detail/enum_count.hpp>
#include <blkown/dma/iova.hpp>
#include <cstddef>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// Why the IOMMU refused an access.
enum class IommuFaultKind : std::uint8_t {
  unmapped,           ///< Nothing is mapped at the address.
  stale_translation,  ///< The memory was unmapped, but real hardware might still allow the access.
  wrong_direction,    ///< The mapping does not allow this direction.
  out_of_bounds,      ///< The page is mapped, but not this byte of it.
  other_owner,        ///< The memory is mapped for another I/O.
};

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

/// The number of enumerators, for tables indexed by IommuFaultKind.
inline constexpr std::size_t iommu_fault_kind_count =
    static_cast<std::size_t>(IommuFaultKind::other_owner) + 1;
static_assert(blkown::detail::counts_enumerators<IommuFaultKind>(iommu_fault_kind_count));

/// One entry of the fault log.
struct IommuFault {
  IommuFaultKind kind{};
  std::uint32_t device = 0;
  std::uint64_t iova = 0;
  dma::Direction direction{};
  std::uint64_t cookie = 0;   ///< Of the command for which the device made the access.
  std::uint64_t owner = 0;    ///< The cookie of the I/O that the memory is or was mapped for, or 0.
  bool is_forbidden = false;  ///< The device was not entitled to the access (Iommu::Access).
};

/// The number of faults since the IOMMU was made.
struct IommuFaultCounts {
  std::array<std::uint64_t, iommu_fault_kind_count> by_kind{};
  /// Faults of accesses that a correct device makes: each one is an error of the driver.
  std::uint64_t not_forbidden = 0;

  /// The number of faults of all kinds.
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
