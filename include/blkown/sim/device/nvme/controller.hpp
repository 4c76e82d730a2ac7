// SPDX-License-Identifier: BSL-1.0
//
// NvmeController: a simulated NVMe 1.4 controller.
//
// The parties are the driver, the controller, and the harness, which calls step().
//   1. The driver writes the admin queues' addresses to AQA, ASQ and ACQ, sets CC.EN, and waits for
//      CSTS.RDY. The admin queues then exist.
//   2. With admin commands the driver identifies the controller and creates I/O queues.
//   3. The driver writes commands into a submission queue, and the tail to its doorbell. step()
//      fetches a command, executes it later, and posts its completion.
//   4. The hook `interrupt` gives the MSI-X vector of the completion queue. The driver takes the
//      entries of the right phase, and writes the head to the doorbell. A full completion queue
//      stops its submission queues until then.
//   5. CC.EN = 0 gives up all commands and queues. When CSTS.RDY is 0, and only then, the
//      controller accesses no memory, and the driver may declare it stopped
//      (dma::Device::declare_stopped).
// A queue that the IOMMU refuses makes CSTS.CFS 1: the controller executes nothing until CC.EN = 0.
// After unplug() every register reads as ones.
//
// The controller reaches all memory through the IOMMU: queues, PRP lists and data. What a driver
// sends is another party's value: a wrong one is answered with a status, and never asserted.

#ifndef BLKOWN_SIM_DEVICE_NVME_CONTROLLER_HPP
#define BLKOWN_SIM_DEVICE_NVME_CONTROLLER_HPP

#include <bit>
#include <blkown/config.hpp>
#include <blkown/detail/saturating.hpp>
#include <blkown/detail/user_list.hpp>
#include <blkown/dma/backend.hpp>
#include <blkown/dma/iova.hpp>
#include <blkown/nvme/features.hpp>
#include <blkown/nvme/log_page.hpp>
#include <blkown/nvme/registers.hpp>
#include <blkown/nvme/status.hpp>
#include <blkown/nvme/submission_entry.hpp>
#include <blkown/sim/device/controller_hooks.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/sim/device/iommu.hpp>
#include <blkown/sim/device/media/range_lock.hpp>
#include <blkown/sim/device/nvme/completer.hpp>
#include <blkown/sim/device/nvme/config.hpp>
#include <blkown/sim/device/nvme/engine.hpp>
#include <blkown/sim/device/nvme/queue.hpp>
#include <blkown/sim/device/nvme/registers.hpp>
#include <blkown/sim/device/nvme/state.hpp>
#include <blkown/sim/device/optional_lock.hpp>
#include <blkown/tag.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// An NVMe controller. It executes commands only within step() and step_queue(). A FaultPlan
/// decides its faults.
/// Synchronization: with a fault plan or an observer, one mutex serializes all calls. Without them,
/// doorbells and step_queue() of one I/O queue take only the locks of that queue. With
/// NvmeConfig::is_single_threaded no lock is taken.
/// Context: any thread.
class NvmeController {
 public:
  using Entry = nvme::SubmissionEntry;  ///< Of the observer's events.

  /// Makes a controller that is not enabled. With a fault plan, sets the IOMMU's hooks.
  /// Precondition: the arguments outlive the controller, except the span. No fault plan: no faults.
  NvmeController(const NvmeConfig& config, Iommu& iommu, std::span<const NvmeNamespace> namespaces,
                 FaultPlan* faults = nullptr, const ControllerHooks& hooks = {})
      : mutex_{!config.is_single_threaded},
        state_{config, iommu, namespaces, faults},
        hooks_{hooks},
        iommu_user_{&iommu.users(), "a sim::NvmeController"} {
    for (const NvmeNamespace& one : namespaces) {
      if (one.media != nullptr)
        media_users_.emplace_back(&one.media->users(), "a sim::NvmeController");
    }
    if (faults == nullptr) return;
    iommu.set_map_hook({&on_map, this});
    iommu.set_unmap_hook({&on_unmap, this});
    iommu.set_stop_hook({&on_stop_declared, this});
  }
  NvmeController(const NvmeController&) = delete;
  NvmeController& operator=(const NvmeController&) = delete;
  /// Violation: object_in_use, if an Oracle uses the controller.
  ~NvmeController() {
    users_.check_unused("destruction of sim::NvmeController", "sim::NvmeController",
                        "destroy that object first");
    if (state_.faults == nullptr) return;
    state_.iommu.set_map_hook({});
    state_.iommu.set_unmap_hook({});
    state_.iommu.set_stop_hook({});
  }

