// SPDX-License-Identifier: BSL-1.0
//
// NvmeCompleter: completes the commands of a simulated NVMe controller, with the faults that strike
// a completion.

#ifndef BLKOWN_SIM_DEVICE_NVME_COMPLETER_HPP
#define BLKOWN_SIM_DEVICE_NVME_COMPLETER_HPP

#include <blkown/config.hpp>
#include <blkown/detail/saturating.hpp>
#include <blkown/nvme/completion_entry.hpp>
#include <blkown/nvme/status.hpp>
#include <blkown/sim/device/command_id.hpp>
#include <blkown/sim/device/false_cookie.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/sim/device/latency.hpp>
#include <blkown/sim/device/nvme/command.hpp>
#include <blkown/sim/device/nvme/queue.hpp>
#include <blkown/sim/device/nvme/state.hpp>
#include <cstddef>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

/// Posts completion entries. One for each call into the controller.
/// Context: with the command's submission queue and its completion queue locked.
class NvmeCompleter {
 public:
  NvmeCompleter(NvmeState& state, NvmeCalls& calls) : state_{state}, calls_{calls} {}

  void set_now(std::uint64_t now_ns) noexcept { now_ns_ = now_ns; }
  [[nodiscard]] std::uint64_t now_ns() const noexcept { return now_ns_; }
  [[nodiscard]] NvmeCalls& calls() noexcept { return calls_; }

  void schedule(NvmeSubmissionQueue& queue, const NvmeAction& action, std::uint64_t delay_ns) {
    queue.schedule.add(action, blkown::detail::saturating_add(now_ns_, delay_ns));
  }
  [[nodiscard]] std::uint64_t latency_ns(NvmeSubmissionQueue& queue) {
    return draw_latency_ns(state_.config, queue.random);
  }

  /// Completes a command that is done, with the faults that strike its completion.
  /// Precondition: the completion queue has room, and the command is not in the queue's table.
  void complete(NvmeSubmissionQueue& queue, const NvmeCommand& command, NvmeOutcome outcome) {
    if (state_.faults == nullptr) return answer(queue, command, outcome);
    note_error(command, outcome);
    send_false(queue, command, outcome);
    state_.recent.add({queue.completion_queue(), cookie_of(command.entry)});
    if (state_.strikes(FaultKind::dma_after_unmap)) {
      NvmeCommand touching = command;
      touching.is_disowned = touching.is_executed = true;
      const NvmeCommandName name{queue.add(touching)};
      schedule(queue, {.kind = NvmeActionKind::touch, .command = name}, latency_ns(queue));
    }
    const bool comes_twice = state_.strikes(FaultKind::duplicate);
    const std::uint64_t choice_of_duplicate = state_.faults->choice();
    const NvmeAction again{
        .kind = NvmeActionKind::send, .outcome = outcome, .command = NvmeCommandName{command}};
    if (state_.strikes(FaultKind::reordered)) {
      // Kept, so that a false completion sent before the genuine one names an existing command.
      NvmeCommand& kept = queue.add(command);
      kept.is_executed = true;
      NvmeAction behind = again;
      behind.command = NvmeCommandName{kept};
      behind.is_genuine = true;
      schedule(queue, behind, blkown::detail::saturating_multiply(2, state_.config.longest_ns));
    } else {
      send_genuine(queue, command, outcome);
    }
    if (comes_twice) {
      schedule(queue, again, choice_of_duplicate % 2 == 0 ? 0 : latency_ns(queue));
    }
    if (state_.strikes(FaultKind::fails_on_its_own)) calls_.has_failed = true;
  }

