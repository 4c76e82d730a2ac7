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
    return is_whole;
  }
  [[nodiscard]] const MapError& error() const noexcept { return error_; }

 private:
  bool fail(MapFailure reason, std::uint64_t limit = 0) noexcept {
    error_ = {.reason = reason, .segment = list_.count, .limit = limit};
    return false;
  }

  /// Adds one element to the list. Not inlined: for_each_run calls it in two loops, and clang would
  /// otherwise spill the loops' registers.
  [[nodiscard, gnu::noinline]] bool add(const Run& run) noexcept {
    const std::uint32_t index = list_.count;
    if (index == limits_.max_segments) return fail(MapFailure::too_many_segments, index);
    if (index == list_.capacity) return fail(MapFailure::list_too_short, index);
    Origin origin{.data = run.memory.data};
    if (run.needs_bounce && !bounce(run, origin)) return false;
    const auto iova =
        device_.backend().map(origin.bounce != nullptr ? origin.bounce : run.memory.data,
                              run.memory.length_bytes, list_.direction, list_.cookie);
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
    if (!reaches(Segment{slot, run.memory.length_bytes})) {
      pool->give(slot);
      return fail(MapFailure::unreachable, limits_.address_mask);
    }
    // Also for a device that only writes: the bytes that a short transfer does not reach are copied
    // back unchanged, not as the bytes of the slot's last I/O.
    std::memcpy(slot, run.memory.data, run.memory.length_bytes);
    origin.bounce = slot;
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
