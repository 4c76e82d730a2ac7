// SPDX-License-Identifier: BSL-1.0
//
// ControllerEngine: fetches, executes and completes the commands of a simulated controller, and
// performs its faults.

#ifndef BLKOWN_SIM_DEVICE_CONTROLLER_ENGINE_HPP
#define BLKOWN_SIM_DEVICE_CONTROLLER_ENGINE_HPP

#include <algorithm>
#include <blkown/config.hpp>
#include <blkown/detail/saturating.hpp>
#include <blkown/sim/device/command.hpp>
#include <blkown/sim/device/command_id.hpp>
#include <blkown/sim/device/command_table.hpp>
#include <blkown/sim/device/controller_config.hpp>
#include <blkown/sim/device/controller_observer.hpp>
#include <blkown/sim/device/false_cookie.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/sim/device/iommu.hpp>
#include <blkown/sim/device/media.hpp>
#include <blkown/sim/device/pending_calls.hpp>
#include <blkown/sim/device/queue_pair.hpp>
#include <blkown/sim/device/random.hpp>
#include <blkown/sim/device/recent_commands.hpp>
#include <blkown/sim/device/ring.hpp>
#include <blkown/sim/device/schedule.hpp>
#include <blkown/tag.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

namespace detail {

/// A controller without its lock and its calls of hooks, which are left in pending_calls.
/// Context: one at a time.
class ControllerEngine {
 public:
  ControllerEngine(const ControllerConfig& config, Iommu& iommu, Media& media, FaultPlan* faults)
      : config_{config},
        iommu_{iommu},
        faults_{faults},
        executor_{iommu, media},
        random_{config.seed},
        queues_(config.queue_pairs) {}

  PendingCalls pending_calls;

  [[nodiscard]] const ControllerConfig& config() const noexcept { return config_; }
  [[nodiscard]] bool has_failed() const noexcept { return has_failed_; }
  [[nodiscard]] std::uint64_t events() const noexcept { return events_; }
  [[nodiscard]] std::size_t command_count() const noexcept { return commands_.size(); }

  void set_observer(ControllerObserver* observer) noexcept { observer_ = observer; }
  void create_queue_pair(std::uint32_t queue, const QueueMemory& memory) {
    queues_[queue].create(memory);
  }
  void start() {
    is_running_ = true;
    has_failed_ = false;
  }
  void stop() {
    is_running_ = false;
    give_up_all();
  }

  [[nodiscard]] bool ring_submission(std::uint32_t queue, std::uint32_t tail) {
    ++events_;
    if (!is_running_ || has_failed_ || !queues_[queue].exists()) return false;
    if (strikes(FaultKind::doorbell_refused)) return false;
    if (strikes(FaultKind::refused_and_forged)) {
      SubmissionEntry entry;
      if (queues_[queue].read_latest(iommu_, ring_access(), tail, entry)) {
        if (observer_ != nullptr) observer_->command_refused(queue, entry);
        send(queue, {.cookie = entry.cookie}, DeviceStatus::success);
      }
      return false;
    }
    if (!queues_[queue].ring_submission(tail)) return false;
    pending_calls.has_work = true;
    return true;
  }
  void ring_completion(std::uint32_t queue, std::uint32_t head) {
    ++events_;
    queues_[queue].ring_completion(head, [&] {
      if (observer_ != nullptr) observer_->entry_taken(queue);
    });
  }

  bool step(std::uint64_t now_ns) {
    now_ns_ = now_ns;
    if (!is_running_ || has_failed_) return false;
    for (std::uint32_t queue = 0; queue != queues_.size(); ++queue) {
      if (!queues_[queue].has_submission()) continue;
      ++events_;
      fetch(queue);
      return true;
    }
    const auto action = schedule_.take_due(now_ns);
    if (!action.has_value()) return false;
    ++events_;
    run(*action);
    return true;
  }
  [[nodiscard]] std::optional<std::uint64_t> next_ns() const noexcept {
    if (!is_running_ || has_failed_) return std::nullopt;
    for (const QueuePair& queue : queues_) {
      if (queue.has_submission()) return 0;
    }
    return schedule_.next_ns();
  }