  /// Completes a command that was not executed, without faults.
  void answer(NvmeSubmissionQueue& queue, const NvmeCommand& command, NvmeOutcome outcome) {
    note_error(command, outcome);
    note_done(queue, command, outcome);
    send(queue, command, outcome, true, true);
  }
  /// Sends the completion of an action: the genuine one that was kept back, or a second one.
  void send_planned(NvmeSubmissionQueue& queue, const NvmeAction& action) {
    const NvmeCommand* const kept = action.is_genuine ? queue.find(action.command) : nullptr;
    const bool is_first = kept != nullptr;
    if (is_first) {
      const NvmeCommand command = *kept;
      queue.erase(command);
      note_done(queue, command, action.outcome);
    }
    post(queue.completion_queue(), queue.id(), action.command.command_id, action.outcome, true,
         is_first);
  }
  /// Sends a completion for a command that the driver takes for done.
  void send_disowned(NvmeSubmissionQueue& queue, const NvmeCommand& command,
                     const NvmeOutcome& outcome) {
    post_false(queue.completion_queue(), queue.id(), cookie_of(command.entry), outcome);
  }
  /// Sends a completion with this command identifier, if that leaves room for a genuine one.
  void post_false(std::uint32_t completion_queue, std::uint16_t sq_id, std::uint64_t command_id,
                  const NvmeOutcome& outcome) {
    NvmeCompletionQueue& queue = state_.completion_queues[completion_queue];
    if (!queue.exists() || !state_.submission_queues[sq_id].exists() || queue.room() < 2) return;
    post(completion_queue, sq_id, static_cast<std::uint16_t>(command_id), outcome, true, false);
  }

 private:
  void note_error(const NvmeCommand& command, NvmeOutcome& outcome) {
    const nvme::StatusCode code = outcome.status.code();
    if (code == nvme::StatusCode::success || code == nvme::StatusCode::abort_requested ||
        code == nvme::StatusCode::submission_queue_deleted) {
      return;
    }
    outcome.status = nvme::StatusField::of(code, outcome.status.do_not_retry(), true);
    state_.errors.add(command, outcome.status);
  }
  void note_done(const NvmeSubmissionQueue& queue, const NvmeCommand& command,
                 const NvmeOutcome& outcome) {
    if (state_.observer != nullptr) {
      if (outcome.status.do_not_retry()) {
        state_.observer->command_failed_for_good(queue.completion_queue(), command.entry);
      }
      state_.observer->command_done(queue.completion_queue(), command.entry);
    }
  }

  /// Sends the false completions that strike before a genuine one.
  void send_false(NvmeSubmissionQueue& queue, const NvmeCommand& command,
                  const NvmeOutcome& outcome) {
    const std::uint64_t id = cookie_of(command.entry);
    if (state_.strikes(FaultKind::wrong_queue)) {
      const std::uint32_t other = queue_after(queue.completion_queue());
      const bool has_own_id = state_.faults->choice() % 2 == 0;
      if (other != queue.completion_queue()) {
        post_false(other, has_own_id ? queue.id() : static_cast<std::uint16_t>(other), id, outcome);
      }
    }
    if (state_.strikes(FaultKind::forged)) {
      post_false(queue.completion_queue(), queue.id(),
                 forged_cookie(state_.config, 0, state_.faults->choice()), {});
    }
    if (state_.strikes(FaultKind::early)) {
      post_false(queue.completion_queue(), queue.id(), next_cookie(state_.config.layout, id),
                 outcome);
    }
    if (state_.strikes(FaultKind::stale) && !state_.recent.empty()) {
      const CommandId& old = state_.recent.pick(state_.faults->choice());
      post_false(old.queue, static_cast<std::uint16_t>(old.queue), old.cookie, outcome);
    }
  }
  /// The next completion queue that exists.
  [[nodiscard]] std::uint32_t queue_after(std::uint32_t id) const {
    const std::size_t count = state_.completion_queues.size();
    std::size_t other = (id + 1) % count;
    while (!state_.completion_queues[other].exists()) other = (other + 1) % count;
    return static_cast<std::uint32_t>(other);
  }

