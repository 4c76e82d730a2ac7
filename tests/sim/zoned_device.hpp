// SPDX-License-Identifier: BSL-1.0
//
// A zoned disk behind a link that misbehaves: commands go there one by one, and their replies come
// late, twice, in another order, on another queue, or not at all.
//
// The parties are the driver, the link, and the world, which calls step().
//   1. take() gives the link a command and a copy of the bytes of a write.
//   2. step() executes the command, by the hook `execute`, and appends a reply to those of the
//      queue. The reply of a read has the bytes, that of an append the sector.
//   3. The hook `interrupt` says that replies have arrived. The driver fetches them with receive().
//   4. A driver that waits for too long calls cancel(), and learns whether the command was
//      executed, and with which result. No reply of the command comes afterwards but false ones.
// This is a MessageDevice for commands that a Media does not have. The link has no connections: it
// is never lost.

#ifndef BLKOWN_TESTS_SIM_ZONED_DEVICE_HPP
#define BLKOWN_TESTS_SIM_ZONED_DEVICE_HPP

#include <blkown/detail/saturating.hpp>
#include <blkown/detail/user_list.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/sim/device/command.hpp>
#include <blkown/sim/device/command_id.hpp>
#include <blkown/sim/device/command_table.hpp>
#include <blkown/sim/device/controller_observer.hpp>
#include <blkown/sim/device/false_cookie.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/sim/device/latency.hpp>
#include <blkown/sim/device/message.hpp>
#include <blkown/sim/device/message_config.hpp>
#include <blkown/sim/device/random.hpp>
#include <blkown/sim/device/recent_commands.hpp>
#include <blkown/sim/device/schedule.hpp>
#include <blkown/sim/harness/device_events.hpp>
#include <blkown/sim/harness/history.hpp>
#include <blkown/status.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace zoned {

namespace mq = blkown::mq;
namespace sim = blkown::sim;
using blkown::Status;
using sim::FaultKind;

/// A command of a zoned disk: a message whose operation is one of the block layer.
struct Command : sim::Message {
  mq::Op op{};
  bool is_fua = false;
};

/// What a command is: for the report. Found by the arguments' namespace.
[[nodiscard]] inline sim::IoText io_of(const Command& command, const sim::detail::DiskPlace&) {
  return {.operation = mq::to_string(command.op),
          .sector = command.sector,
          .length_sectors = command.length_sectors,
          .is_fua = command.is_fua,
          .is_elsewhere = false,
          .disk = {}};
}

/// How a command has ended.
struct Result {
  Status status = Status::ok;
  std::uint64_t sector = 0;  ///< The first sector written, of an append.
};

/// The answer to a command.
struct Reply {
  std::uint64_t cookie = 0;
  Result result;
  std::vector<std::byte> bytes;  ///< Of a read.
};

/// The answer to a cancel.
struct Cancelled {
  enum class What : std::uint8_t {
    not_now,       ///< The command is where it was.
    not_executed,  ///< And will not be.
    executed,      ///< `reply` is its reply, which does not come any more.
    answered,      ///< Its reply is among those of the queue, or was received.
  };
  What what{};
  Reply reply{};
};

/// What the link calls.
struct Hooks {
  void* argument = nullptr;
  /// Executes a command. `bytes` are those of a write, or become those of a read.
  Result (*execute)(void* argument, std::uint32_t queue, const Command& command,
                    std::span<std::byte> bytes) = nullptr;
  void (*interrupt)(void* argument, std::uint32_t queue) = nullptr;
  void (*wake)(void* argument) = nullptr;  ///< An action is due.
};

class Device {
 public:
  using Entry = Command;  ///< Of the observer's events.

  Device(const sim::MessageConfig& config, sim::FaultPlan& faults)
      : config_{config}, faults_{faults}, random_{config.seed}, replies_(config.queue_count) {}
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  void set_hooks(const Hooks& hooks) noexcept { hooks_ = hooks; }
  void set_observer(sim::CommandObserver<Command>* observer) noexcept { observer_ = observer; }
  [[nodiscard]] const sim::MessageConfig& config() const noexcept { return config_; }
  [[nodiscard]] std::uint32_t queue_count() const noexcept { return config_.queue_count; }
  [[nodiscard]] blkown::detail::UserList& users() noexcept { return users_; }
  [[nodiscard]] std::uint64_t events() const noexcept { return events_; }

  // --- the driver's side ------------------------------------------------------------------------

