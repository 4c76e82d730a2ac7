// SPDX-License-Identifier: BSL-1.0
//
// A backend that maps all memory at its own address, for tests that are not about mapping.

#ifndef BLKOWN_TESTS_SUPPORT_IDENTITY_BACKEND_HPP
#define BLKOWN_TESTS_SUPPORT_IDENTITY_BACKEND_HPP

#include <blkown/dma/backend.hpp>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

namespace support {

struct IdentityBackend {
  [[nodiscard]] blkown::dma::DeviceLimits limits() const { return {}; }
  [[nodiscard]] std::expected<std::uint64_t, blkown::dma::MapFailure> map(std::byte* data,
                                                                          std::size_t,
                                                                          blkown::dma::Direction,
                                                                          const blkown::Cookie&) {
    return reinterpret_cast<std::uintptr_t>(data);
  }
  void unmap(const blkown::dma::IovaSegment&) {}
  void invalidate(std::span<const blkown::dma::IovaSegment>) {}
};

}  // namespace support

#endif
