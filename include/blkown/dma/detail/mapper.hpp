// SPDX-License-Identifier: BSL-1.0
//
// Mapper: fills a scatter list, element by element.

#ifndef BLKOWN_DMA_DETAIL_MAPPER_HPP
#define BLKOWN_DMA_DETAIL_MAPPER_HPP

#include <blkown/config.hpp>
#include <blkown/dma/backend.hpp>
#include <blkown/dma/bounce_pool.hpp>
#include <blkown/dma/detail/backend_state.hpp>
#include <blkown/dma/detail/list_state.hpp>
#include <blkown/dma/detail/runs.hpp>
#include <blkown/dma/iova.hpp>
#include <blkown/segment.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma::detail {

/// Maps segments into a list that the caller has prepared. Elements that are mapped when an error
/// occurs stay in the list; the caller unmaps them.
template <class B>
class Mapper {
 public:
  Mapper(BackendState<B>& device, ListFields& list) noexcept
      : device_{device}, list_{list}, limits_{device.backend().limits()} {}

  /// Maps `segments`, a range of Segments. False: see error().
  template <class Segments>
  [[nodiscard]] bool map(const Segments& segments) noexcept {
    BouncePool* const pool = device_.bounce_pool();
    const std::size_t slot_bytes = pool == nullptr ? 0 : pool->slot_bytes();
    const bool is_whole = for_each_run(device_.backend(), limits_, slot_bytes, segments,
                                       [&](const Run& run) { return add(run); });
    if (is_whole && list_.count == 0) return fail(MapFailure::no_bytes);
    if (limits_.virt_boundary_mask != 0 && is_whole) return is_without_gap();
    return is_whole;
  }
  /// The error of the element that failed.
  [[nodiscard]] const MapError& error() const noexcept { return error_; }
  /// The error after map() has failed. To decide whether a shortage is permanent, compares the
  /// needs of the whole memory with the resources of a device that maps no other I/O. `is_mine` as
  /// for DeviceState::slots_of.
  /// Precondition: the list's elements are unmapped. The list serves as scratch memory.
  template <class Segments, class IsMine>
  [[nodiscard, gnu::cold, gnu::noinline]] MapError final_error(const Segments& segments,
                                                               IsMine is_mine) noexcept {
    if (error_.reason != MapFailure::no_bounce_slot && error_.reason != MapFailure::no_iova) {
      return error_;
    }
    const BouncePool* const pool = device_.bounce_pool();
    const std::uint64_t slots = pool == nullptr ? 0 : pool->slot_count();
    const std::uint64_t own_slots = slots == 0 ? 0 : device_.slots_of(is_mine);
    const Needs needs = needs_of(segments, slots - own_slots);
    if (needs.is_too_long) {
      list_.count = needs.elements;
      static_cast<void>(has_room());
      list_.count = 0;
    } else if (needs.gap_before != 0) {
      error_ = {MapFailure::gap, needs.gap_before, limits_.virt_boundary_mask};
    } else if (needs.bounced != 0 && pool == nullptr) {
      error_ = {MapFailure::unreachable, needs.first_without_slot, limits_.address_mask};
    } else if (needs.bounced != 0 && needs.bounced + own_slots > slots) {
      error_ = {MapFailure::too_few_bounce_slots, needs.first_without_slot, slots,
                needs.bounced + own_slots};
    } else if (!can_hold(device_.backend(), {list_.segments, needs.elements}, list_.cookie)) {
      error_.reason = MapFailure::iova_space_too_small;
    }
    return error_;
  }

 private:
  /// The needs of the whole memory.
  struct Needs {
    std::uint32_t elements = 0;
    std::uint32_t bounced = 0;             // elements that need a slot
    std::uint32_t first_without_slot = 0;  // the first element for which the pool has no slot
    std::uint32_t gap_before = 0;          // the first element behind a gap on the virt boundary
    bool is_too_long = false;              // the count ended before the last element
  };

  /// Counts the elements and writes them into the list, as far as the list and the device take
  /// them.
  template <class Segments>
  [[nodiscard]] Needs needs_of(const Segments& segments, std::uint64_t slots) noexcept {
    const BouncePool* const pool = device_.bounce_pool();
    const std::size_t slot_bytes = pool == nullptr ? 0 : pool->slot_bytes();
    Needs needs;
    const std::byte* last = nullptr;
    const auto count = [&](const Run& run) {
      needs.is_too_long =
          needs.elements == list_.capacity || needs.elements == limits_.max_segments;
      if (needs.is_too_long) return false;
      if (last != nullptr && needs.gap_before == 0 && has_gap(last, run.memory.data)) {
        needs.gap_before = needs.elements;
      }
      last = run.memory.end() - 1;
      if (run.needs_bounce && needs.bounced++ == slots) needs.first_without_slot = needs.elements;
      list_.segments[needs.elements++] = {
          .iova = run.needs_bounce ? 0 : bus_address(device_.backend(), run.memory.data),
          .length_bytes = run.memory.length_bytes};
      return true;
    };
    static_cast<void>(for_each_run(device_.backend(), limits_, slot_bytes, segments, count));
    return needs;
  }

