// SPDX-License-Identifier: BSL-1.0
//
// Runs: how an I/O's segments become the elements of a scatter list. Adjacent segments are merged;
// a run of memory that is longer than the device's limits allow is cut.

#ifndef BLKOWN_DMA_DETAIL_RUNS_HPP
#define BLKOWN_DMA_DETAIL_RUNS_HPP

#include <blkown/config.hpp>
#include <blkown/dma/backend.hpp>
#include <blkown/dma/iova.hpp>
#include <blkown/segment.hpp>
#include <cstddef>
#include <cstdint>
#include <iterator>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma::detail {

/// The memory of one element: a run of bytes within the device's limits.
struct Run {
  Segment memory;
  bool needs_bounce = false;
};

/// The bits of a bus address that a bounce slot keeps.
[[nodiscard]] constexpr std::uint64_t kept_mask(const DeviceLimits& limits) noexcept {
  return limits.min_align_mask | limits.virt_boundary_mask;
}

/// The length of a run that begins at bus address `first` and is cut after `length_bytes`, cut back
/// to the virt boundary. A run without a boundary keeps its length.
[[nodiscard]] constexpr std::uint64_t cut_on_boundary(std::uint64_t first,
                                                      std::uint64_t length_bytes,
                                                      std::uint64_t boundary_mask) noexcept {
  const std::uint64_t beyond = (first + length_bytes) & boundary_mask;
  return beyond < length_bytes ? length_bytes - beyond : length_bytes;
}

/// The longest prefix of `memory` that one element can hold. `slot_bytes` is the length of a bounce
/// slot, or 0 for no limit. A prefix that is not the whole memory ends on the virt boundary, unless
/// the limits leave no room for that.
/// Precondition: `memory` is not empty.
template <class B>
[[nodiscard]] Run first_run(const B& backend, const DeviceLimits& limits, std::size_t slot_bytes,
                            const Segment& memory) noexcept {
  std::uint64_t length_bytes = memory.length_bytes;
  if (length_bytes > limits.max_segment_bytes) length_bytes = limits.max_segment_bytes;
  const std::uint64_t mappable = mappable_bytes(backend, memory.data);
  if (length_bytes > mappable) length_bytes = mappable;
  const std::uint64_t first = bus_address(backend, memory.data);
  // The distance to the next boundary, minus one: a mask of all ones would overflow.
  const std::uint64_t beyond = limits.boundary_mask - (first & limits.boundary_mask);
  if (length_bytes - 1 > beyond) length_bytes = beyond + 1;
  const std::uint64_t last =
      bus_address(backend, memory.data + static_cast<std::size_t>(length_bytes) - 1);
  const bool needs_bounce =
      (first & ~limits.address_mask) != 0 || (last & ~limits.address_mask) != 0;
  if (needs_bounce && slot_bytes != 0) {
    // A slot that is too short for the offset is refused when it is used.
    const std::uint64_t offset_bytes = first & kept_mask(limits);
    const std::uint64_t room_bytes =
        offset_bytes < slot_bytes ? slot_bytes - offset_bytes : slot_bytes;
    if (length_bytes > room_bytes) length_bytes = room_bytes;
  }
  if (limits.virt_boundary_mask != 0 && length_bytes != memory.length_bytes) {
    length_bytes = cut_on_boundary(first, length_bytes, limits.virt_boundary_mask);
  }
  return {memory.part(0, static_cast<std::size_t>(length_bytes)), needs_bounce};
}

/// Calls `take(Run) -> bool` for each element of the scatter list for `segments`, a range of
/// Segments, until a call returns false. Returns the last call's result, or true without a call.
template <class B, class Segments, class Take>
bool for_each_run(const B& backend, const DeviceLimits& limits, std::size_t slot_bytes,
                  const Segments& segments, Take take) noexcept {
  auto at = std::begin(segments);
  const auto end = std::end(segments);
  for (;;) {
    Segment pending;
    for (; at != end; ++at) {
      const Segment segment = *at;
      if (segment.empty()) continue;
      if (pending.empty()) {
        pending = segment;
      } else if (segment.data == pending.end()) {
        pending.length_bytes += segment.length_bytes;
      } else {
        break;
      }
    }
    if (pending.empty()) return true;
    do {
      const Run run = first_run(backend, limits, slot_bytes, pending);
      if (!take(run)) return false;
      pending = pending.part(run.memory.length_bytes, pending.length_bytes);
    } while (!pending.empty());
  }
}

}  // namespace dma::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
