// SPDX-License-Identifier: BSL-1.0
//
// Device: the hardware that memory is mapped for, with its quarantine.
//
// Parties: the contexts that map and unmap, the device, and the driver's recovery path.
//
// An ActiveMapping that is destroyed without proof goes into quarantine. A scan or a drain also
// moves every mapping there that is left in the data of a request whose I/O has ended or was
// requeued, whether other pins keep the request or not. In quarantine the memory stays mapped and
// the request stays pinned, so neither the memory nor the tag is used again while the device may
// still write. A mapping whose unmap the backend has refused goes there, too, with proof or
// without: the translation exists, so nothing of the mapping is reused. Only a stop of the device
// ends a quarantine:
//
//   1. The driver stops submitting, for example with mq::Disk::quiesce.
//   2. The driver stops the device: reset, ring closed, bus mastering off. The device confirms.
//   3. declare_stopped() ends the epoch and returns the proof for every mapping of it.
//   4. The driver ends its I/Os, and unmaps with this proof those mappings that still have handles.
//   5. drain(proof) unmaps the rest, and frees coherent memory whose owner is destroyed. What the
//      backend cannot unmap now either stays in quarantine, for the next drain.
//
// A handle and a drain may reach the same mapping at the same time: exactly one of the two unmaps.
// Mappings of a later epoch are not covered by the proof. A Device destroyed while a mapping or a
// coherent allocation exists is a violation.

#ifndef BLKOWN_DMA_DEVICE_HPP
#define BLKOWN_DMA_DEVICE_HPP

#include <blkown/config.hpp>
#include <blkown/dma/backend.hpp>
#include <blkown/dma/bounce_pool.hpp>
#include <blkown/dma/detail/backend_state.hpp>
#include <blkown/dma/detail/list_state.hpp>
#include <blkown/dma/detail/mapping_state.hpp>
#include <blkown/dma/iova.hpp>
#include <blkown/dma/proof.hpp>
#include <blkown/dma/quarantine.hpp>
#include <blkown/tag.hpp>
#include <cstddef>
#include <optional>
#include <span>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma {

/// A mapping of an I/O, as Device::for_each_mapping shows it.
struct Mapped {
  Cookie cookie;  ///< The publication that the memory is mapped for.
  Direction direction{};
  bool is_active = false;  ///< False before the activation and while the mapping is unmapped.
  /// Why the mapping is in quarantine. None: it is not known to be there.
  std::optional<QuarantineReason> quarantine;
  std::span<const IovaSegment> segments;  ///< Valid during the visit.
};

namespace detail {
struct DeviceAccess;
}  // namespace detail

/// A device that reaches memory through a backend. Mappings do not count references to their
/// device: every context would write that count for every I/O.
/// Precondition: the device outlives its mappings and its coherent allocations.
/// Context: any, but not an interrupt, because the members take a lock.
template <Backend B>
class Device {
 public:
  /// Precondition: the backend, and the bounce pool if one is given, outlive the device. A
  /// BouncePool, sim::Iommu or UringBuffers that is destroyed before is a violation.
  explicit Device(B& backend, BouncePool* bounce_pool = nullptr) noexcept
      : state_{backend, bounce_pool} {}
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  /// Violation: object_in_use, if a mapping or a coherent allocation exists, in quarantine or not,
  /// or a simulated controller uses the device.
  ~Device() = default;

  /// The backend.
  [[nodiscard]] B& backend() const noexcept { return state_.backend(); }
  /// The bounce pool, or null.
  [[nodiscard]] BouncePool* bounce_pool() const noexcept { return state_.bounce_pool(); }

  /// Declares that the device no longer reaches memory. The device was reset, its ring was closed,
  /// or its bus mastering was switched off, and the device has confirmed that.
  /// Precondition: the declaration is true, and no context is between activating a mapping and
  /// publishing its I/O. Stop submitting first, for example with mq::Disk::quiesce.
  /// Effects: the proof covers all memory that was mapped before, except that of a mapping that is
  /// activated later. An I/O that is published later without activate() may thus be covered,
  /// although the device runs: activate() before each publication.
  [[nodiscard]] EndProof declare_stopped() noexcept {
    if constexpr (requires { backend().note_stop_declared(); }) backend().note_stop_declared();
    return state_.stop();
  }

  /// Unmaps the mappings in quarantine, and frees the abandoned coherent memory, that the proof
  /// covers. Returns the number of both, which is 0 if the proof covers none. A mapping that the
  /// backend cannot unmap stays, and is reported.
  /// Effects: drops the mappings' pins. If the I/O has ended, the drop of the last pin, here or by
  /// another party, passes the request to the end sink.
  std::size_t drain(const EndProof& proof) noexcept { return state_.drain(proof); }

  /// Calls `visit(const Quarantined&)` for each mapping in quarantine.
  /// Precondition: `visit` does not map or unmap.
  template <class Visit>
  void for_each_quarantined(Visit&& visit) noexcept {
    state_.for_each_quarantined([&](const detail::ListFields& list) {
      visit(Quarantined{.reason = list.reason,
                        .cookie = list.cookie,
                        .direction = list.direction,
                        .segments = list.view()});
    });
  }
  /// Calls `visit(const Mapped&)` for each mapping of an I/O; for tests and post-mortem dumps.
  /// Precondition: neither `visit` nor another context maps or unmaps during the call.
  template <class Visit>
  void for_each_mapping(Visit&& visit) noexcept {
    using Value = detail::MappingState::Value;
    state_.for_each_mapping([&](const detail::ListFields& list, Value value) {
      visit(Mapped{
          .cookie = list.cookie,
          .direction = list.direction,
          .is_active = value != Value::prepared && list.is_seen,
          .quarantine = value == Value::quarantined ? std::optional{list.reason} : std::nullopt,
          .segments = list.view()});
    });
  }
  /// The number of mappings in quarantine.
  [[nodiscard]] std::size_t quarantined_count() noexcept {
    std::size_t count = 0;
    for_each_quarantined([&](const Quarantined&) { ++count; });
    return count;
  }

 private:
  friend struct detail::DeviceAccess;

  detail::BackendState<B> state_;
};

namespace detail {

struct DeviceAccess {
  template <class B>
  static BackendState<B>& state(Device<B>& device) noexcept {
    return device.state_;
  }
};

}  // namespace detail

}  // namespace dma
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