  /// Sets the hooks.
  /// Precondition: the controller was not enabled.
  void set_hooks(const ControllerHooks& hooks) noexcept { hooks_ = hooks; }

  /// Sets the observer of the controller's events, or none.
  /// Precondition: the controller is not enabled, or the observer is null. No other thread uses it.
  void set_observer(NvmeObserver* observer) {
    const std::lock_guard guard{mutex_};
    state_.observer = observer;
    if (observer != nullptr) state_.hold_one_lock();
  }

  // --- the driver's side ------------------------------------------------------------------------

  /// Reads a register. A doorbell, and what is no register, reads as 0.
  [[nodiscard]] std::uint32_t read32(std::uint64_t offset) {
    const std::lock_guard guard{mutex_};
    return state_.registers.read32(offset);
  }
  /// Reads two registers of 32 bits, or one of 64.
  [[nodiscard]] std::uint64_t read64(std::uint64_t offset) {
    const std::lock_guard guard{mutex_};
    return state_.registers.read32(offset) |
           (std::uint64_t{state_.registers.read32(offset + 4)} << 32);
  }
  /// Writes a register or a doorbell.
  void write32(std::uint64_t offset, std::uint32_t value) {
    if (offset >= nvme::reg::doorbells) return ring_doorbell(offset - nvme::reg::doorbells, value);
    Call call{*this};
    write_register(call, offset, value);
  }
  /// Writes two registers of 32 bits, or one of 64. A doorbell has 32 bits.
  void write64(std::uint64_t offset, std::uint64_t value) {
    if (offset >= nvme::reg::doorbells) return;
    Call call{*this};
    write_register(call, offset, static_cast<std::uint32_t>(value));
    write_register(call, offset + 4, static_cast<std::uint32_t>(value >> 32));
  }

  // --- execution --------------------------------------------------------------------------------

  /// Performs one step that is due, of any queue or of the controller itself. Returns false if none
  /// is due. The queues take turns, by the arbitration burst.
  bool step(std::uint64_t now_ns) {
    Call call{*this, now_ns, true};
    const detail::NvmeTransition transition = state_.registers.step(now_ns);
    if (transition != detail::NvmeTransition::none) {
      perform(transition);
      return true;
    }
    detail::NvmeSubmissionQueue* const queue = next_queue(now_ns);
    return queue != nullptr && engine_.step(*queue, call.completer);
  }
  /// The time at which the next step is due, which may be in the past. None: no step is planned.
  [[nodiscard]] std::optional<std::uint64_t> next_ns() {
    const std::lock_guard guard{mutex_};
    std::optional<std::uint64_t> first = state_.registers.next_ns();
    for (detail::NvmeSubmissionQueue& queue : state_.submission_queues) {
      const auto due_ns = engine_.next_ns(queue);
      if (due_ns.has_value() && (!first.has_value() || *due_ns < *first)) first = due_ns;
    }
    return first;
  }
  /// Performs one step of this I/O submission queue that is due. Returns false if none is due.
  /// Precondition: `queue` is an identifier from 1 to NvmeConfig::io_queues.
  /// Context: any thread; another thread may step another queue at the same time.
  bool step_queue(std::uint16_t queue, std::uint64_t now_ns) {
    Call call{*this, now_ns, state_.is_serial};
    return engine_.step(state_.submission_queues[queue], call.completer);
  }

