// SPDX-License-Identifier: BSL-1.0
//
// NvmeEngine: fetches, executes and completes the commands of a simulated NVMe controller.

#ifndef BLKOWN_SIM_DEVICE_NVME_ENGINE_HPP
#define BLKOWN_SIM_DEVICE_NVME_ENGINE_HPP

#include <algorithm>
#include <blkown/config.hpp>
#include <blkown/detail/saturating.hpp>
#include <blkown/nvme/log_page.hpp>
#include <blkown/nvme/opcode.hpp>
#include <blkown/nvme/status.hpp>
#include <blkown/nvme/submission_entry.hpp>
#include <blkown/sim/device/command_id.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/sim/device/media/bad_ranges.hpp>
#include <blkown/sim/device/nvme/admin.hpp>
#include <blkown/sim/device/nvme/command.hpp>
#include <blkown/sim/device/nvme/completer.hpp>
#include <blkown/sim/device/nvme/io.hpp>
#include <blkown/sim/device/nvme/queue.hpp>
#include <blkown/sim/device/nvme/state.hpp>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

/// Context: with the controller's mutex for the admin queue, and for an I/O queue in a serial run.
/// The functions take the queues' mutexes.
class NvmeEngine {
 public:
  explicit NvmeEngine(NvmeState& state) : state_{state}, io_{state}, admin_{state} {}

  [[nodiscard]] NvmeAdmin& admin() noexcept { return admin_; }

  /// Whether the queue has a command that can be fetched now.
  [[nodiscard]] bool can_fetch(NvmeSubmissionQueue& queue) {
    if (state_.is_serial) [[likely]]
      return can_fetch_locked(queue);
    const std::lock_guard guard{queue.mutex};
    const std::lock_guard other_guard{state_.completion_queue_of(queue).mutex};
    return can_fetch_locked(queue);
  }
  /// The time at which the queue's next step is due. None: no step is planned, or the completion
  /// queue is full.
  [[nodiscard]] std::optional<std::uint64_t> next_ns(NvmeSubmissionQueue& queue) {
    if (state_.is_serial) [[likely]]
      return next_ns_locked(queue);
    const std::lock_guard guard{queue.mutex};
    const std::lock_guard other_guard{state_.completion_queue_of(queue).mutex};
    return next_ns_locked(queue);
  }
  /// Performs one step of the queue: fetches a command, performs an action that is due, or sends an
  /// interrupt that was coalesced. Returns false if none is due.
  [[nodiscard]] bool step(NvmeSubmissionQueue& queue, NvmeCompleter& completer) {
    const std::lock_guard guard{queue.mutex};
    if (!queue.exists() || queue.is_halted) return false;
    NvmeCompletionQueue& completion_queue = state_.completion_queue_of(queue);
    const std::lock_guard other_guard{completion_queue.mutex};
    if (is_fetch_due(queue, completion_queue)) {
      ++queue.counters.events;
      fetch(queue, completer);
      return true;
    }
    if (completion_queue.room() != 0) {
      const auto action = queue.schedule.take_due(completer.now_ns());
      if (action.has_value()) {
        ++queue.counters.events;
        run(queue, *action, completer);
        return true;
      }
    }
    if (!state_.take_interrupt(completion_queue, completer.now_ns())) return false;
    completer.calls().interrupts |= std::uint64_t{1} << completion_queue.vector();
    return true;
  }

  /// Disowns the commands with this identifier that complete to the queue: the driver has accepted
  /// a false completion. Returns those that the controller has, or has not fetched yet.
  [[nodiscard]] std::vector<nvme::SubmissionEntry> disown(std::uint32_t completion_queue,
                                                          std::uint64_t command_id) {
    std::vector<nvme::SubmissionEntry> found;
    for (NvmeSubmissionQueue& queue : state_.submission_queues) {
      const std::lock_guard guard{queue.mutex};
      if (!queue.exists() || queue.completion_queue() != completion_queue) continue;
      if (!disown_fetched(queue, command_id, found)) disown_unfetched(queue, command_id, found);
    }
    return found;
  }
  /// The same for a command in the ring whose doorbell was not rung yet.
  [[nodiscard]] std::vector<nvme::SubmissionEntry> disown_unrung(std::uint32_t completion_queue,
                                                                 std::uint64_t command_id) {
    for (NvmeSubmissionQueue& queue : state_.submission_queues) {
      const std::lock_guard guard{queue.mutex};
      if (!queue.exists() || queue.completion_queue() != completion_queue) continue;
      const auto found = queue.find_unrung(state_.iommu, state_.inspection(), command_id);
      if (!found.has_value()) continue;
      queue.disowned_unfetched.push_back({queue.id(), command_id});
      return {*found};
    }
    return {};
  }

