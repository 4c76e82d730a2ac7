// SPDX-License-Identifier: BSL-1.0
//
// NvmeState: what the parts of a simulated NVMe controller share.

#ifndef BLKOWN_SIM_DEVICE_NVME_STATE_HPP
#define BLKOWN_SIM_DEVICE_NVME_STATE_HPP

#include <bit>
#include <blkown/config.hpp>
#include <blkown/nvme/status.hpp>
#include <blkown/nvme/submission_entry.hpp>
#include <blkown/sim/device/controller_observer.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/sim/device/fixed_array.hpp>
#include <blkown/sim/device/iommu.hpp>
#include <blkown/sim/device/media/bad_ranges.hpp>
#include <blkown/sim/device/media/range_lock.hpp>
#include <blkown/sim/device/nvme/command.hpp>
#include <blkown/sim/device/nvme/config.hpp>
#include <blkown/sim/device/nvme/features.hpp>
#include <blkown/sim/device/nvme/firmware.hpp>
#include <blkown/sim/device/nvme/log.hpp>
#include <blkown/sim/device/nvme/queue.hpp>
#include <blkown/sim/device/nvme/registers.hpp>
#include <blkown/sim/device/pending_calls.hpp>
#include <blkown/sim/device/recent_commands.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <span>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// Receives the events of an NvmeController. A queue is the one of that identifier: 0 is the admin
/// queue.
using NvmeObserver = CommandObserver<nvme::SubmissionEntry>;

namespace detail {

/// A namespace, and the lock of its medium. `writes_through` changes under all of the lock.
struct NvmeNamespaceState {
  NvmeNamespaceState(const NvmeNamespace& its, bool is_locked)
      : media{its.media},
        block_bytes{its.block_bytes},
        lock{its.media != nullptr && its.media->has_ranges(), is_locked} {}

  [[nodiscard]] bool is_active() const noexcept { return media != nullptr; }
  [[nodiscard]] unsigned block_exponent() const noexcept {
    return static_cast<unsigned>(std::countr_zero(block_bytes));
  }
  [[nodiscard]] std::uint64_t block_count() const {
    return is_active() ? media->capacity_bytes() / block_bytes : 0;
  }

  Media* media;
  std::uint32_t block_bytes;
  RangeLock lock;
  bool writes_through = false;       // the driver has switched the write cache off
  std::uint32_t error_recovery = 0;  // a feature; guarded by the controller's mutex
};

/// The calls that a call into the controller leaves for its end.
struct NvmeCalls : PendingCalls {
  bool has_event = false;  // an event may have to be reported
};

/// The members are guarded by the controller's mutex, unless their type or a comment says other.
struct NvmeState {
  NvmeState(const NvmeConfig& its, Iommu& the_iommu, std::span<const NvmeNamespace> the_namespaces,
            FaultPlan* the_faults)
      : config{its},
        iommu{the_iommu},
        faults{the_faults},
        submission_queues{config.io_queues + std::size_t{1}},
        completion_queues{config.io_queues + std::size_t{1}} {
    for (std::uint16_t id = 0; id <= config.io_queues; ++id) {
      submission_queues.emplace_back(id, config.seed * 0x10001 + id, iommu);
      completion_queues.emplace_back();
    }
    vectors.resize(max_vectors);
    for (const NvmeNamespace& one : the_namespaces)
      namespaces.emplace_back(one, !config.is_single_threaded);
    submission_queues[0].mutex.is_used = false;
    completion_queues[0].mutex.is_used = false;
    if (faults != nullptr || config.is_single_threaded) hold_one_lock();
  }