  /// Removes the device from its slot: it accesses no memory, and its registers read as ones.
  void unplug() {
    Call call{*this};
    state_.registers.unplug();
    remove_queues();
    call.calls.has_failed = true;
  }

  // --- for the harness --------------------------------------------------------------------------

  /// The configuration.
  [[nodiscard]] const NvmeConfig& config() const noexcept { return state_.config; }
  /// The number of queues that the observer's events may name, the admin queue included.
  [[nodiscard]] std::uint32_t queue_count() const noexcept { return config().io_queues + 1U; }
  /// Whether CSTS.CFS is 1.
  [[nodiscard]] bool has_failed() {
    const std::lock_guard guard{mutex_};
    return state_.registers.is_fatal();
  }
  /// Whether the controller accesses no memory, because it is disabled or gone.
  [[nodiscard]] bool is_stopped() {
    const std::lock_guard guard{mutex_};
    return state_.registers.is_stopped();
  }
  /// Makes the controller disown the commands of this identifier that complete to the queue,
  /// because the driver has accepted a false completion. Returns the commands that were not
  /// disowned before.
  /// Effects: accesses to the memory of a disowned command are forbidden (Iommu::Access). A
  /// disowned command that moves no blocks is not executed.
  [[nodiscard]] std::vector<Entry> disown(std::uint32_t completion_queue, std::uint64_t cookie) {
    const std::lock_guard guard{mutex_};
    return engine_.disown(completion_queue, cookie);
  }
  /// The same for a command that the driver has written into the ring without its doorbell.
  [[nodiscard]] std::vector<Entry> disown_unrung(std::uint32_t completion_queue,
                                                 std::uint64_t cookie) {
    const std::lock_guard guard{mutex_};
    return engine_.disown_unrung(completion_queue, cookie);
  }
  /// The interrupt vector of a completion queue. None: there is no such queue, or it has none.
  [[nodiscard]] std::optional<std::uint32_t> vector_of(std::uint32_t completion_queue) {
    const std::lock_guard guard{mutex_};
    const detail::NvmeCompletionQueue& queue = state_.completion_queues[completion_queue];
    if (!queue.exists() || !queue.has_interrupts()) return std::nullopt;
    return queue.vector();
  }
  /// The number of doorbells, fetches, executions and completions since the controller was made.
  [[nodiscard]] std::uint64_t events() {
    const std::lock_guard guard{mutex_};
    std::uint64_t sum = 0;
    for (auto& queue : state_.submission_queues) {
      const std::lock_guard queue_guard{queue.mutex};
      sum += queue.counters.events;
    }
    for (auto& queue : state_.completion_queues) {
      const std::lock_guard queue_guard{queue.mutex};
      sum += queue.events;
    }
    return sum;
  }
  /// The number of register writes, doorbells and steps that have taken the mutex of the whole
  /// controller. A doorbell and a step_queue() of an I/O queue do not, unless they report an event
  /// or a failure, or the run is serial.
  [[nodiscard]] std::uint64_t shared_calls() {
    const std::lock_guard guard{mutex_};
    return shared_calls_;
  }
  /// The number of commands that were fetched and not completed.
  [[nodiscard]] std::size_t command_count() {
    const std::lock_guard guard{mutex_};
    std::size_t sum = 0;
    for (auto& queue : state_.submission_queues) {
      const std::lock_guard queue_guard{queue.mutex};
      sum += queue.command_count();
    }
    return sum;
  }
  /// The objects of the harness that use the controller.
  [[nodiscard]] blkown::detail::UserList& users() noexcept { return users_; }

