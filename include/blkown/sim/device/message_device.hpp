// SPDX-License-Identifier: BSL-1.0
//
// MessageDevice: a simulated device that takes messages and answers them, for drivers without
// rings, as those of NBD, ublk or a socket.
//
// The parties are the driver, the device, and the harness, which calls step().
//   1. The driver connects a queue. A queue is one connection.
//   2. take() gives the device a command with the driver's cookie and the memory of a write. The
//      device reads that memory when it executes the command.
//   3. step() executes the command and appends a reply to the queue's replies. The reply of a read
//      carries the bytes.
//   4. The hook `interrupt` says that replies have arrived. The driver fetches them with receive().
// A connection may be lost. The hook `failed` says so, is_connected() says which it was, and the
// device takes and answers no message of the queue. It may still execute the commands that it has,
// and read their memory. connect() ends that: when it returns, the device has given up the queue's
// commands and replies. Only then may the driver end or send again the I/Os of the old connection.
// stop() does the same for all queues.

#ifndef BLKOWN_SIM_DEVICE_MESSAGE_DEVICE_HPP
#define BLKOWN_SIM_DEVICE_MESSAGE_DEVICE_HPP

#include <array>
#include <bit>
#include <blkown/config.hpp>
#include <blkown/detail/saturating.hpp>
#include <blkown/detail/user_list.hpp>
#include <blkown/segment.hpp>
#include <blkown/sim/device/command.hpp>
#include <blkown/sim/device/command_id.hpp>
#include <blkown/sim/device/command_table.hpp>
#include <blkown/sim/device/controller_hooks.hpp>
#include <blkown/sim/device/controller_observer.hpp>
#include <blkown/sim/device/false_cookie.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/sim/device/latency.hpp>
#include <blkown/sim/device/media/bad_ranges.hpp>
#include <blkown/sim/device/media/media.hpp>
#include <blkown/sim/device/message.hpp>
#include <blkown/sim/device/message_config.hpp>
#include <blkown/sim/device/optional_lock.hpp>
#include <blkown/sim/device/pending_calls.hpp>
#include <blkown/sim/device/random.hpp>
#include <blkown/sim/device/recent_commands.hpp>
#include <blkown/sim/device/schedule.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <expected>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// Why a MessageDevice did not take a message.
enum class TakeError : std::uint8_t {
  not_connected,  ///< The connection is lost, or was not made.
  refused,        ///< The device takes no message now.
};

/// Receives the events of a MessageDevice.
using MessageObserver = CommandObserver<Message>;

/// A device that takes messages and answers them, in any order. A FaultPlan decides its faults: all
/// but those of DMA and of rings. `reset` loses the connection of a queue. `doorbell_refused` is a
/// refused take.
/// Synchronization: a mutex serializes the calls, unless MessageConfig::is_single_threaded.
/// Context: any thread.
class MessageDevice {
 public:
  using Entry = Message;  ///< Of the observer's events. Its bytes are empty.

  /// Makes a device with one disk, without connections.
  /// Precondition: the arguments outlive the device. No fault plan: no faults.
  MessageDevice(const MessageConfig& config, Media& media, FaultPlan* faults = nullptr,
                const ControllerHooks& hooks = {})
      : MessageDevice{config, std::array{&media}, faults, hooks} {}
  /// The same with several disks: Message::disk is an index in `media`. A connection is for all of
  /// them.
  /// Precondition: as above; at least one medium, and no null pointer.
  MessageDevice(const MessageConfig& config, std::span<Media* const> media,
                FaultPlan* faults = nullptr, const ControllerHooks& hooks = {})
      : config_{config},
        media_{media.begin(), media.end()},
        faults_{faults},
        hooks_{hooks},
        mutex_{!config.is_single_threaded},
        random_{config.seed},
        queues_(config.queue_count) {
    for (Media* const one : media) media_users_.emplace_back(&one->users(), "a sim::MessageDevice");
  }
  MessageDevice(const MessageDevice&) = delete;
  MessageDevice& operator=(const MessageDevice&) = delete;
  /// Violation: object_in_use, if an Oracle uses the device.
  ~MessageDevice() {
    users_.check_unused("destruction of sim::MessageDevice", "sim::MessageDevice",
                        "destroy that object first");
  }