  /// From now on, every call holds the controller's mutex, and no queue's.
  void hold_one_lock() noexcept {
    is_serial = true;
    for (auto& queue : submission_queues) queue.mutex.is_used = false;
    for (auto& queue : completion_queues) queue.mutex.is_used = false;
    for (auto& vector : vectors) vector.mutex.is_used = false;
  }
  /// Names the command at which the next faults strike.
  void set_target(std::optional<std::uint32_t> queue, std::uint64_t cookie) {
    if (faults != nullptr) faults->set_target(FaultTarget{.queue = queue, .cookie = cookie});
  }
  [[nodiscard]] bool strikes(FaultKind kind) { return faults != nullptr && faults->strikes(kind); }
  [[nodiscard]] NvmeCompletionQueue& completion_queue_of(const NvmeSubmissionQueue& queue) {
    return completion_queues[queue.completion_queue()];
  }
  /// The time at which the interrupt of the queue's vector is due, if it was not sent yet.
  /// Context: with the completion queue's mutex.
  [[nodiscard]] std::optional<std::uint64_t> interrupt_due_ns(NvmeCompletionQueue& queue) {
    if (!queue.waits_for_interrupt) return std::nullopt;
    NvmeVector& vector = vectors[queue.vector()];
    const std::lock_guard guard{vector.mutex};
    if (!vector.due_ns().has_value()) queue.waits_for_interrupt = false;  // another queue's is sent
    return vector.due_ns();
  }
  /// Takes the interrupt of the queue's vector, if it is due.
  /// Context: as interrupt_due_ns().
  [[nodiscard]] bool take_interrupt(NvmeCompletionQueue& queue, std::uint64_t now_ns) {
    if (!queue.waits_for_interrupt) return false;
    NvmeVector& vector = vectors[queue.vector()];
    const std::lock_guard guard{vector.mutex};
    if (!vector.due_ns().has_value() || *vector.due_ns() > now_ns) return false;
    queue.waits_for_interrupt = false;
    vector.clear();
    return true;
  }
  /// Counts an entry that was posted to the queue. True if its interrupt is due at once.
  /// Context: as interrupt_due_ns().
  [[nodiscard]] bool count_for_interrupt(NvmeCompletionQueue& queue, std::uint64_t now_ns) {
    if (queue.coalescing.time_us() == 0) return true;
    NvmeVector& vector = vectors[queue.vector()];
    const std::lock_guard guard{vector.mutex};
    queue.waits_for_interrupt = !vector.count(queue.coalescing, now_ns);
    return !queue.waits_for_interrupt;
  }
  /// Leaves the interrupt of an entry for a later time. An interrupt that waits already is that of
  /// the entry, too.
  /// Context: as interrupt_due_ns().
  void delay_interrupt(NvmeCompletionQueue& queue, std::uint64_t due_ns) {
    NvmeVector& vector = vectors[queue.vector()];
    const std::lock_guard guard{vector.mutex};
    vector.delay(due_ns);
    queue.waits_for_interrupt = true;
  }
  /// The namespace, or null if the identifier has none that is active.
  [[nodiscard]] NvmeNamespaceState* find_namespace(std::uint32_t nsid) noexcept {
    if (nsid == 0 || nsid > namespaces.size() || !namespaces[nsid - 1].is_active()) return nullptr;
    return &namespaces[nsid - 1];
  }
  /// The status of a command whose identifier is not that of an active namespace.
  /// Source: NVMe Base 1.4, sections 4.2 and 6.1.
  [[nodiscard]] nvme::StatusCode namespace_error(std::uint32_t nsid) const noexcept {
    if (nsid == nvme::all_namespaces) return nvme::StatusCode::invalid_field;
    return nsid == 0 || nsid > namespaces.size() ? nvme::StatusCode::invalid_namespace
                                                 : nvme::StatusCode::invalid_field;
  }
  /// The same, of a command for which all_namespaces is no identifier.
  [[nodiscard]] nvme::StatusCode single_namespace_error(std::uint32_t nsid) const noexcept {
    return nsid == nvme::all_namespaces ? nvme::StatusCode::invalid_namespace
                                        : namespace_error(nsid);
  }
  [[nodiscard]] Iommu::Access ring_access() const noexcept {
    return {.device = config.device_id, .cookie = 0, .is_for_command = false};
  }
  /// An access to a ring by the harness.
  [[nodiscard]] Iommu::Access inspection() const noexcept {
    Iommu::Access access = ring_access();
    access.is_inspection = true;
    return access;
  }
  /// Notes what the ring of a new queue holds, for the observer.
  void note_ring(NvmeSubmissionQueue& queue) {
    if (observer != nullptr) queue.note_ring(iommu, inspection());
  }
  [[nodiscard]] Iommu::Access access_of(const NvmeCommand& command) const noexcept {
    return {.device = config.device_id,
            .cookie = cookie_of(command.entry),
            .is_for_command = true,
            .is_forbidden = command.is_disowned};
  }

  const NvmeConfig config;
  Iommu& iommu;
  FaultPlan* const faults;
  NvmeObserver* observer = nullptr;
  bool is_serial = false;           // constant while another thread may use the controller
  std::uint32_t page_bytes = 4096;  // changes only while there is no I/O queue
  NvmeRegisters registers{config};
  NvmeFeatures features{config};
  NvmeFirmware firmware;
  NvmeErrorLog errors{config.error_log_entries};
  NvmeEvents events;
  FixedArray<NvmeSubmissionQueue> submission_queues;  // by identifier
  FixedArray<NvmeCompletionQueue> completion_queues;  // by identifier
  std::deque<NvmeNamespaceState> namespaces;          // by identifier, from 1
  std::deque<NvmeVector> vectors;                     // each has a mutex of its own
  RecentCommands recent;
  BadRanges bad_ranges;  // of namespaces, in blocks

 private:
  static constexpr std::size_t max_vectors = 64;
};

}  // namespace detail

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
