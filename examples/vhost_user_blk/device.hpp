// SPDX-License-Identifier: BSL-1.0
//
// Device: a disk for one guest at a time: a thread, the TagSet, the queues, and the front end that
// is connected.
//
// The thread waits for the front end's messages, for kicks and for the store. A request may end on
// any thread; the sink passes it through the inbox.
//
// A front end that is gone leaves its requests to the store. They end without an answer, and the
// guest's memory stays mapped until the last of them has ended. Only then is the next front end
// served: its heads find all tags free.

#ifndef VHOST_USER_BLK_DEVICE_HPP
#define VHOST_USER_BLK_DEVICE_HPP

#include <sys/eventfd.h>

#include <blkown/blkown.hpp>
#include <blkown/in_flight_table.hpp>
#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <expected>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "counters.hpp"
#include "front_end.hpp"
#include "poller.hpp"
#include "queue.hpp"
#include "request.hpp"
#include "signal.hpp"
#include "store.hpp"

namespace vhost_user_blk {

struct DeviceConfig {
  std::uint16_t queues = 4;   ///< At most max_queues.
  std::uint32_t depth = 256;  ///< The longest ring. A power of two, at most max_depth.
  bool needs_seal = true;     ///< Offer::needs_seal.
  std::string serial{};
};
/// What the layout of the cookies has room for, and what other targets offer.
inline constexpr std::uint16_t max_queues = 64;
inline constexpr std::uint32_t max_depth = 1024;

class Device {
 public:
  /// Makes a device and starts its thread.
  /// Precondition: the store outlives the device, and has no other.
  /// Errors: the reason in words.
  [[nodiscard]] static std::expected<std::unique_ptr<Device>, std::string> create(
      const DeviceConfig& config, Store& store) {
    std::unique_ptr<Device> device{new Device{config, store}};
    auto tags =
        Tags::create({.queue_count = config.queues, .depth = config.depth, .layout = cookie_layout},
                     blkown::EndSink<Rq>::to(*device));
    if (!tags) return std::unexpected(std::string{to_string(tags.error().reason)});
    device->tags_.emplace(std::move(*tags));
    const StoreContext context{*device->tags_, device->counters_.refused_lookups};
    if (auto attached = store.attach(context); !attached) return std::unexpected(attached.error());
    device->is_attached_ = true;
    if (auto started = device->start(config); !started) return std::unexpected(started.error());
    return device;
  }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  ~Device() { stop(); }

  /// Serves a front end on this socket when the one before it has gone. Any thread.
  void add(Descriptor socket) {
    make_nonblocking(socket);
    {
      const std::lock_guard lock{mutex_};
      added_.push_back(std::move(socket));
    }
    send_signal(wake_);
  }

  /// Answers what is in flight, closes the connection, and ends the thread.
  void stop() {
    {
      const std::lock_guard lock{mutex_};
      is_stopping_ = true;
    }
    send_signal(wake_);
    if (thread_.joinable()) thread_.join();
    // The thread of the store that has ended the last request may still be about to signal `wake_`.
    if (std::exchange(is_attached_, false)) store_.detach();
  }

  [[nodiscard]] const Counters& counters() const noexcept { return counters_; }
  [[nodiscard]] const Tags& tags() const noexcept { return *tags_; }

  /// Prints the counters, and a line for each request that is not idle. Any thread.
  void print(std::FILE* file) const {
    const auto number = [&](const char* name, const Counter& counter) {
      std::fprintf(file, "%s: %" PRIu64 "\n", name, counter.get());
    };
    number("front ends", counters_.front_ends);
    number("requests", counters_.requests);
    number("of those pushed", counters_.pushed);
    number("of those failed", counters_.failed);
    number("of those left by another target", counters_.resubmitted);
    number("of those without an answer", counters_.dropped);
    number("kicks", counters_.kicks);
    number("calls", counters_.calls);
    number("bytes read", counters_.read_bytes);
    number("bytes written", counters_.written_bytes);
    counters_.message_errors.print(file, "connections ended, messages refused");
    counters_.memory_errors.print(file, "memory refused");
    counters_.ring_errors.print(file, "rings stopped");
    counters_.refusals.print(file, "requests refused");
    counters_.refused_lookups.print(file, "lookups refused");
    std::fprintf(file, "in flight: %zu\n", tags_->in_flight());
    print_in_flight(*tags_, file);
    std::fflush(file);
  }

  /// The sink of the TagSet. On the thread that ends the request.
  void operator()(blkown::EndedList<Rq>&& list) {
    if (std::this_thread::get_id() == thread_id_) {
      finish(std::move(list));
      return;
    }
    {
      const std::lock_guard lock{mutex_};
      ended_.append(std::move(list));
    }
    send_signal(wake_);
  }

 private:
  enum Key : std::uint64_t { key_wake, key_store, key_front_end, key_first_kick };