 private:
  /// One call into the controller. Its destructor handles a failure and events, releases the mutex,
  /// and then calls the pending hooks.
  struct Call {
    explicit Call(NvmeController& its, bool holds_mutex = true)
        : controller{its}, lock{its.mutex_, std::defer_lock}, completer{its.state_, calls} {
      if (!holds_mutex) return;
      lock.lock();
      ++its.shared_calls_;
      completer.set_now(its.now_ns_);
    }
    /// A call of the harness at this time.
    Call(NvmeController& its, std::uint64_t now_ns, bool holds_mutex) : Call{its, holds_mutex} {
      completer.set_now(now_ns);
      if (holds_mutex) its.now_ns_ = now_ns;
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    ~Call() {
      if (calls.has_failed || calls.has_event) {
        if (!lock.owns_lock()) {
          lock.lock();
          ++controller.shared_calls_;
        }
        controller.finish(*this);
      }
      if (lock.owns_lock()) lock.unlock();
      controller.call_out(calls);
    }

    NvmeController& controller;
    std::unique_lock<detail::OptionalMutex> lock;
    detail::NvmeCalls calls;
    detail::NvmeCompleter completer;
  };

  static bool on_map(void* self, const Cookie& cookie) {
    auto& its = *static_cast<NvmeController*>(self);
    if (cookie == dma::no_io) return true;
    Call call{its};
    detail::NvmeState& state = its.state_;
    const std::uint32_t queue = 1 + cookie.queue.value % state.config.io_queues;
    state.set_target(queue, cookie.value);
    if (state.registers.is_running() && state.strikes(FaultKind::before_publish)) {
      call.completer.post_false(queue, static_cast<std::uint16_t>(queue), cookie.value, {});
    }
    return !state.strikes(FaultKind::map_failure);
  }

  /// While the controller is stopped, an unmap fails only on request: the driver has to stop the
  /// controller again then.
  static bool on_unmap(void* self, const dma::IovaSegment& segment) {
    auto& its = *static_cast<NvmeController*>(self);
    const std::uint64_t owner = its.state_.iommu.owner_of(segment);
    const std::lock_guard guard{its.mutex_};
    its.state_.set_target(std::nullopt, owner);
    const detail::NvmeRegisters& registers = its.state_.registers;
    if (registers.is_running()) return !its.state_.strikes(FaultKind::unmap_failure);
    return !registers.is_stopped() || !its.state_.strikes(FaultKind::unmap_failure_stopped);
  }

  static bool on_stop_declared(void* self) {
    auto& its = *static_cast<NvmeController*>(self);
    const std::lock_guard guard{its.mutex_};
    return its.state_.registers.is_stopped();
  }

  // --- registers --------------------------------------------------------------------------------