  /// Gives the link a command. False: it has not taken it, although with the fault
  /// `refused_and_forged` a false reply arrives.
  [[nodiscard]] bool take(std::uint32_t queue, const Command& command,
                          std::vector<std::byte> bytes) {
    ++events_;
    set_target({queue, command.cookie});
    if (faults_.strikes(FaultKind::doorbell_refused)) return false;
    if (faults_.strikes(FaultKind::refused_and_forged)) {
      observer_->command_refused(queue, command);
      send(queue, {.cookie = command.cookie, .result = {}, .bytes = {}}, false);
      return false;
    }
    observer_->command_fetched(queue, command);
    const bool is_lost = faults_.strikes(FaultKind::lost);
    // Half of the lost commands are executed without a reply, the others are not executed.
    const bool is_executed = !is_lost || faults_.choice() % 2 != 0;
    const Held& held = held_.add({.serial = next_serial_++,
                                  .slot = 0,
                                  .queue = queue,
                                  .command = command,
                                  .result = {},
                                  .is_lost = is_lost});
    if (bytes_.size() <= held.slot) bytes_.resize(held.slot + 1);
    bytes_[held.slot] = std::move(bytes);
    if (!is_executed) return true;
    std::uint64_t due_ns = sim::detail::draw_latency_ns(config_, random_);
    if (faults_.strikes(FaultKind::late)) due_ns += config_.late_ns;
    schedule({.serial = held.serial, .slot = held.slot}, due_ns);
    hooks_.wake(hooks_.argument);
    return true;
  }
  /// Takes the oldest reply of the queue. None: there is no reply.
  [[nodiscard]] std::optional<Reply> receive(std::uint32_t queue) {
    if (replies_[queue].empty()) return std::nullopt;
    ++events_;
    Reply reply = std::move(replies_[queue].front());
    replies_[queue].pop_front();
    observer_->entry_taken(queue);
    return reply;
  }
  /// Ends a command that the link has.
  [[nodiscard]] Cancelled cancel(std::uint32_t queue, std::uint64_t cookie) {
    ++events_;
    set_target({queue, cookie});
    // A cancel is a command, too.
    if (faults_.strikes(FaultKind::doorbell_refused) || faults_.strikes(FaultKind::abort_refused))
      return {.what = Cancelled::What::not_now};
    const Held* const found = find(queue, cookie);
    if (found == nullptr) return {.what = Cancelled::What::answered};
    const Held held = *found;
    held_.erase(held);
    if (!held.is_executed) return {.what = Cancelled::What::not_executed};
    return {.what = Cancelled::What::executed,
            .reply = reply_of(held, std::move(bytes_[held.slot]))};
  }

  // --- execution --------------------------------------------------------------------------------

  /// Performs one action that is due. Returns false if none is.
  bool step(std::uint64_t now_ns) {
    now_ns_ = now_ns;
    const auto action = schedule_.take_due(now_ns);
    if (!action.has_value()) return false;
    ++events_;
    if (action->is_duplicate) {
      const Duplicate its = *duplicates_.find(action->slot, action->serial);
      duplicates_.erase(its);
      send(its.queue, std::move(duplicate_replies_[its.slot]), false);
      return true;
    }
    Held* const found = held_.find(action->slot, action->serial);
    if (found == nullptr) return true;  // cancelled or disowned
    if (found->is_executed) {
      answer(*found);
    } else {
      execute(*found);
    }
    return true;
  }
  /// The time at which the next action is due. None: no action is planned.
  [[nodiscard]] std::optional<std::uint64_t> next_ns() const noexcept {
    return schedule_.next_ns();
  }

  /// Makes the link give up a command, because the driver has accepted a false reply. Returns the
  /// command if there is one. It is not executed any more.
  [[nodiscard]] std::vector<Command> disown(std::uint32_t queue, std::uint64_t cookie) {
    const Held* const found = find(queue, cookie);
    if (found == nullptr) return {};
    const Held held = *found;
    held_.erase(held);
    return {held.command};
  }

 private:
  /// A command that was taken and not answered.
  struct Held {
    std::uint64_t serial = 0;
    std::uint32_t slot = 0;  // of held_ and bytes_
    std::uint32_t queue = 0;
    Command command;
    Result result;
    bool is_lost = false;  // its reply will not be sent
    bool is_executed = false;
  };
  /// A reply that comes again.
  struct Duplicate {
    std::uint64_t serial = 0;
    std::uint32_t slot = 0;  // of duplicates_ and duplicate_replies_
    std::uint32_t queue = 0;
  };
  /// What is planned: to execute or answer a command, or to send a duplicate.
  struct Action {
    std::uint64_t serial = 0;
    std::uint32_t slot = 0;
    bool is_duplicate = false;
  };

  void set_target(const sim::detail::CommandId& id) {
    faults_.set_target(sim::FaultTarget{.queue = id.queue, .cookie = id.cookie});
  }
  void schedule(const Action& action, std::uint64_t delay_ns) {
    schedule_.add(action, blkown::detail::saturating_add(now_ns_, delay_ns));
  }
  [[nodiscard]] const Held* find(std::uint32_t queue, std::uint64_t cookie) {
    // As is_same_command(): without the user bits of the cookies.
    const std::uint64_t mask = ~config_.layout.user.mask();
    return held_.find_first([&](const Held& held) {
      return held.queue == queue && ((held.command.cookie ^ cookie) & mask) == 0;
    });
  }
  [[nodiscard]] static bool has_bytes(const Held& held) noexcept {
    return held.command.op == mq::Op::read && held.result.status == Status::ok;
  }
  [[nodiscard]] static Reply reply_of(const Held& held, std::vector<std::byte> bytes) {
    if (!has_bytes(held)) bytes.clear();
    return {.cookie = held.command.cookie, .result = held.result, .bytes = std::move(bytes)};
  }