  /// Sends the genuine completion, which may be one that the driver cannot see or does not take.
  void send_genuine(NvmeSubmissionQueue& queue, const NvmeCommand& command,
                    const NvmeOutcome& outcome) {
    const bool turns_phase = !state_.strikes(FaultKind::no_phase_change);
    if (turns_phase && state_.strikes(FaultKind::wrong_sq_id)) {
      queue.add(command).is_executed = true;
      const auto other =
          static_cast<std::uint16_t>(queue.id() + 1 + state_.faults->choice() % 1024);
      return post(queue.completion_queue(), other, command.entry.command_id, outcome, true, false);
    }
    if (turns_phase) {
      note_done(queue, command, outcome);
    } else {
      queue.add(command).is_executed = true;
    }
    send(queue, command, outcome, turns_phase, true);
  }
  void send(NvmeSubmissionQueue& queue, const NvmeCommand& command, const NvmeOutcome& outcome,
            bool turns_phase, bool is_genuine) {
    post(queue.completion_queue(), queue.id(), command.entry.command_id, outcome, turns_phase,
         is_genuine);
  }
  /// Posts an entry. If the IOMMU refuses, the controller fails.
  void post(std::uint32_t completion_queue, std::uint16_t sq_id, std::uint16_t command_id,
            const NvmeOutcome& outcome, bool turns_phase, bool is_genuine) {
    NvmeCompletionQueue& queue = state_.completion_queues[completion_queue];
    nvme::CompletionEntry entry;
    entry.dw0 = outcome.dw0;
    const bool has_queue = sq_id < state_.submission_queues.size();
    if (has_queue) entry.sq_head = reported_head(state_.submission_queues[sq_id]);
    entry.sq_id = sq_id;
    entry.command_id = command_id;
    if (!queue.post(state_.iommu, state_.ring_access(), entry, outcome.status, turns_phase)) {
      calls_.has_failed = true;
      return;
    }
    ++queue.events;
    if (state_.observer != nullptr) {
      if (has_queue && state_.submission_queues[sq_id].completion_queue() == completion_queue) {
        state_.observer->entry_posted(completion_queue, command_id, is_genuine);
        if (!turns_phase) state_.observer->entry_hidden(completion_queue);
      } else {
        state_.observer->foreign_entry_posted(completion_queue);
      }
    }
    if (queue.has_interrupts() && state_.count_for_interrupt(queue, now_ns_)) {
      if (state_.faults == nullptr || !keeps_interrupt_back(queue)) send_interrupt(queue);
    }
  }
  void send_interrupt(const NvmeCompletionQueue& queue) {
    calls_.interrupts |= std::uint64_t{1} << queue.vector();
  }
  /// Whether a fault loses or delays the interrupt of an entry that was posted. A spurious
  /// interrupt of another queue is sent here, too.
  [[nodiscard]] bool keeps_interrupt_back(NvmeCompletionQueue& queue) {
    if (state_.strikes(FaultKind::interrupt_spurious)) {
      const auto choice = static_cast<std::uint32_t>(state_.faults->choice() % 64);
      send_interrupt(state_.completion_queues[queue_after(choice)]);
    }
    if (state_.strikes(FaultKind::interrupt_lost)) return true;
    const bool is_late = state_.strikes(FaultKind::interrupt_late);
    if (!is_late && !queue.waits_for_interrupt) return false;
    state_.delay_interrupt(
        queue, blkown::detail::saturating_add(
                   now_ns_, blkown::detail::saturating_multiply(2, state_.config.longest_ns)));
    return true;
  }
  [[nodiscard]] std::uint16_t reported_head(const NvmeSubmissionQueue& queue) {
    if (!queue.exists() || !state_.strikes(FaultKind::wrong_sq_head)) return queue.head();
    return queue.impossible_head(state_.faults->choice());
  }

  NvmeState& state_;
  NvmeCalls& calls_;
  std::uint64_t now_ns_ = 0;
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