  void write_register(Call& call, std::uint64_t offset, std::uint32_t value) {
    if (offset == nvme::reg::cc && state_.faults != nullptr) strike_change({value});
    perform(state_.registers.write32(offset, value, now_ns_));
    if (state_.registers.next_ns().has_value()) call.calls.has_work = true;
  }
  /// The faults of an enabling and of a disabling, which this value of CC begins.
  void strike_change(nvme::Cc cc) {
    const bool is_enabled = state_.registers.cc().is_enabled();
    if (!is_enabled && cc.is_enabled() && state_.strikes(FaultKind::never_ready)) {
      state_.registers.stall_enabling();
    }
    if (is_enabled && !cc.is_enabled() && state_.strikes(FaultKind::slow_stop)) {
      state_.registers.delay_disabling(
          blkown::detail::saturating_multiply(20, config().longest_ns));
    }
  }
  void perform(detail::NvmeTransition transition) {
    switch (transition) {
      case detail::NvmeTransition::none: return;
      case detail::NvmeTransition::enable: return create_admin_queues();
      case detail::NvmeTransition::disable: return remove_queues();
      case detail::NvmeTransition::shutdown:
        stop_fetching();
        if (!state_.registers.is_abrupt()) save_caches();
        return;
      case detail::NvmeTransition::stop_fetching: return stop_fetching();
    }
  }
  void create_admin_queues() {
    const nvme::Aqa aqa = state_.registers.aqa();
    state_.page_bytes = state_.registers.page_bytes();
    state_.features.reset();
    state_.firmware.reset();
    state_.events.clear();
    state_.errors.clear();
    for (detail::NvmeVector& vector : state_.vectors) {
      const std::lock_guard guard{vector.mutex};
      vector.clear();
    }
    for (detail::NvmeNamespaceState& its : state_.namespaces) {
      const detail::RangeLock::Guard guard{its.lock};
      its.writes_through = false;
      its.error_recovery = 0;
    }
    state_.submission_queues[0].create({state_.registers.asq(), aqa.submission_entries()}, 0);
    state_.note_ring(state_.submission_queues[0]);
    state_.completion_queues[0].create({state_.registers.acq(), aqa.completion_entries()}, 0, true);
  }
  void remove_queues() {
    for (detail::NvmeSubmissionQueue& queue : state_.submission_queues) {
      const std::lock_guard guard{queue.mutex};
      queue.remove();
    }
    for (detail::NvmeCompletionQueue& queue : state_.completion_queues) {
      const std::lock_guard guard{queue.mutex};
      queue.remove();
    }
    state_.events.clear();
    if (state_.observer != nullptr) state_.observer->stopped();
  }
  void stop_fetching() {
    for (detail::NvmeSubmissionQueue& queue : state_.submission_queues) {
      const std::lock_guard guard{queue.mutex};
      queue.is_fetching = false;
    }
  }
  void save_caches() {
    for (detail::NvmeNamespaceState& its : state_.namespaces) {
      const detail::RangeLock::Guard guard{its.lock};
      if (its.is_active()) static_cast<void>(its.media->flush());
    }
  }

  // --- doorbells --------------------------------------------------------------------------------

  void ring_doorbell(std::uint64_t offset, std::uint32_t value) {
    const unsigned shift = 2 + config().doorbell_stride_exponent;
    const std::uint64_t index = offset >> shift;
    const std::uint64_t queue = index / 2;
    const bool is_admin = queue == 0;
    Call call{*this, is_admin || state_.is_serial};
    if (queue > config().io_queues || (index << shift) != offset) {
      return report_doorbell(call, nvme::error_event::invalid_doorbell_register);
    }
    if (index % 2 == 0) return ring_submission(call, state_.submission_queues[queue], value);
    ring_completion(call, static_cast<std::uint32_t>(queue), value);
  }
  void ring_submission(Call& call, detail::NvmeSubmissionQueue& queue, std::uint32_t tail) {
    const std::lock_guard guard{queue.mutex};
    if (!queue.exists()) {
      return report_doorbell(call, nvme::error_event::invalid_doorbell_register);
    }
    ++queue.counters.events;
    if (!queue.ring_doorbell(tail)) {
      if (!queue.has_index(tail)) note_misuse(queue.id());
      return report_doorbell(call, nvme::error_event::invalid_doorbell_value);
    }
    call.calls.has_work = true;
  }
  void ring_completion(Call& call, std::uint32_t id, std::uint32_t head) {
    detail::NvmeCompletionQueue& queue = state_.completion_queues[id];
    const std::lock_guard guard{queue.mutex};
    if (!queue.exists()) {
      return report_doorbell(call, nvme::error_event::invalid_doorbell_register);
    }
    ++queue.events;
    const bool was_full = queue.room() == 0;
    const bool is_valid = queue.ring_doorbell(head, [&] {
      if (state_.observer != nullptr) state_.observer->entry_taken(id);
    });
    if (!is_valid) {
      if (!queue.has_index(head)) note_misuse(id);
      return report_doorbell(call, nvme::error_event::invalid_doorbell_value);
    }
    if (!was_full) return;
    call.calls.has_work = true;
    if (id == 0) call.calls.has_event = true;
  }
  void note_misuse(std::uint32_t queue) {
    if (state_.observer != nullptr) state_.observer->doorbell_misused(queue);
  }
  void report_doorbell(Call& call, std::uint8_t information) {
    state_.errors.add(nvme::StatusField::of(nvme::StatusCode::invalid_field));
    state_.events.add(nvme::AsyncEvent::of(nvme::AsyncEventType::error, information,
                                           nvme::LogPageId::error_information));
    call.calls.has_event = true;
  }

