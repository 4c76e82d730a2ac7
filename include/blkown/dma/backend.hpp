// SPDX-License-Identifier: BSL-1.0
//
// Backend: the interface that maps memory for a device, and the errors of mapping.

#ifndef BLKOWN_DMA_BACKEND_HPP
#define BLKOWN_DMA_BACKEND_HPP

#include <blkown/config.hpp>
#include <blkown/dma/iova.hpp>
#include <blkown/status.hpp>
#include <blkown/tag.hpp>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma {

/// Why memory was not mapped.
enum class MapFailure : std::uint8_t {
  no_bytes,           ///< The segments hold no bytes.
  list_in_use,        ///< A mapping uses the IovaList.
  list_too_short,     ///< The memory needs more elements than the IovaList has room for.
  too_many_segments,  ///< The memory needs more elements than the device takes.
  unreachable,        ///< Outside the device's address mask, and without a reachable bounce slot.
  no_bounce_slot,     ///< Every slot of the bounce pool is taken.
  no_iova,            ///< The device's address space is full.
  refused,            ///< The backend does not map this memory.
  out_of_memory,      ///< Coherent memory could not be allocated.
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(MapFailure reason) noexcept {
  switch (reason) {
    case MapFailure::no_bytes: return "no_bytes";
    case MapFailure::list_in_use: return "list_in_use";
    case MapFailure::list_too_short: return "list_too_short";
    case MapFailure::too_many_segments: return "too_many_segments";
    case MapFailure::unreachable: return "unreachable";
    case MapFailure::no_bounce_slot: return "no_bounce_slot";
    case MapFailure::no_iova: return "no_iova";
    case MapFailure::refused: return "refused";
    case MapFailure::out_of_memory: return "out_of_memory";
  }
  return "unknown reason";
}

/// Why memory was not mapped. No part of the memory is mapped after the error.
struct MapError {
  MapFailure reason{};
  std::uint32_t segment = 0;  ///< The index of the element that failed.
  std::uint64_t limit = 0;    ///< The limit that was exceeded, if the reason is a limit.
  friend constexpr bool operator==(const MapError&, const MapError&) = default;

  /// The status with which a driver rejects the I/O. `resource`: the end of another I/O frees what
  /// is missing. `io_error`: the I/O can never be mapped.
  [[nodiscard]] constexpr Status status() const noexcept {
    return reason == MapFailure::no_bounce_slot || reason == MapFailure::no_iova ? Status::resource
                                                                                 : Status::io_error;
  }
};

/// The interface that maps memory for one device: an IOMMU domain, a VFIO container, the registered
/// buffers of io_uring.
/// Context: every context that maps or unmaps; several at a time.
///
///   DeviceLimits limits() const;
///   std::expected<std::uint64_t, MapFailure> map(std::byte* data, std::size_t length_bytes,
///                                               Direction, const Cookie&);
///       Maps the bytes at consecutive device addresses and returns the first one. The cookie names
///       the I/O for fault logs; coherent memory has a default cookie.
///   void unmap(const IovaSegment&);
///       Removes the translations of one map.
///   void invalidate(std::span<const IovaSegment>);
///       Called after all unmaps of a list. Returns when no cache holds a translation of them.
///   std::uint64_t bus_address(const std::byte*) const;
///       Optional: the byte's bus address, for DeviceLimits::address_mask and boundary_mask.
///       Default: the byte's address.
///   std::uint64_t mappable_bytes(const std::byte*) const;
///       Optional: how many bytes from this one on a single map accepts, for example up to the end
///       of a registered region. An element is not longer. 0 means no limit here, so that map gets
///       the bytes and returns the error. Default: no limit.
template <class B>
concept Backend =
    requires(B& backend, const B& const_backend, std::byte* data, const Cookie& cookie,
             const IovaSegment& segment, std::span<const IovaSegment> segments) {
      { const_backend.limits() } -> std::convertible_to<DeviceLimits>;
      {
        backend.map(data, std::size_t{}, Direction::to_device, cookie)
      } -> std::same_as<std::expected<std::uint64_t, MapFailure>>;
      { backend.unmap(segment) } -> std::same_as<void>;
      { backend.invalidate(segments) } -> std::same_as<void>;
    };

namespace detail {

template <class B>
[[nodiscard]] std::uint64_t bus_address(const B& backend, const std::byte* data) noexcept {
  if constexpr (requires { backend.bus_address(data); }) {
    return backend.bus_address(data);
  } else {
    return reinterpret_cast<std::uintptr_t>(data);
  }
}

template <class B>
[[nodiscard]] std::uint64_t mappable_bytes(const B& backend, const std::byte* data) noexcept {
  if constexpr (requires { backend.mappable_bytes(data); }) {
    const std::uint64_t bytes = backend.mappable_bytes(data);
    if (bytes != 0) return bytes;
  }
  return ~std::uint64_t{0};
}

}  // namespace detail

}  // namespace dma
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
