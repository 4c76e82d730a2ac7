// SPDX-License-Identifier: BSL-1.0
//
// Worker: a thread with an event loop, and the connections that it serves. A connection stays with
// its worker. The requests of its connections start on its thread. They may end on any thread: a
// store's own thread passes them through the inbox.

#ifndef NBD_SERVER_WORKER_HPP
#define NBD_SERVER_WORKER_HPP

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <blkown/blkown.hpp>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "connection.hpp"
#include "counters.hpp"
#include "export.hpp"
#include "payload.hpp"
#include "request.hpp"
#include "storage/descriptor.hpp"
#include "store.hpp"

namespace nbd_server {

using storage::Descriptor;

class Worker {
 public:
  /// Called on the worker's thread when a queue has no connection any more.
  using QueueFreed = std::function<void(blkown::QueueIndex)>;

  Worker(std::uint32_t index, std::uint32_t payload_slots, const Exports& exports,
         const Limits& limits, QueueFreed queue_freed)
      : index_{index},
        payloads_{payload_slots},
        exports_{exports},
        limits_{limits},
        queue_freed_{std::move(queue_freed)},
        poller_{epoll_create1(EPOLL_CLOEXEC)},
        wake_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)},
        open_error_{poller_.is_open() && wake_.is_open() ? 0 : errno} {}
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker() {
    begin_stop();
    join();
  }

  /// Starts the thread. Called once.
  /// Precondition: the stores are attached. `tags` has a request for each connection that is added.
  /// Errors: an errno value; 0 on success.
  [[nodiscard]] int start(Tags& tags) {
    tags_ = &tags;
    if (open_error_ != 0) return open_error_;
    slots_.resize(tags.queue_count());
    if (!watch(wake_.get())) return errno;
    for (const Export& each : exports_) {
      const int fd = each.store().wake_fd(index_);
      if (fd >= 0 && !watch(fd)) return errno;
    }
    thread_ = std::thread{[this] { run(); }};
    return 0;
  }

  /// Gives the worker a client, on a queue that has none. Takes the descriptor. Any thread.
  void add(Descriptor socket, blkown::QueueIndex queue) {
    {
      const std::lock_guard lock{mutex_};
      added_.push_back({std::move(socket), queue});
    }
    wake();
  }

  /// Takes a request of one of the worker's connections that has ended. Any thread.
  void deliver(blkown::Ended<Rq> ended) {
    if (std::this_thread::get_id() == thread_id_) {
      finish(std::move(ended));
      return;
    }
    {
      const std::lock_guard lock{mutex_};
      ended_.push_back(std::move(ended));
    }
    // The worker may have ended by now. The object is there until the stores are detached.
    wake();
  }

  /// Tells the worker to shut its connections down, and to end when the stores have ended their
  /// requests. Any thread.
  void begin_stop() {
    {
      const std::lock_guard lock{mutex_};
      is_stopping_ = true;
    }
    wake();
  }
  /// Waits for that end. Not on the worker's thread.
  void join() {
    if (thread_.joinable()) thread_.join();
  }

  [[nodiscard]] blkown::Segment region() const noexcept { return payloads_.region(); }
  [[nodiscard]] const Counters& counters() const noexcept { return counters_; }

 private:
  struct Added {
    Descriptor socket;
    blkown::QueueIndex queue;
  };
  /// A hardware queue: the connection that has it, if one does.
  struct Slot {
    std::unique_ptr<Connection> connection;
    std::uint32_t watched_events = 0;
    bool is_active = false;  // to be serviced
  };

  void run() {
    thread_id_ = std::this_thread::get_id();
    // The kernel may else wake a thread 50 us late.
    if (limits_.gather_us != 0) prctl(PR_SET_TIMERSLACK, 1);
    std::array<epoll_event, 64> events;
    while (!is_done()) {
      const int count = epoll_wait(poller_.get(), events.data(), static_cast<int>(events.size()),
                                   active_.empty() ? tick_ms() : 0);
      counters_.waits.add();
      now_ms_ = read_clock_ms();
      for (int i = 0; i < count; ++i) handle(events[static_cast<std::size_t>(i)]);
      take_inbox();
      service_active();
      poll_stores();
      // What a store has ended at once is answered before the next wait.
      if (!active_.empty()) {
        service_active();
        poll_stores();
      }
      check_timeouts();
      if (std::exchange(has_batch_, false) && may_gather()) gather();
    }
  }

  /// Whether a pause keeps nobody waiting: the worker has a single client, with nothing to do for
  /// it now and nothing at a store, whose end would be noticed late.
  [[nodiscard]] bool may_gather() const {
    if (limits_.gather_us == 0 || connection_count_ != 1 || !active_.empty()) return false;
    for (const Slot& slot : slots_) {
      if (slot.connection != nullptr) return !slot.connection->awaits_store();
    }
    return false;
  }

  /// The client has sent several commands without waiting for replies: it sends more while it
  /// takes these. A pause lets them come, for one receive and one send.
  void gather() {
    counters_.pauses.add();
    const timespec pause{.tv_sec = 0, .tv_nsec = std::int64_t{limits_.gather_us} * 1000};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, nullptr);
  }

  void poll_stores() {
    for (const Export& each : exports_) each.store().poll(index_);
  }

  [[nodiscard]] bool is_done() {
    if (connection_count_ != 0) return false;
    const std::lock_guard lock{mutex_};
    return is_stopping_ && added_.empty();
  }

  void handle(const epoll_event& event) {
    if (event.data.u64 >= slots_.size()) {
      // An eventfd. Its count does not matter: the inbox and the stores are looked at anyway.
      const auto fd = static_cast<int>(event.data.u64 - slots_.size());
      std::uint64_t count = 0;
      static_cast<void>(!::read(fd, &count, sizeof(count)));
      return;
    }
    Connection* const connection = slots_[event.data.u64].connection.get();
    if (connection == nullptr) return;
    if ((event.events & (EPOLLHUP | EPOLLERR)) != 0) {
      // Both directions are closed. The poller would say so for ever.
      epoll_ctl(poller_.get(), EPOLL_CTL_DEL, connection->fd(), nullptr);
      connection->note_gone();
    }
    if ((event.events & EPOLLIN) != 0) connection->note_readable();
    activate(connection->queue());
  }

  void take_inbox() {
    std::vector<Added> added;
    blkown::EndedList<Rq> ended;
    bool is_stopping = false;
    {
      const std::lock_guard lock{mutex_};
      added.swap(added_);
      ended = std::exchange(ended_, {});
      is_stopping = is_stopping_;
    }
    while (auto next = ended.pop_front()) finish(std::move(*next));
    for (Added& each : added) open(std::move(each));
    if (is_stopping) shut_down();
  }

  /// Shuts all connections down, and closes those that are left when the time is over.
  void shut_down() {
    // A worker that stalled behind its last look at the clock gives the clients their whole time.
    if (!stop_at_ms_) stop_at_ms_ = read_clock_ms() + limits_.stop_ms;
    for (Slot& slot : slots_) {
      if (slot.connection == nullptr) continue;
      if (now_ms_ >= *stop_at_ms_) {
        slot.connection->hang_up();
      } else {
        slot.connection->shut_down();
      }
      activate(slot.connection->queue());
    }
  }

  void open(Added added) {
    epoll_event event{};
    event.data.u64 = added.queue.value;
    if (epoll_ctl(poller_.get(), EPOLL_CTL_ADD, added.socket.get(), &event) != 0) {
      queue_freed_(added.queue);
      return;
    }
    const ConnectionContext context{*this, index_, *tags_, exports_, payloads_, counters_, limits_};
    Slot& slot = slots_[added.queue.value];
    slot.connection =
        std::make_unique<Connection>(added.socket.release(), added.queue, context, now_ms_);
    slot.watched_events = 0;
    ++connection_count_;
    activate(added.queue);
  }

  void finish(blkown::Ended<Rq> ended) {
    const blkown::QueueIndex queue = ended.queue();
    slots_[queue.value].connection->finish(std::move(ended));
    activate(queue);
  }

  void activate(blkown::QueueIndex queue) {
    if (!std::exchange(slots_[queue.value].is_active, true)) active_.push_back(queue);
  }

  /// Services each active connection once.
  void service_active() {
    serviced_.swap(active_);
    for (const blkown::QueueIndex queue : serviced_) {
      Slot& slot = slots_[queue.value];
      // Requests that end within the call make the connection active. It has looked at them then.
      slot.is_active = true;
      const bool has_more = slot.connection->service(now_ms_);
      slot.is_active = false;
      has_batch_ = has_batch_ || slot.connection->serviced_commands() > 1;
      if (slot.connection->is_over()) {
        slot.connection.reset();
        --connection_count_;
        queue_freed_(queue);
        continue;
      }
      if (has_more) activate(queue);
      update_watch(slot);
    }
    serviced_.clear();
  }

  void update_watch(Slot& slot) {
    Connection& connection = *slot.connection;
    if (connection.is_gone()) return;
    std::uint32_t wanted = 0;
    if (connection.wants_to_receive()) wanted |= EPOLLIN;
    if (connection.wants_to_send()) wanted |= EPOLLOUT;
    if (connection.fd() < 0 || wanted == slot.watched_events) return;
    epoll_event event{};
    event.events = wanted;
    event.data.u64 = connection.queue().value;
    if (epoll_ctl(poller_.get(), EPOLL_CTL_MOD, connection.fd(), &event) == 0) {
      slot.watched_events = wanted;
    } else {
      connection.hang_up();
      activate(connection.queue());
    }
  }

  void check_timeouts() {
    if (limits_.timeout_ms == 0 || now_ms_ < next_check_ms_) return;
    next_check_ms_ = now_ms_ + static_cast<std::uint64_t>(check_interval_ms());
    for (Slot& slot : slots_) {
      if (slot.connection == nullptr) continue;
      slot.connection->check_timeout(now_ms_);
      if (slot.connection->fd() < 0) activate(slot.connection->queue());
    }
  }

  [[nodiscard]] int check_interval_ms() const noexcept {
    return static_cast<int>(limits_.timeout_ms < 4000 ? limits_.timeout_ms / 4 + 1 : 1000);
  }
  [[nodiscard]] int tick_ms() const noexcept {
    if (connection_count_ == 0) return -1;
    // Afterwards the worker waits for the stores alone.
    if (stop_at_ms_ && now_ms_ < *stop_at_ms_) return static_cast<int>(*stop_at_ms_ - now_ms_);
    return limits_.timeout_ms == 0 ? -1 : check_interval_ms();
  }

  [[nodiscard]] std::uint64_t read_clock_ms() const noexcept {
    if (limits_.clock_ms != nullptr) return limits_.clock_ms();
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1000 +
           static_cast<std::uint64_t>(now.tv_nsec) / 1'000'000;
  }

  [[nodiscard]] bool watch(int eventfd) const {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = slots_.size() + static_cast<std::uint64_t>(eventfd);
    return epoll_ctl(poller_.get(), EPOLL_CTL_ADD, eventfd, &event) == 0;
  }
  void wake() const {
    const std::uint64_t one = 1;
    static_cast<void>(!::write(wake_.get(), &one, sizeof(one)));
  }

  // Set before the thread starts.
  std::uint32_t index_;
  PayloadPool payloads_;
  const Exports& exports_;
  const Limits& limits_;
  QueueFreed queue_freed_;
  Descriptor poller_;
  Descriptor wake_;
  int open_error_;  // of the two
  Tags* tags_ = nullptr;
  std::thread thread_;

  // The worker's thread. Others read the id: those that have a request of this worker, which was
  // started after the id was set.
  std::thread::id thread_id_;
  Counters counters_;
  std::vector<Slot> slots_;
  std::vector<blkown::QueueIndex> active_;
  std::vector<blkown::QueueIndex> serviced_;
  std::size_t connection_count_ = 0;
  bool has_batch_ = false;  // a connection has started several commands
  std::uint64_t now_ms_ = read_clock_ms();
  std::uint64_t next_check_ms_ = 0;
  std::optional<std::uint64_t> stop_at_ms_;  // closes all connections then

  // Any thread.
  std::mutex mutex_;
  std::vector<Added> added_;
  blkown::EndedList<Rq> ended_;
  bool is_stopping_ = false;
};

}  // namespace nbd_server

#endif