  Device(const DeviceConfig& config, Store& store)
      : store_{store},
        offer_{.disk = store.info(),
               .queues = config.queues,
               .depth = config.depth,
               .needs_seal = config.needs_seal},
        wake_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)} {}

  [[nodiscard]] std::expected<void, std::string> start(const DeviceConfig& config) {
    context_.emplace(QueueContext{*tags_, store_, counters_, poller_, offer_.disk, config.serial});
    for (std::uint32_t i = 0; i != config.queues; ++i) {
      queues_.push_back(
          std::make_unique<Queue>(blkown::QueueIndex{i}, key_first_kick + i, *context_));
    }
    const bool is_watching = poller_.is_open() && poller_.add(wake_.get(), key_wake) &&
                             (store_.wake_fd() < 0 || poller_.add(store_.wake_fd(), key_store));
    if (!is_watching) return std::unexpected(std::string{"out of file descriptors"});
    thread_ = std::thread{[this] { run(); }};
    return {};
  }

  void run() {
    block_sigpipe();
    thread_id_ = std::this_thread::get_id();
    bool has_more = true;
    while (true) {
      poller_.wait(!has_more, [this](std::uint64_t key) { take_event(key); });
      const bool is_stopping = take_inbox();
      if (is_stopping && in_flight() == 0) break;
      if (!front_end_ && !is_stopping) open_next();
      has_more = false;
      serve_front_end();
      const bool is_paused = is_stopping || !front_end_ || is_over_;
      for (const auto& queue : queues_) {
        // While a message waits for a queue, nothing new is begun there.
        if (!is_paused && !front_end_->pauses(*queue) && queue->service()) has_more = true;
      }
      store_.poll();
      for (const auto& queue : queues_) queue->send_call();
      if (front_end_ && front_end_->can_go_on()) has_more = true;
      if (in_flight() == 0 && (is_stopping || is_over_)) has_more = true;
      if (in_flight() == 0 && is_over_) close_front_end();
    }
    for (const auto& queue : queues_) queue->send_call();
    if (front_end_) {
      hang_up();
      close_front_end();
    }
  }

  void take_event(std::uint64_t key) {
    if (key == key_wake || key == key_store) {
      // The count does not matter: the inbox and the store are looked at anyway.
      std::uint64_t count = 0;
      const int fd = key == key_wake ? wake_.get() : store_.wake_fd();
      static_cast<void>(!::read(fd, &count, sizeof(count)));
    } else if (key >= key_first_kick) {
      queues_[key - key_first_kick]->take_kick();
    }
  }

  /// Returns whether the device stops.
  [[nodiscard]] bool take_inbox() {
    blkown::EndedList<Rq> ended;
    bool is_stopping = false;
    {
      const std::lock_guard lock{mutex_};
      ended = std::exchange(ended_, {});
      is_stopping = is_stopping_;
    }
    finish(std::move(ended));
    return is_stopping;
  }

  void finish(blkown::EndedList<Rq> list) {
    while (auto ended = list.pop_front()) {
      Queue& queue = *queues_[ended->queue().value];
      queue.finish(std::move(*ended));
    }
  }

  void open_next() {
    Descriptor socket;
    {
      const std::lock_guard lock{mutex_};
      if (added_.empty()) return;
      socket = std::move(added_.front());
      added_.pop_front();
    }
    counters_.front_ends.add();
    front_end_.emplace(std::move(socket), offer_, queues_, counters_);
    is_over_ = !poller_.add(front_end_->fd(), key_front_end);
  }

  /// Handles messages.
  void serve_front_end() {
    if (!front_end_ || is_over_) return;
    const bool did_wait = front_end_->waits();
    if (const auto served = front_end_->service(); !served) {
      counters_.message_errors.count(served.error());
      hang_up();
    } else if (front_end_->waits() != did_wait) {
      watch_front_end(did_wait);
    }
  }
  /// The socket is not read while a message waits.
  void watch_front_end(bool watches) {
    if (!watches) {
      poller_.remove(front_end_->fd());
    } else if (!poller_.add(front_end_->fd(), key_front_end)) {
      hang_up();
    }
  }

  /// The front end is gone. Its requests end without an answer.
  void hang_up() {
    is_over_ = true;
    poller_.remove(front_end_->fd());
    for (const auto& queue : queues_) queue->abandon();
  }
  void close_front_end() {
    front_end_.reset();
    is_over_ = false;
  }

  [[nodiscard]] std::uint64_t in_flight() const noexcept {
    std::uint64_t sum = 0;
    for (const auto& queue : queues_) sum += queue->in_flight();
    return sum;
  }

  Store& store_;
  bool is_attached_ = false;  // the store, to this device
  const Offer offer_;
  Counters counters_;
  Poller poller_;
  Descriptor wake_;
  std::optional<Tags> tags_;
  std::optional<QueueContext> context_;
  Queues queues_;

  // The thread's. Others read the id: those that have a request, which was started after it was
  // set.
  std::thread::id thread_id_;
  std::optional<FrontEnd> front_end_;
  bool is_over_ = false;  // the front end is gone, and requests of it are in flight

  // Any thread.
  std::mutex mutex_;
  std::deque<Descriptor> added_;
  blkown::EndedList<Rq> ended_;
  bool is_stopping_ = false;
  std::thread thread_;
};

}  // namespace vhost_user_blk

#endif