  bool fail(MapFailure reason, std::uint64_t limit = 0) noexcept {
    error_ = {.reason = reason, .segment = list_.count, .limit = limit};
    return false;
  }

  /// Whether the list and the device take another element.
  [[nodiscard]] bool has_room() noexcept {
    const std::uint32_t index = list_.count;
    if (index == limits_.max_segments) return fail(MapFailure::too_many_segments, index);
    if (index == list_.capacity) return fail(MapFailure::list_too_short, index);
    return true;
  }

  /// Whether two elements meet off the virt boundary: the one that ends with the byte `last`, and
  /// the next one, which begins with `first`.
  [[nodiscard]] bool has_gap(const std::byte* last, const std::byte* first) const noexcept {
    const B& backend = device_.backend();
    const std::uint64_t seam = (bus_address(backend, last) + 1) | bus_address(backend, first);
    return (seam & limits_.virt_boundary_mask) != 0;
  }
  /// Whether all elements of the list meet on the virt boundary.
  [[nodiscard]] bool is_without_gap() noexcept {
    for (std::uint32_t i = 1; i < list_.count; ++i) {
      const std::size_t length_bytes = list_.segments[i - 1].length_bytes;
      const std::byte* const last = list_.origins[i - 1].data + length_bytes - 1;
      if (!has_gap(last, list_.origins[i].data)) continue;
      error_ = {.reason = MapFailure::gap, .segment = i, .limit = limits_.virt_boundary_mask};
      return false;
    }
    return true;
  }

  /// Adds one element to the list.
  [[nodiscard]] bool add(const Run& run) noexcept {
    const std::uint32_t index = list_.count;
    if (!has_room()) return false;
    Origin origin{.data = run.memory.data};
    if (run.needs_bounce && !bounce(run, origin)) return false;
    const Segment memory{origin.bounce != nullptr ? origin.bounce : run.memory.data,
                         run.memory.length_bytes};
    const auto iova = device_.backend().map(memory, list_.direction, list_.cookie);
    if (!iova.has_value()) {
      if (origin.bounce != nullptr) device_.bounce_pool()->give(origin.bounce);
      return fail(iova.error());
    }
    list_.segments[index] = {.iova = *iova, .length_bytes = run.memory.length_bytes};
    list_.origins[index] = origin;
    list_.is_bounced = list_.is_bounced || origin.bounce != nullptr;
    list_.count = index + 1;
    return true;
  }

  /// Takes a slot for the run, and fills the slot.
  [[nodiscard]] bool bounce(const Run& run, Origin& origin) noexcept {
    BouncePool* const pool = device_.bounce_pool();
    if (pool == nullptr) return fail(MapFailure::unreachable, limits_.address_mask);
    std::byte* const slot = pool->take();
    if (slot == nullptr) return fail(MapFailure::no_bounce_slot);
    const std::uint64_t kept = kept_mask(limits_);
    const auto offset_bytes =
        static_cast<std::size_t>(bus_address(device_.backend(), run.memory.data) & kept);
    const std::size_t length_bytes = run.memory.length_bytes;
    if ((bus_address(device_.backend(), slot) & kept) != 0 ||
        offset_bytes + length_bytes > pool->slot_bytes() ||
        !reaches(Segment{slot + offset_bytes, length_bytes})) {
      pool->give(slot);
      return fail(MapFailure::unreachable, limits_.address_mask);
    }
    origin.bounce = slot + offset_bytes;
    // Also for a device that only writes: the bytes that a short transfer does not reach are copied
    // back unchanged, not as the bytes of the slot's last I/O.
    std::memcpy(origin.bounce, run.memory.data, length_bytes);
    return true;
  }

  /// Whether the device can reach a slot of the bounce pool as one element.
  [[nodiscard]] bool reaches(const Segment& slot) const noexcept {
    const Run run = first_run(device_.backend(), limits_, 0, slot);
    return !run.needs_bounce && run.memory.length_bytes == slot.length_bytes;
  }

  BackendState<B>& device_;
  ListFields& list_;
  DeviceLimits limits_;
  MapError error_;
};

}  // namespace dma::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