 private:
  // The looks at the queues before each step of a serial run: without a look at their mutexes, and
  // without a call.
  [[nodiscard, gnu::always_inline]] bool can_fetch_locked(
      const NvmeSubmissionQueue& queue) noexcept {
    return has_submission(queue) && queue.exists() && !queue.is_halted &&
           state_.completion_queue_of(queue).room() != 0;
  }
  [[nodiscard, gnu::always_inline]] std::optional<std::uint64_t> next_ns_locked(
      NvmeSubmissionQueue& queue) {
    if (!queue.exists() || queue.is_halted) return std::nullopt;
    NvmeCompletionQueue& completion_queue = state_.completion_queue_of(queue);
    const auto interrupt_ns = completion_queue.waits_for_interrupt
                                  ? state_.interrupt_due_ns(completion_queue)
                                  : std::nullopt;
    const bool may_fetch = has_submission(queue);
    const auto action_ns = queue.schedule.next_ns();
    // An idle queue, such as the admin queue most of the time, is looked at no further.
    if ((!may_fetch && !action_ns.has_value()) || completion_queue.room() == 0) return interrupt_ns;
    if (may_fetch) return 0;
    return interrupt_ns.has_value() ? std::min(*action_ns, *interrupt_ns) : action_ns;
  }

  [[nodiscard]] static bool has_submission(const NvmeSubmissionQueue& queue) noexcept {
    return queue.is_fetching && queue.has_submission();
  }
  [[nodiscard]] static bool is_fetch_due(const NvmeSubmissionQueue& queue,
                                         const NvmeCompletionQueue& completion_queue) noexcept {
    return has_submission(queue) && completion_queue.room() != 0;
  }

  void run(NvmeSubmissionQueue& queue, const NvmeAction& action, NvmeCompleter& completer) {
    switch (action.kind) {
      case NvmeActionKind::execute: return execute(queue, action.command, completer);
      case NvmeActionKind::touch: return touch(queue, action.command);
      case NvmeActionKind::send: return completer.send_planned(queue, action);
    }
  }

  void touch(NvmeSubmissionQueue& queue, const NvmeCommandName& name) {
    const NvmeCommand* const found = queue.find(name);
    if (found == nullptr) return;
    const NvmeCommand command = *found;
    queue.erase(command);
    io_.touch(queue, command);
  }
  void fetch(NvmeSubmissionQueue& queue, NvmeCompleter& completer) {
    NvmeCommand command{.queue = queue.id(), .entry = {}};
    if (!queue.fetch(state_.iommu, state_.ring_access(), command.entry)) {
      completer.calls().has_failed = true;
      return;
    }
    command.is_disowned = std::erase(queue.disowned_unfetched, command.id()) != 0;
    state_.set_target(queue.completion_queue(), cookie_of(command.entry));
    if (state_.observer != nullptr && !command.is_disowned) {
      state_.observer->command_fetched(queue.id(), command.entry);
    }
    if (state_.strikes(FaultKind::reset)) {
      queue.add(command);
      completer.calls().has_failed = true;
      return;
    }
    if (command.is_disowned && !command.moves_blocks()) return;
    if (queue.has_id(command.entry.command_id)) {
      return completer.answer(queue, command, failed(nvme::StatusCode::command_id_conflict));
    }
    if (command.is(nvme::AdminOpcode::abort) && admin_.has_max_aborts()) {
      return completer.answer(queue, command,
                              failed(nvme::StatusCode::abort_command_limit_exceeded));
    }
    if (state_.strikes(FaultKind::event_flood)) flood(completer);
    command.is_lost = state_.strikes(FaultKind::lost);
    const NvmeCommandName name{queue.add(command)};
    // Half of the lost commands are executed without a completion, the others are not executed.
    if (command.is_lost && state_.faults->choice() % 2 == 0) return;
    const std::uint64_t late_ns = state_.strikes(FaultKind::late) ? state_.config.late_ns : 0;
    completer.schedule(queue, {.kind = NvmeActionKind::execute, .command = name},
                       blkown::detail::saturating_add(completer.latency_ns(queue), late_ns));
  }