  /// Sets the hooks.
  /// Precondition: no queue was connected.
  void set_hooks(const ControllerHooks& hooks) noexcept { hooks_ = hooks; }
  /// Sets the observer of the device's events, or none.
  void set_observer(MessageObserver* observer) {
    const std::lock_guard guard{mutex_};
    observer_ = observer;
  }
  /// The configuration.
  [[nodiscard]] const MessageConfig& config() const noexcept { return config_; }
  /// The number of disks.
  [[nodiscard]] std::size_t disk_count() const noexcept { return media_.size(); }
  /// The number of queues that the observer's events may name.
  [[nodiscard]] std::uint32_t queue_count() const noexcept { return config_.queue_count; }

  // --- the driver's side ------------------------------------------------------------------------

  /// Connects the queue, for the first time or again.
  /// Effects: the device gives up the queue's commands and replies, and reads no memory of the
  /// former connection.
  void connect(std::uint32_t queue) {
    const std::lock_guard guard{mutex_};
    close(queue);
    queues_[queue].is_connected = true;
    if (observer_ != nullptr) observer_->queue_stopped(queue);
  }
  /// Whether the queue has a connection.
  [[nodiscard]] bool is_connected(std::uint32_t queue) {
    const std::lock_guard guard{mutex_};
    return queues_[queue].is_connected;
  }
  /// Closes all connections. The device gives up all commands and replies.
  void stop() {
    const std::lock_guard guard{mutex_};
    for (std::uint32_t queue = 0; queue != queues_.size(); ++queue) close(queue);
    schedule_.clear();
    later_replies_.clear();
    if (observer_ != nullptr) observer_->stopped();
  }

  /// Gives the device a command.
  /// Errors: the device does not have the command. With the fault `refused_and_forged`, a false
  /// reply to the command arrives nevertheless.
  [[nodiscard]] std::expected<void, TakeError> take(std::uint32_t queue, const Message& message) {
    Lock lock{*this};
    ++events_;
    if (!queues_[queue].is_connected) return std::unexpected{TakeError::not_connected};
    set_target({queue, message.cookie});
    if (strikes(FaultKind::doorbell_refused)) return std::unexpected{TakeError::refused};
    Message entry = message;
    entry.bytes = {};
    if (strikes(FaultKind::refused_and_forged)) {
      if (observer_ != nullptr) observer_->command_refused(queue, entry);
      send(queue, {.cookie = message.cookie});
      return std::unexpected{TakeError::refused};
    }
    accept(queue, entry, message.bytes);
    return {};
  }
  /// Takes the oldest reply of the queue. None: there is no reply.
  [[nodiscard]] std::optional<Reply> receive(std::uint32_t queue) {
    const std::lock_guard guard{mutex_};
    std::deque<Reply>& replies = queues_[queue].replies;
    if (replies.empty()) return std::nullopt;
    ++events_;
    Reply reply = std::move(replies.front());
    replies.pop_front();
    if (observer_ != nullptr) observer_->entry_taken(queue);
    return reply;
  }

  // --- execution --------------------------------------------------------------------------------

  /// Performs one action that is due: executes a command, or sends a reply. Returns false if no
  /// action is due.
  bool step(std::uint64_t now_ns) {
    Lock lock{*this};
    now_ns_ = now_ns;
    const auto action = schedule_.take_due(now_ns);
    if (!action.has_value()) return false;
    ++events_;
    if (!action->is_reply) {
      execute(action->slot, action->serial);
    } else if (const LaterReply* const found = later_replies_.find(action->slot, action->serial)) {
      const LaterReply later = *found;
      later_replies_.erase(later);
      send_later_reply(later);
    }
    return true;
  }
  /// The time at which the next action is due, which may be in the past. None: no action is
  /// planned.
  [[nodiscard]] std::optional<std::uint64_t> next_ns() {
    const std::lock_guard guard{mutex_};
    return schedule_.next_ns();
  }

  // --- for the harness --------------------------------------------------------------------------

  /// Makes the device disown a command that it has, because the driver has accepted a false reply.
  /// Returns the command if there is one.
  /// Effects: the command is not executed, and its memory not read.
  [[nodiscard]] std::vector<Message> disown(std::uint32_t queue, std::uint64_t cookie) {
    const std::lock_guard guard{mutex_};
    // As is_same_command(): without the user bits of the cookies.
    const std::uint64_t mask = ~config_.layout.user.mask();
    const detail::Command* const found = commands_.find_first([&](const detail::Command& one) {
      return one.queue == queue && ((one.entry.cookie ^ cookie) & mask) == 0;
    });
    if (found == nullptr) return {};
    const Message entry = found->entry;
    commands_.erase(*found);
    return {entry};
  }
  /// The number of messages, replies and executions since the device was made.
  [[nodiscard]] std::uint64_t events() {
    const std::lock_guard guard{mutex_};
    return events_;
  }
  /// The objects of the harness that use the device.
  [[nodiscard]] blkown::detail::UserList& users() noexcept { return users_; }
  /// The number of commands that were taken and not answered.
  [[nodiscard]] std::size_t command_count() {
    const std::lock_guard guard{mutex_};
    return commands_.size();
  }

