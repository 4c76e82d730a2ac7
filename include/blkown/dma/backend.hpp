// SPDX-License-Identifier: BSL-1.0
//
// Backend: the interface that maps memory for a device, and the errors of mapping.

#ifndef BLKOWN_DMA_BACKEND_HPP
#define BLKOWN_DMA_BACKEND_HPP

#include <blkown/config.hpp>
#include <blkown/dma/iova.hpp>
#include <blkown/segment.hpp>
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

/// Why memory was not mapped. is_permanent() returns whether a later map of the same memory would
/// fail, too.
enum class MapFailure : std::uint8_t {
  no_bytes,              ///< Permanent. The segments hold no bytes.
  list_in_use,           ///< For now. A mapping uses the IovaList.
  list_too_short,        ///< Permanent. More elements than the IovaList has room for.
  too_many_segments,     ///< Permanent. More elements than the device takes.
  unreachable,           ///< Permanent. Outside the address mask, without a reachable bounce slot.
  no_bounce_slot,        ///< For now. Other mappings have the bounce pool's slots.
  no_iova,               ///< For now. Other mappings have the device's address space.
  refused,               ///< Permanent. The backend does not map this memory.
  out_of_memory,         ///< For now. No heap for a Coherent, or no more memory may be locked.
  too_few_bounce_slots,  ///< Permanent. More slots than the bounce pool has in all.
  iova_space_too_small,  ///< Permanent. More than the device's whole address space, or its table.
  gap,                   ///< Permanent. An element begins or ends off the virt boundary.
  unmap_failed,          ///< Permanent. A translation was not removed: the memory stays mapped.
  offline,               ///< Permanent. The device was unplugged.
  memory_limit_too_low,  ///< Permanent. More memory than the process may lock.
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
    case MapFailure::too_few_bounce_slots: return "too_few_bounce_slots";
    case MapFailure::iova_space_too_small: return "iova_space_too_small";
    case MapFailure::gap: return "gap";
    case MapFailure::unmap_failed: return "unmap_failed";
    case MapFailure::offline: return "offline";
    case MapFailure::memory_limit_too_low: return "memory_limit_too_low";
  }
  return "unknown reason";
}

/// Whether a map of the same memory with the same list would fail even if no other I/O was mapped.
/// A driver ends such an I/O with an error. False: the end of another I/O, or the drain of the
/// quarantine, can free the missing resource, and the driver tries again.
[[nodiscard]] constexpr bool is_permanent(MapFailure reason) noexcept {
  switch (reason) {
    case MapFailure::list_in_use:
    case MapFailure::no_bounce_slot:
    case MapFailure::no_iova:
    case MapFailure::out_of_memory: return false;
    default: return true;
  }
}

/// Why memory was not mapped. No part of the memory is mapped after the error, unless that is
/// unmap_failed.
struct MapError {
  MapFailure reason{};
  std::uint32_t segment = 0;  ///< The index of the element that failed.
  std::uint64_t limit = 0;    ///< The limit that was exceeded, if the reason is a limit.
  std::uint64_t given = 0;    ///< too_few_bounce_slots: the slots that the I/O needs.
  friend constexpr bool operator==(const MapError&, const MapError&) = default;

  /// The status with which a driver rejects the I/O. `resource`: the block layer issues the request
  /// again when another I/O has ended. `invalid`: the failure is permanent, and the bio ends.
  /// `offline`: the bio ends, and another path may work.
  [[nodiscard]] constexpr Status status() const noexcept {
    if (reason == MapFailure::offline) return Status::offline;
    return is_permanent(reason) ? Status::invalid : Status::resource;
  }
};

/// The cookie of memory that is mapped for no I/O, but for all of them: coherent memory, rings. No
/// I/O has it: its tag and its queue do not exist.
inline constexpr Cookie no_io{
    .value = UINT64_MAX, .generation = {}, .tag = Tag{UINT32_MAX}, .queue = QueueIndex{UINT32_MAX}};

/// The interface that maps memory for one device: an IOMMU domain, a VFIO container, the registered
/// buffers of io_uring.
/// Context: every context that maps or unmaps; several at a time.
///
///   DeviceLimits limits() const;
///   std::expected<std::uint64_t, MapFailure> map(const Segment&, Direction, const Cookie&);
///       Maps the bytes at consecutive device addresses and returns the first one, which keeps the
///       bits of the bus address under virt_boundary_mask and min_align_mask. The cookie names the
///       I/O; coherent memory has the cookie no_io. The bytes may be read-only for
///       Direction::to_device.
///   std::expected<void, MapFailure> unmap(const IovaSegment&);
///       Removes the translations of one map, or leaves that to invalidate.
///   std::expected<void, MapFailure> invalidate(std::span<const IovaSegment>);
///       Called after all unmaps of a list. Returns when the device reaches none of these segments:
///       no translation and no cached copy is left. Nothing of the list is reused before: neither
///       the memory, nor a bounce slot, nor the request's tag.
///       An unmap or invalidate that fails puts the mapping into quarantine (device.hpp). A drain
///       goes on with the call that has failed: an unmap that has succeeded is not repeated, an
///       invalidate gets the same segments again. The span is empty after a map that has failed at
///       its first element.
///   std::uint64_t bus_address(const std::byte*) const;
///       Optional: the byte's bus address, for the masks of DeviceLimits.
///       Default: the byte's address.
///   std::uint64_t mappable_bytes(const std::byte*) const;
///       Optional: how many bytes from this one on a single map accepts, for example up to the end
///       of a registered region. An element is not longer. 0 means no limit here, so that map gets
///       the bytes and returns the error. Default: no limit.
///   bool can_hold(std::span<const IovaSegment>, const Cookie&) const;
///       Optional, for a backend whose map returns no_iova: whether all of these elements could be
///       mapped together, in this order, if no other I/O was mapped. Coherent memory stays mapped,
///       and so does memory that was mapped with this cookie: other mappings of the same I/O.
///       The elements have bus addresses, or 0 for a bounce slot. Called after a map has returned
///       no_iova, when the I/O's own elements are unmapped again. False makes the error
///       iova_space_too_small. Default: true.
///   void note_stop_declared();
///       Optional, for a simulated device: called by Device::declare_stopped, to check that it is
///       true.
///
/// The error of a map shows whether the failure is permanent: no_iova if other mappings have the
/// addresses, iova_space_too_small if these bytes alone exceed the address space, refused if the
/// backend never maps this memory, offline if the device is gone. unmap and invalidate remove
/// translations of a device that is gone, too.
template <class B>
concept Backend =
    requires(B& backend, const B& const_backend, const Segment& memory, const Cookie& cookie,
             const IovaSegment& segment, std::span<const IovaSegment> segments) {
      { const_backend.limits() } -> std::convertible_to<DeviceLimits>;
      {
        backend.map(memory, Direction::to_device, cookie)
      } -> std::same_as<std::expected<std::uint64_t, MapFailure>>;
      { backend.unmap(segment) } -> std::same_as<std::expected<void, MapFailure>>;
      { backend.invalidate(segments) } -> std::same_as<std::expected<void, MapFailure>>;
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

template <class B>
[[nodiscard]] bool can_hold(const B& backend, std::span<const IovaSegment> elements,
                            const Cookie& cookie) noexcept {
  if constexpr (requires { backend.can_hold(elements, cookie); }) {
    return backend.can_hold(elements, cookie);
  } else {
    return true;
  }
}

}  // namespace detail

}  // namespace dma
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
