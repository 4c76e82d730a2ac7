// SPDX-License-Identifier: BSL-1.0
//
// IdentityBackend: a backend for a device that reaches all memory at a fixed distance from the
// program's addresses.

#ifndef BLKOWN_DMA_IDENTITY_BACKEND_HPP
#define BLKOWN_DMA_IDENTITY_BACKEND_HPP

#include <blkown/config.hpp>
#include <blkown/dma/backend.hpp>
#include <blkown/dma/iova.hpp>
#include <blkown/segment.hpp>
#include <blkown/tag.hpp>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma {

/// Memory at a device address that is the program's address plus an offset: a kernel's identity or
/// linear map without an IOMMU, or a device emulated in the same process. Nothing is translated, so
/// the device is not kept from memory that is unmapped: the mapping's proof is the only protection.
/// Precondition: the memory lies in that map, where adjacent addresses are adjacent on the bus.
/// Context: any, interrupts included.
class IdentityBackend {
 public:
  /// `offset`: the bus address of the program's address 0, modulo 2^64.
  constexpr explicit IdentityBackend(const DeviceLimits& limits = {},
                                     std::uint64_t offset = 0) noexcept
      : limits_{limits}, offset_{offset} {}

  /// The device's limits, as given.
  [[nodiscard]] constexpr const DeviceLimits& limits() const noexcept { return limits_; }
  /// The byte's address plus the offset.
  [[nodiscard]] std::uint64_t bus_address(const std::byte* data) const noexcept {
    return reinterpret_cast<std::uintptr_t>(data) + offset_;
  }
  /// The bus address of the memory. Never fails.
  [[nodiscard]] std::expected<std::uint64_t, MapFailure> map(const Segment& memory, Direction,
                                                             const Cookie&) const noexcept {
    return bus_address(memory.data);
  }
  /// Nothing to do: no translation exists.
  std::expected<void, MapFailure> unmap(const IovaSegment&) const noexcept { return {}; }
  /// Nothing to do: no cache holds translations.
  std::expected<void, MapFailure> invalidate(std::span<const IovaSegment>) const noexcept {
    return {};
  }

 private:
  DeviceLimits limits_;
  std::uint64_t offset_;
};

static_assert(Backend<IdentityBackend>);

}  // namespace dma
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