  void execute(Held& its) {
    set_target({its.queue, its.command.cookie});
    its.result = faults_.strikes(FaultKind::media_error)
                     ? Result{.status = Status::medium_error, .sector = 0}
                     : hooks_.execute(hooks_.argument, its.queue, its.command, bytes_[its.slot]);
    its.is_executed = true;
    if (its.is_lost) return;  // kept until it is cancelled or disowned
    // The driver may accept a false reply. The command is disowned then, and the driver may send
    // another one, to which the command's place is given.
    const Held held = its;
    send_false_replies(held);
    if (faults_.strikes(FaultKind::reordered)) {
      schedule({.serial = held.serial, .slot = held.slot}, 2 * config_.longest_ns);
    } else if (const Held* const left = held_.find(held.slot, held.serial); left != nullptr) {
      answer(*left);
    }
  }
  void send_false_replies(const Held& held) {
    const std::uint64_t cookie = held.command.cookie;
    // First, as long as the place is the command's.
    if (queue_count() > 1 && faults_.strikes(FaultKind::wrong_queue))
      send((held.queue + 1) % queue_count(), reply_of(held, bytes_[held.slot]), false);
    if (faults_.strikes(FaultKind::forged)) {
      const std::uint64_t forged =
          sim::detail::forged_cookie(config_, held.queue, faults_.choice());
      send(held.queue, {.cookie = forged, .result = {}, .bytes = {}}, false);
    }
    if (faults_.strikes(FaultKind::early)) {
      const std::uint64_t next = sim::detail::next_cookie(config_.layout, cookie);
      send(held.queue, {.cookie = next, .result = held.result, .bytes = {}}, false);
    }
    if (!recent_.empty() && faults_.strikes(FaultKind::stale)) {
      const sim::detail::CommandId old = recent_.pick(faults_.choice());
      send(old.queue, {.cookie = old.cookie, .result = held.result, .bytes = {}}, false);
    }
    recent_.add({held.queue, cookie});
  }
  void answer(const Held& its) {
    const Held held = its;
    held_.erase(held);
    // Another command may take the place as soon as the reply is sent.
    std::vector<std::byte> bytes = std::move(bytes_[held.slot]);
    set_target({held.queue, held.command.cookie});
    observer_->command_done(held.queue, held.command);
    send(held.queue, reply_of(held, bytes), true);
    if (faults_.strikes(FaultKind::duplicate)) {
      send_again(held.queue, reply_of(held, std::move(bytes)),
                 sim::detail::draw_latency_ns(config_, random_));
    }
    if (faults_.strikes(FaultKind::interrupt_spurious))
      hooks_.interrupt(hooks_.argument,
                       static_cast<std::uint32_t>(faults_.choice() % queue_count()));
  }
  void send_again(std::uint32_t queue, Reply reply, std::uint64_t delay_ns) {
    const Duplicate& its = duplicates_.add({.serial = next_serial_++, .slot = 0, .queue = queue});
    if (duplicate_replies_.size() <= its.slot) duplicate_replies_.resize(its.slot + 1);
    duplicate_replies_[its.slot] = std::move(reply);
    schedule({.serial = its.serial, .slot = its.slot, .is_duplicate = true}, delay_ns);
  }
  void send(std::uint32_t queue, Reply reply, bool is_genuine) {
    ++events_;
    observer_->entry_posted(queue, reply.cookie, is_genuine);
    replies_[queue].push_back(std::move(reply));
    hooks_.interrupt(hooks_.argument, queue);
  }

  const sim::MessageConfig config_;
  sim::FaultPlan& faults_;
  Hooks hooks_;
  sim::CommandObserver<Command>* observer_ = nullptr;
  sim::Random random_;
  sim::detail::BasicCommandTable<Held> held_;
  std::vector<std::vector<std::byte>> bytes_;  // of a write, or that were read: by slot of held_
  sim::detail::BasicCommandTable<Duplicate> duplicates_;
  std::vector<Reply> duplicate_replies_;  // by slot of duplicates_
  sim::detail::BasicSchedule<Action> schedule_;
  std::vector<std::deque<Reply>> replies_;  // by queue
  sim::detail::RecentCommands recent_;
  std::uint64_t next_serial_ = 0;
  std::uint64_t now_ns_ = 0;
  std::uint64_t events_ = 0;
  blkown::detail::UserList users_;
};

}  // namespace zoned

#endif
