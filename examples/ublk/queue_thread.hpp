// SPDX-License-Identifier: BSL-1.0
//
// QueueThread: the thread of a queue. It sleeps until the kernel has a command completed, the
// store's device an I/O, or another thread has ended a request.

#ifndef UBLK_QUEUE_THREAD_HPP
#define UBLK_QUEUE_THREAD_HPP

#include <poll.h>
#include <unistd.h>

#include <array>
#include <blkown/blkown.hpp>
#include <cerrno>
#include <cstdint>
#include <ctime>
#include <functional>
#include <future>
#include <span>
#include <thread>
#include <utility>

#include "queue.hpp"
#include "ring_queue.hpp"
#include "store.hpp"

namespace ublk {

namespace detail {

[[nodiscard]] inline std::uint64_t now_ms() noexcept {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1000 +
         static_cast<std::uint64_t>(now.tv_nsec) / 1'000'000;
}

}  // namespace detail

/// Serves a queue until the kernel has taken all its tags back. `store_wake_fd` is that of the
/// store for this queue. Kernel is a KernelQueue with RingQueue's fd(), submit() and take().
/// Precondition: the queue has begun with this store and this kernel.
template <class Kernel>
void run_queue(Queue& queue, int store_wake_fd, Kernel& kernel) {
  std::array<pollfd, 3> watched{pollfd{.fd = kernel.fd(), .events = POLLIN, .revents = 0},
                                pollfd{.fd = queue.wake_fd(), .events = POLLIN, .revents = 0},
                                pollfd{.fd = store_wake_fd, .events = POLLIN, .revents = 0}};
  bool all_sent = kernel.submit();
  while (!queue.is_done()) {
    // What was not sent may be all that the kernel waits for: nothing would wake this thread.
    constexpr int retry_ms = 10;
    ::poll(watched.data(), watched.size(), all_sent ? queue.max_sleep_ms() : retry_ms);
    for (const pollfd& event : std::span{watched}.subspan(1)) {
      std::uint64_t count = 0;
      if (event.revents != 0) static_cast<void>(!::read(event.fd, &count, sizeof(count)));
    }
    queue.set_now(detail::now_ms());
    while (const auto completion = kernel.take()) {
      queue.on_completion(completion->value, completion->result);
    }
    queue.poll();
    all_sent = kernel.submit();
  }
}

class QueueThread {
 public:
  QueueThread(blkown::QueueIndex index, std::uint32_t depth, const Geometry& geometry,
              std::uint32_t timeout_ms)
      : index_{index}, depth_{depth}, queue_{index, depth, geometry, timeout_ms} {}
  QueueThread(const QueueThread&) = delete;
  QueueThread& operator=(const QueueThread&) = delete;
  ~QueueThread() { join(); }

  [[nodiscard]] Queue& queue() noexcept { return queue_; }

  /// Starts the thread, and waits until it has submitted the fetches of all tags. The kernel's own
  /// start of the device waits until they have arrived. `is_over` is called at the end of
  /// the thread, when the kernel has taken all tags back. Called once.
  /// Precondition: the store is attached.
  /// Errors: an errno value; 0 on success. After an error the thread has ended.
  [[nodiscard]] int start(Tags& tags, Store& store, int char_device,
                          std::function<void()> is_over) {
    std::promise<int> fetched;
    std::future<int> result = fetched.get_future();
    thread_ = std::thread{[this, &tags, &store, char_device, over = std::move(is_over),
                           fetched = std::move(fetched)]() mutable {
      RingQueue kernel{char_device, index_, depth_};
      const int error = kernel.open();
      if (error == 0) {
        queue_.begin(tags, store, kernel);
        static_cast<void>(kernel.submit());  // again by run_queue()
      }
      fetched.set_value(error);
      if (error == 0) run_queue(queue_, store.wake_fd(index_), kernel);
      over();
    }};
    return result.get();
  }
  void join() {
    if (thread_.joinable()) thread_.join();
  }

 private:
  blkown::QueueIndex index_;
  std::uint32_t depth_;
  Queue queue_;
  std::thread thread_;
};

}  // namespace ublk

#endif