  // --- steps ------------------------------------------------------------------------------------

  /// The queue whose turn it is to fetch, else the one whose action is due first, else null.
  [[nodiscard]] detail::NvmeSubmissionQueue* next_queue(std::uint64_t now_ns) {
    const std::size_t count = state_.submission_queues.size();
    for (std::size_t i = 0; i != count; ++i) {
      const std::size_t at = turn_ + i < count ? turn_ + i : turn_ + i - count;
      if (!engine_.can_fetch(state_.submission_queues[at])) continue;
      take_turn(at, i == 0);
      return &state_.submission_queues[at];
    }
    detail::NvmeSubmissionQueue* first = nullptr;
    std::uint64_t first_ns = now_ns;
    for (detail::NvmeSubmissionQueue& queue : state_.submission_queues) {
      const auto due_ns = engine_.next_ns(queue);
      if (!due_ns.has_value() || *due_ns > now_ns) continue;
      if (first != nullptr && *due_ns >= first_ns) continue;
      first = &queue;
      first_ns = *due_ns;
    }
    return first;
  }
  /// Counts a fetch of the queue. After an arbitration burst it is the next queue's turn.
  void take_turn(std::size_t queue, bool is_same) {
    taken_ = is_same ? taken_ + 1 : 1;
    turn_ = queue;
    const nvme::Arbitration arbitration = state_.features.arbitration();
    if (arbitration.burst_exponent() == nvme::Arbitration::no_limit) return;
    if (taken_ < std::size_t{1} << arbitration.burst_exponent()) return;
    taken_ = 0;
    turn_ = (queue + 1) % state_.submission_queues.size();
  }

  /// Ends a call: with a failure, the controller executes nothing more; else events are reported.
  /// Context: with the mutex.
  void finish(Call& call) {
    if (call.calls.has_failed) {
      // The hook is called once for each failure.
      call.calls.has_failed = state_.registers.set_fatal() || state_.registers.is_gone();
      for (detail::NvmeSubmissionQueue& queue : state_.submission_queues) {
        const std::lock_guard guard{queue.mutex};
        queue.is_halted = true;
        queue.schedule.clear();  // commands are kept until the reset
      }
      return;
    }
    if (state_.registers.is_running()) engine_.admin().report_events(call.completer);
  }
  void call_out(const detail::NvmeCalls& calls) {
    for (std::uint64_t left = calls.interrupts; left != 0; left &= left - 1) {
      const auto vector = static_cast<std::uint32_t>(std::countr_zero(left));
      if (hooks_.interrupt != nullptr) hooks_.interrupt(hooks_.argument, vector);
    }
    if (calls.has_failed && hooks_.failed != nullptr) hooks_.failed(hooks_.argument);
    if (calls.has_work && hooks_.wake != nullptr) hooks_.wake(hooks_.argument);
  }

  detail::OptionalMutex mutex_;
  detail::NvmeState state_;
  detail::NvmeEngine engine_{state_};
  ControllerHooks hooks_;
  std::uint64_t now_ns_ = 0;  // of the latest step
  std::uint64_t shared_calls_ = 0;
  std::size_t turn_ = 0;   // the queue whose turn it is to fetch
  std::size_t taken_ = 0;  // commands of its turn
  blkown::detail::UserList users_;
  blkown::detail::User iommu_user_;
  std::deque<blkown::detail::User> media_users_;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