  /// Disowns the command with this id: the driver has accepted a false completion of the command.
  /// Returns the commands with the id that the controller has, or has not fetched yet.
  [[nodiscard]] std::vector<SubmissionEntry> disown(const CommandId& id) {
    const auto is_it = [&](const CommandId& other) {
      return is_same_command(config_.layout, other, id);
    };
    Command* const command = commands_.find_first(
        [&](const Command& one) { return is_it(one.id()) && !one.is_disowned; });
    if (command != nullptr) {
      const SubmissionEntry entry = command->entry;
      // An executed command accesses nothing more. A command without memory makes no access that
      // the IOMMU could refuse, so it must not be executed after the driver has ended its I/O.
      if (command->is_executed || !command->moves_data()) {
        commands_.erase(*command);
      } else {
        command->is_disowned = true;
      }
      return {entry};
    }
    std::vector<SubmissionEntry> found;
    queues_[id.queue].for_each_submission(iommu_, ring_access(), [&](const SubmissionEntry& entry) {
      const CommandId own{id.queue, entry.cookie};
      if (!is_it(own) || std::ranges::find(disowned_unfetched_, own) != disowned_unfetched_.end()) {
        return;
      }
      disowned_unfetched_.push_back(own);
      found.push_back(entry);
    });
    return found;
  }

  /// Called when the driver maps memory for its next publication. Returns false if the map fails as
  /// if the address space were full.
  [[nodiscard]] bool on_map(const Cookie& cookie) {
    if (cookie == dma::no_io) return true;
    if (is_running_ && !has_failed_ && strikes(FaultKind::before_publish)) {
      send(cookie.queue.value % config_.queue_pairs, {.cookie = cookie.value},
           DeviceStatus::success);
    }
    return !strikes(FaultKind::map_failure);
  }

 private:
  [[nodiscard]] bool strikes(FaultKind kind) {
    return faults_ != nullptr && faults_->strikes(kind);
  }
  [[nodiscard]] Iommu::Access ring_access() const noexcept {
    return {.device = config_.device_id, .cookie = 0, .is_for_command = false};
  }
  [[nodiscard]] Iommu::Access access_of(const Command& command) const noexcept {
    return {.device = config_.device_id,
            .cookie = command.entry.cookie,
            .is_for_command = true,
            .is_forbidden = command.is_disowned};
  }
  [[nodiscard]] std::uint64_t latency_ns() { return draw_latency_ns(config_, random_); }

  void run(const Action& action) {
    switch (action.kind) {
      case ActionKind::execute: return execute(action.command);
      case ActionKind::touch: return executor_.touch(action.command, access_of(action.command));
      case ActionKind::send: break;
    }
    const Command& command = action.command;
    const bool is_first = action.is_genuine && commands_.erase(command);
    if (is_first) note_done(command);
    send(command.queue,
         {.cookie = command.entry.cookie, .transferred_bytes = action.transferred_bytes},
         action.status, true, is_first);
  }

  // --- commands ---------------------------------------------------------------------------------

  void fetch(std::uint32_t queue) {
    Command command{.serial = next_serial_++, .queue = queue, .entry = {}};
    if (!queues_[queue].fetch(iommu_, ring_access(), command.entry)) return fail();
    command.is_disowned = std::erase(disowned_unfetched_, command.id()) != 0;
    if (observer_ != nullptr) observer_->command_fetched(queue, command.entry);
    if (strikes(FaultKind::reset)) {
      commands_.add(command);
      return fail();
    }
    if (command.is_disowned && !command.moves_data()) return;
    command.is_lost = strikes(FaultKind::lost);
    command = commands_.add(command);
    // Half of the lost commands are executed without a completion, the others are not executed.
    if (command.is_lost && faults_->choice() % 2 == 0) return;
    const std::uint64_t late_ns = strikes(FaultKind::late) ? config_.late_ns : 0;
    schedule({.kind = ActionKind::execute, .command = command},
             blkown::detail::saturating_add(latency_ns(), late_ns));
  }

  void schedule(const Action& action, std::uint64_t delay_ns) {
    schedule_.add(action, blkown::detail::saturating_add(now_ns_, delay_ns));
  }

  void note_done(const Command& command) {
    if (observer_ != nullptr) observer_->command_done(command.queue, command.entry);
  }
  void give_up_all() {
    schedule_.clear();
    commands_.clear();
    disowned_unfetched_.clear();
    for (QueuePair& queue : queues_) queue.reset();
    if (observer_ != nullptr) observer_->stopped();
  }

  void execute(const Command& planned) {
    Command* const found = commands_.find(planned);
    if (found == nullptr) return;  // the command was aborted
    const Command command = *found;
    if (command.entry.opcode == Opcode::abort) return abort(*found);
    std::uint64_t limit_bytes = ~std::uint64_t{0};
    std::uint64_t moved_bytes = 0;
    DeviceStatus status = DeviceStatus::media_error;
    if (!strikes(FaultKind::media_error)) {
      if (command.moves_data() && command.entry.length_sectors > 1 &&
          strikes(FaultKind::short_transfer)) {
        limit_bytes =
            bytes_in_sector * (1 + faults_->choice() % (command.entry.length_sectors - 1));
      }
      status = executor_.run(command, access_of(command), limit_bytes, moved_bytes);
    }
    if (command.is_lost) {
      found->is_executed = true;  // kept until the controller disowns it or stops
      return;
    }
    commands_.erase(command);
    if (command.is_disowned) {
      // Not genuine: the driver has accepted a false completion of the command.
      send(command.queue, {.cookie = command.entry.cookie}, status);
    } else {
      complete(command, status, static_cast<std::uint32_t>(moved_bytes));
    }
  }