  /// Adds events of every type, more than the controller reports at a time. Some name a log page
  /// that does not exist.
  void flood(NvmeCompleter& completer) {
    for (std::uint8_t i = 0; i != 8; ++i) {
      for (const auto type : {nvme::AsyncEventType::error, nvme::AsyncEventType::smart,
                              nvme::AsyncEventType::notice}) {
        const auto page = i == 7 ? nvme::LogPageId{0xF0} : page_of(type);
        state_.events.add(nvme::AsyncEvent::of(type, i, page));
      }
    }
    completer.calls().has_event = true;
  }
  [[nodiscard]] static nvme::LogPageId page_of(nvme::AsyncEventType type) noexcept {
    switch (type) {
      case nvme::AsyncEventType::error: return nvme::LogPageId::error_information;
      case nvme::AsyncEventType::smart: return nvme::LogPageId::smart;
      default: return nvme::LogPageId::firmware_slots;
    }
  }

  void execute(NvmeSubmissionQueue& queue, const NvmeCommandName& planned,
               NvmeCompleter& completer) {
    const NvmeCommand* const first = queue.find(planned);
    if (first == nullptr) return;  // the command was aborted
    const NvmeCommand command = *first;
    state_.set_target(queue.completion_queue(), cookie_of(command.entry));
    const NvmeOutcome outcome =
        command.is_admin() ? admin_.run(command, completer) : run_io(queue, command);
    NvmeCommand& kept = *queue.find(planned);
    if (outcome.is_pending) {
      kept.is_pending = !command.is_lost;
      return;
    }
    if (command.is_lost) {
      kept.is_executed = true;  // kept until the controller disowns it or is reset
      return;
    }
    queue.erase(command);
    if (command.is_disowned) {
      // Not genuine: the driver has accepted a false completion of the command.
      completer.send_disowned(queue, command, outcome);
    } else {
      completer.complete(queue, command, outcome);
    }
  }
  [[nodiscard]] NvmeOutcome run_io(NvmeSubmissionQueue& queue, const NvmeCommand& command) {
    if (state_.faults == nullptr) return io_.run(queue, command);
    const bool reads = command.is(nvme::IoOpcode::read) || command.is(nvme::IoOpcode::compare);
    const bool writes =
        command.is(nvme::IoOpcode::write) || command.is(nvme::IoOpcode::write_zeroes);
    if (state_.strikes(FaultKind::media_error) || (reads && is_unreadable(command))) {
      ++queue.counters.media_errors;
      return failed(reads ? nvme::StatusCode::unrecovered_read_error
                          : nvme::StatusCode::write_fault);
    }
    if (state_.strikes(FaultKind::do_not_retry)) return refused(nvme::StatusCode::internal_error);
    const NvmeOutcome outcome = io_.run(queue, command);
    if (writes && outcome.status.is_success()) state_.bad_ranges.note_write(range_of(command));
    return outcome;
  }
  [[nodiscard]] static BadRanges::Range range_of(const NvmeCommand& command) noexcept {
    return {command.entry.nsid, command.entry.slba(), command.entry.block_count()};
  }
  [[nodiscard]] bool is_unreadable(const NvmeCommand& command) {
    if (state_.strikes(FaultKind::bad_range)) state_.bad_ranges.add(range_of(command));
    return state_.bad_ranges.overlaps(range_of(command));
  }

  [[nodiscard]] static bool disown_fetched(NvmeSubmissionQueue& queue, std::uint64_t command_id,
                                           std::vector<nvme::SubmissionEntry>& found) {
    NvmeCommand* const command = queue.find_first([&](const NvmeCommand& one) {
      return cookie_of(one.entry) == command_id && !one.is_disowned;
    });
    if (command == nullptr) return false;
    found.push_back(command->entry);
    // An executed command accesses nothing more. A command that moves no blocks makes no access
    // that the IOMMU could refuse, or has an effect without one, so it must not be executed after
    // the driver has ended its I/O.
    if (command->is_executed || !command->moves_blocks()) {
      queue.erase(*command);
    } else {
      queue.disown(*command);
    }
    return true;
  }
  void disown_unfetched(NvmeSubmissionQueue& queue, std::uint64_t command_id,
                        std::vector<nvme::SubmissionEntry>& found) {
    queue.for_each_submission(
        state_.iommu, state_.ring_access(), [&](const nvme::SubmissionEntry& entry) {
          const CommandId own{queue.id(), cookie_of(entry)};
          if (own.cookie != command_id ||
              std::ranges::find(queue.disowned_unfetched, own) != queue.disowned_unfetched.end()) {
            return;
          }
          queue.disowned_unfetched.push_back(own);
          found.push_back(entry);
        });
  }

  NvmeState& state_;
  NvmeIo io_;
  NvmeAdmin admin_;
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
