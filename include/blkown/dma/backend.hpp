// SPDX-License-Identifier: BSL-1.0
//
// What makes memory reachable for a device, and why that did not work.

#ifndef BLKOWN_DMA_BACKEND_HPP
#define BLKOWN_DMA_BACKEND_HPP

#include <blkown/config.hpp>
#include <blkown/dma/iova.hpp>
#include <blkown/status.hpp>
#include <blkown/tag.hpp>
#include <concepts>
#include <expected>
#include <span>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma {

/// Why memory was not mapped.
enum class MapFailure : std::uint8_t {
  no_bytes,           ///< There is nothing to map.
  list_in_use,        ///< The IovaList still belongs to a mapping.
  list_too_short,     ///< The IovaList has room for fewer elements than the memory needs.
  too_many_segments,  ///< More elements than the device takes.
  unreachable,        ///< Outside the device's address mask, and no bounce slot that it reaches.
  no_bounce_slot,     ///< Every slot of the bounce pool is taken.
  no_iova,            ///< The device's address space is full.
  refused,            ///< The backend does not map this memory.
  out_of_memory,      ///< The memory itself could not be allocated.
};

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

/// Why memory was not mapped, and how far it went: nothing of it is mapped any more.
struct MapError {
  MapFailure reason{};
  std::uint32_t segment = 0;  ///< Which element of the scatter list it was about.
  std::uint64_t limit = 0;    ///< What there may be of it, where the reason is about a number.
  friend constexpr bool operator==(const MapError&, const MapError&) = default;

  /// How an I/O that could not be mapped is rejected: what is short comes back when another I/O
  /// has ended, what does not fit never will.
  [[nodiscard]] constexpr Status status() const noexcept {
    return reason == MapFailure::no_bounce_slot || reason == MapFailure::no_iova ? Status::resource
                                                                                 : Status::io_error;
  }
};

/// What maps memory for one device: an IOMMU's domain, VFIO's container, io_uring's registered
/// buffers. Called from any context that maps or unmaps, several at a time.
///
///   DeviceLimits limits() const;
///   std::expected<std::uint64_t, MapFailure> map(std::byte* data, std::size_t length_bytes,
///                                               Direction, const Cookie&);
///       Makes the bytes reachable under consecutive device addresses, of which it returns the
///       first. The cookie says for which I/O, for fault logs; a default one: for none.
///   void unmap(const IovaSegment&);
///       Takes back what a map gave.
///   void invalidate(std::span<const IovaSegment>);
///       After the unmaps of a list: returns when no translation of them is remembered anywhere.
///   std::uint64_t bus_address(const std::byte*) const;
///       Optional: where the bus finds the byte, for DeviceLimits::address_mask and boundary_mask.
///       Without it, its address.
///   std::uint64_t mappable_bytes(const std::byte*) const;
///       Optional: how many bytes from this one on a single map can take: those up to the end of
///       its registered region. An element is not longer; 0 leaves it to map to say why not.
///       Without it, any number.
template <class B>
concept Backend = requires(B& backend, const B& looked_at, std::byte* data, const Cookie& cookie,
                           const IovaSegment& segment, std::span<const IovaSegment> segments) {
  { looked_at.limits() } -> std::convertible_to<DeviceLimits>;
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