 private:
  struct Queue {
    bool is_connected = false;
    std::uint64_t first_serial = 0;  // of the connection's commands
    std::deque<Reply> replies;
  };

  /// The answer to an executed command.
  struct Answer {
    detail::Command command;
    DeviceStatus status{};
    std::uint32_t transferred_bytes = 0;
  };
  /// A reply that is sent later: a duplicate, or a genuine one behind others.
  struct LaterReply {
    std::uint64_t serial = 0;  // of the planned action
    std::uint32_t slot = 0;    // of later_replies_
    Answer answer{};
    bool is_genuine = false;
  };
  /// What is planned: to execute a command, or to send a reply. The rest is in the tables, so that
  /// the schedule moves little.
  struct Planned {
    std::uint64_t serial = 0;
    std::uint32_t slot = 0;  // of commands_ or later_replies_
    bool is_reply = false;
  };

  /// Holds the lock. Its destructor unlocks, and then calls the pending hooks.
  struct Lock {
    explicit Lock(MessageDevice& owner) : device{owner} { device.mutex_.lock(); }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
    ~Lock() {
      const detail::PendingCalls calls = std::exchange(device.pending_, {});
      device.mutex_.unlock();
      device.call_out(calls);
    }
    MessageDevice& device;
  };

  void call_out(const detail::PendingCalls& calls) {
    for (std::uint64_t left = calls.interrupts; left != 0; left &= left - 1) {
      const auto queue = static_cast<std::uint32_t>(std::countr_zero(left));
      if (hooks_.interrupt != nullptr) hooks_.interrupt(hooks_.argument, queue);
    }
    if (calls.has_failed && hooks_.failed != nullptr) hooks_.failed(hooks_.argument);
    if (calls.has_work && hooks_.wake != nullptr) hooks_.wake(hooks_.argument);
  }

  void set_target(const detail::CommandId& id) {
    if (faults_ == nullptr) return;
    faults_->set_target(FaultTarget{.queue = id.queue, .cookie = id.cookie});
  }
  [[nodiscard]] bool strikes(FaultKind kind) {
    return faults_ != nullptr && faults_->strikes(kind);
  }
  void schedule(const Planned& action, std::uint64_t delay_ns) {
    schedule_.add(action, blkown::detail::saturating_add(now_ns_, delay_ns));
  }
  void send_later(const Answer& answer, bool is_genuine, std::uint64_t delay_ns) {
    const LaterReply& later = later_replies_.add(
        {.serial = next_serial_++, .slot = 0, .answer = answer, .is_genuine = is_genuine});
    schedule({.serial = later.serial, .slot = later.slot, .is_reply = true}, delay_ns);
  }
  [[nodiscard]] std::uint64_t latency_ns() { return detail::draw_latency_ns(config_, random_); }

  void close(std::uint32_t queue) {
    const auto is_of_queue = [&](const detail::Command& one) { return one.queue == queue; };
    while (const detail::Command* const one = commands_.find_first(is_of_queue)) {
      commands_.erase(*one);
    }
    queues_[queue].replies.clear();
    queues_[queue].is_connected = false;
    queues_[queue].first_serial = next_serial_;
  }

  // --- commands ---------------------------------------------------------------------------------

  void accept(std::uint32_t queue, const Message& entry, std::span<const Segment> bytes) {
    detail::Command command{.serial = next_serial_++, .queue = queue, .entry = entry};
    if (observer_ != nullptr) observer_->command_fetched(queue, entry);
    std::uint64_t late_ns = 0;
    // The connection is lost behind the message, which the device nevertheless executes, later.
    if (strikes(FaultKind::reset)) {
      queues_[queue].is_connected = false;
      pending_.has_failed = true;
      late_ns = blkown::detail::saturating_multiply(6, config_.longest_ns);
    }
    command.is_lost = strikes(FaultKind::lost);
    command = commands_.add(command);
    if (payloads_.size() <= command.slot) payloads_.resize(command.slot + 1);
    payloads_[command.slot].assign(bytes.begin(), bytes.end());
    // Half of the lost commands are executed without a reply, the others are not executed.
    if (command.is_lost && faults_->choice() % 2 == 0) return;
    if (strikes(FaultKind::late)) late_ns = config_.late_ns;
    schedule({.serial = command.serial, .slot = command.slot},
             blkown::detail::saturating_add(latency_ns(), late_ns));
    pending_.has_work = true;
  }