  void abort(Command& found) {
    const Command command = found;
    found.is_executed = true;
    if (!command.is_lost) commands_.erase(command);
    const Command* const target = commands_.find_first([&](const Command& other) {
      return other.queue == command.queue && other.entry.cookie == command.entry.target &&
             other.entry.opcode != Opcode::abort && !other.is_disowned && !other.is_executed;
    });
    const bool is_there = target != nullptr;
    if (is_there) {
      const Command aborted = *target;
      commands_.erase(aborted);
      complete(aborted, DeviceStatus::aborted, 0);
    }
    if (command.is_lost) return;
    complete(command, is_there ? DeviceStatus::success : DeviceStatus::not_found, 0);
  }

  void fail() {
    has_failed_ = true;
    pending_calls.has_failed = true;
    schedule_.clear();  // completions and commands are kept until the controller stops
  }

  // --- completions ------------------------------------------------------------------------------

  /// Completes a command that is done, with the faults that strike its completion.
  void complete(const Command& command, DeviceStatus status, std::uint32_t moved_bytes) {
    const std::uint64_t cookie = command.entry.cookie;
    const Action again{.kind = ActionKind::send,
                       .command = command,
                       .status = status,
                       .transferred_bytes = moved_bytes};
    if (strikes(FaultKind::wrong_queue) && queues_.size() > 1) {
      send(static_cast<std::uint32_t>((command.queue + 1) % queues_.size()),
           {.cookie = cookie, .transferred_bytes = moved_bytes}, status);
    }
    if (strikes(FaultKind::forged)) {
      send(command.queue, {.cookie = forged_cookie(config_, command.queue, faults_->choice())},
           DeviceStatus::success);
    }
    if (strikes(FaultKind::early)) {
      send(command.queue, {.cookie = next_cookie(config_.layout, cookie)}, status);
    }
    if (strikes(FaultKind::stale) && !recent_.empty()) {
      const CommandId& old = recent_.pick(faults_->choice());
      send(old.queue, {.cookie = old.cookie}, status);
    }
    recent_.add(command.id());
    if (strikes(FaultKind::dma_after_unmap)) {
      Command going_on = command;
      going_on.is_disowned = true;
      schedule({.kind = ActionKind::touch, .command = going_on}, latency_ns());
    }
    const bool comes_twice = strikes(FaultKind::duplicate);
    if (strikes(FaultKind::reordered)) {
      // Kept, so that a false completion sent before the genuine one names an existing command.
      Command& kept = commands_.add(command);
      kept.is_executed = true;
      Action behind = again;
      behind.command = kept;
      behind.is_genuine = true;
      schedule(behind, blkown::detail::saturating_multiply(2, config_.longest_ns));
    } else {
      const bool turns_phase = !strikes(FaultKind::no_phase_change);
      if (turns_phase) {
        note_done(command);
      } else {
        commands_.add(command).is_executed = true;  // done, but the driver cannot see the entry
      }
      send(command.queue, {.cookie = cookie, .transferred_bytes = moved_bytes}, status, turns_phase,
           true);
    }
    if (comes_twice) schedule(again, faults_->choice() % 2 == 0 ? 0 : latency_ns());
  }

  void send(std::uint32_t queue, const CompletionEntry& entry, DeviceStatus status,
            bool turns_phase = true, bool is_genuine = false) {
    // A full ring loses the entry, as on hardware. DriverRings are long enough for all commands.
    if (!queues_[queue].exists() || queues_[queue].is_completion_full()) return;
    ++events_;
    queues_[queue].post(iommu_, ring_access(), entry, status, turns_phase);
    if (observer_ != nullptr) observer_->entry_posted(queue, entry.cookie, is_genuine);
    pending_calls.interrupts |= std::uint64_t{1} << queue;
  }

  ControllerConfig config_;
  Iommu& iommu_;
  FaultPlan* faults_;
  ControllerObserver* observer_ = nullptr;
  Executor executor_;
  Random random_;
  std::vector<QueuePair> queues_;
  bool is_running_ = false;
  bool has_failed_ = false;
  std::uint64_t now_ns_ = 0;
  CommandTable commands_;  // fetched and not completed
  Schedule schedule_;
  std::uint64_t next_serial_ = 0;
  std::vector<CommandId> disowned_unfetched_;  // submitted, not fetched, and disowned
  RecentCommands recent_;
  std::uint64_t events_ = 0;
};

}  // namespace detail

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