  void execute(std::uint32_t slot, std::uint64_t serial) {
    detail::Command* const found = commands_.find(slot, serial);
    if (found == nullptr) return;  // disowned, or of a former connection
    const detail::Command command = *found;
    const Message& entry = command.entry;
    set_target(command.id());
    std::uint64_t moved_bytes = command.moves_data() ? command.length_bytes() : 0;
    DeviceStatus status = DeviceStatus::media_error;
    const bool is_bad = entry.opcode == Opcode::read && is_unreadable(entry);
    if (!strikes(FaultKind::media_error) && !is_bad) {
      // In whole blocks: a device transfers no part of one.
      const std::uint32_t blocks = entry.length_sectors / config_.block_sectors;
      if (command.moves_data() && blocks > 1 && strikes(FaultKind::short_transfer)) {
        moved_bytes = std::uint64_t{detail::bytes_in_sector} * config_.block_sectors *
                      (1 + faults_->choice() % (blocks - 1));
      }
      status = perform(command, moved_bytes);
    }
    if (status != DeviceStatus::success) moved_bytes = 0;
    if (status == DeviceStatus::success && entry.opcode != Opcode::read) {
      const std::uint64_t written =
          command.moves_data() ? moved_bytes / detail::bytes_in_sector : entry.length_sectors;
      bad_ranges_.note_write({entry.disk, entry.sector, written});
    }
    if (command.is_lost || !queues_[command.queue].is_connected) {
      found->is_executed = true;  // kept until it is disowned or the queue is connected again
      return;
    }
    commands_.erase(command);
    complete(command, status, static_cast<std::uint32_t>(moved_bytes));
  }

  [[nodiscard]] bool is_unreadable(const Message& entry) {
    const detail::BadRanges::Range range{entry.disk, entry.sector, entry.length_sectors};
    if (strikes(FaultKind::bad_range)) bad_ranges_.add(range);
    return bad_ranges_.overlaps(range);
  }
  [[nodiscard]] DeviceStatus perform(const detail::Command& command, std::uint64_t moved_bytes) {
    const Message& entry = command.entry;
    if (entry.disk >= media_.size()) return DeviceStatus::invalid_command;
    Media& medium = *media_[entry.disk];
    const std::uint64_t capacity = medium.capacity_bytes() / detail::bytes_in_sector;
    const bool is_in_range = entry.length_sectors != 0 && entry.sector <= capacity &&
                             entry.length_sectors <= capacity - entry.sector;
    const bool is_whole = entry.sector % config_.block_sectors == 0 &&
                          entry.length_sectors % config_.block_sectors == 0;
    if (entry.opcode != Opcode::flush && !(is_in_range && is_whole)) {
      return DeviceStatus::invalid_command;
    }
    const auto status_of = [](bool is_good) {
      return is_good ? DeviceStatus::success : DeviceStatus::media_error;
    };
    switch (entry.opcode) {
      case Opcode::flush: return status_of(medium.flush());
      case Opcode::write_zeroes:
      case Opcode::discard:
        return status_of(medium.zero(command.offset_bytes(), command.length_bytes()));
      case Opcode::read: return DeviceStatus::success;  // the reply reads the medium
      case Opcode::write: return write(command, moved_bytes);
      case Opcode::compare: break;
    }
    return DeviceStatus::invalid_command;
  }
  [[nodiscard]] DeviceStatus write(const detail::Command& command, std::uint64_t moved_bytes) {
    buffer_.clear();
    for (const Segment& part : payloads_[command.slot]) {
      buffer_.insert(buffer_.end(), part.data, part.end());
    }
    if (buffer_.size() != command.length_bytes()) return DeviceStatus::invalid_command;
    const std::span<const std::byte> bytes{buffer_.data(), static_cast<std::size_t>(moved_bytes)};
    return media_[command.entry.disk]->write(command.offset_bytes(), bytes)
               ? DeviceStatus::success
               : DeviceStatus::media_error;
  }

  // --- replies ----------------------------------------------------------------------------------

  /// Answers a command that is done, with the faults that strike its reply.
  void complete(const detail::Command& command, DeviceStatus status, std::uint32_t moved_bytes) {
    const std::uint64_t cookie = command.entry.cookie;
    const Answer answer{.command = command, .status = status, .transferred_bytes = moved_bytes};
    if (strikes(FaultKind::wrong_queue) && queues_.size() > 1) {
      send(static_cast<std::uint32_t>((command.queue + 1) % queues_.size()), reply_of(answer));
    }
    if (strikes(FaultKind::forged)) {
      send(command.queue,
           {.cookie = detail::forged_cookie(config_, command.queue, faults_->choice())});
    }
    if (strikes(FaultKind::early)) {
      send(command.queue,
           {.cookie = detail::next_cookie(config_.layout, cookie), .status = status});
    }
    if (strikes(FaultKind::stale) && !recent_.empty()) {
      const detail::CommandId& old = recent_.pick(faults_->choice());
      send(old.queue, {.cookie = old.cookie, .status = status});
    }
    recent_.add(command.id());
    const bool comes_twice = strikes(FaultKind::duplicate);
    const std::uint64_t choice_of_duplicate = comes_twice ? faults_->choice() : 0;
    if (strikes(FaultKind::reordered)) {
      // Kept, so that a false reply sent before the genuine one names an existing command.
      detail::Command& kept = commands_.add(command);
      kept.is_executed = true;
      Answer behind = answer;
      behind.command = kept;
      send_later(behind, true, blkown::detail::saturating_multiply(2, config_.longest_ns));
    } else {
      if (observer_ != nullptr) observer_->command_done(command.queue, command.entry);
      send_genuine(command.queue, reply_of(answer));
    }
    if (comes_twice) send_later(answer, false, choice_of_duplicate % 2 == 0 ? 0 : latency_ns());
    if (strikes(FaultKind::interrupt_spurious)) {
      pending_.interrupts |= std::uint64_t{1} << (faults_->choice() % queues_.size());
    }
  }
  /// Sends the genuine reply. One whose connection is lost in its middle has only the first of the
  /// bytes that it promises.
  void send_genuine(std::uint32_t queue, Reply reply) {
    const bool is_half = !reply.bytes.empty() && strikes(FaultKind::half_reply);
    if (is_half) reply.bytes.resize(faults_->choice() % reply.bytes.size());
    send(queue, std::move(reply), true);
    if (!is_half) return;
    queues_[queue].is_connected = false;
    pending_.has_failed = true;
  }

  /// Sends a reordered reply or a duplicate, unless its connection has ended.
  void send_later_reply(const LaterReply& later) {
    const detail::Command& command = later.answer.command;
    if (command.serial < queues_[command.queue].first_serial) return;
    if (!queues_[command.queue].is_connected) return;
    const bool is_first = later.is_genuine && commands_.erase(command);
    if (is_first && observer_ != nullptr) observer_->command_done(command.queue, command.entry);
    send(command.queue, reply_of(later.answer), is_first);
  }

  /// The reply of an executed command. The bytes of a read are those of the medium now.
  [[nodiscard]] Reply reply_of(const Answer& answer) {
    Reply reply{.cookie = answer.command.entry.cookie,
                .status = answer.status,
                .transferred_bytes = answer.transferred_bytes};
    if (answer.command.entry.opcode != Opcode::read) return reply;
    reply.bytes.resize(answer.transferred_bytes);
    if (!reply.bytes.empty() &&
        !media_[answer.command.entry.disk]->read(answer.command.offset_bytes(), reply.bytes)) {
      return {.cookie = reply.cookie, .status = DeviceStatus::media_error};
    }
    return reply;
  }

  void send(std::uint32_t queue, Reply reply, bool is_genuine = false) {
    if (!queues_[queue].is_connected) return;
    ++events_;
    if (observer_ != nullptr) observer_->entry_posted(queue, reply.cookie, is_genuine);
    queues_[queue].replies.push_back(std::move(reply));
    pending_.interrupts |= std::uint64_t{1} << queue;
  }

  const MessageConfig config_;
  const std::vector<Media*> media_;  // by disk
  FaultPlan* faults_;
  ControllerHooks hooks_;
  MessageObserver* observer_ = nullptr;
  detail::OptionalMutex mutex_;
  detail::PendingCalls pending_;
  Random random_;
  std::vector<Queue> queues_;
  detail::CommandTable commands_;               // taken and not answered
  std::vector<std::vector<Segment>> payloads_;  // of the commands, by slot
  detail::BasicSchedule<Planned> schedule_;
  detail::BasicCommandTable<LaterReply> later_replies_;
  detail::RecentCommands recent_;
  detail::BadRanges bad_ranges_;  // in sectors
  std::vector<std::byte> buffer_;
  std::uint64_t next_serial_ = 0;
  std::uint64_t now_ns_ = 0;
  std::uint64_t events_ = 0;
  blkown::detail::UserList users_;
  std::deque<blkown::detail::User> media_users_;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
