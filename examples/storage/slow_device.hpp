// SPDX-License-Identifier: BSL-1.0
//
// SlowDevice: a thread that plays a slow device. It gets ids, keeps each for a delay, and sends
// them back in their order.

#ifndef STORAGE_SLOW_DEVICE_HPP
#define STORAGE_SLOW_DEVICE_HPP

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace storage {

/// The destructor stops the device: make it the last member of the object that completes.
class SlowDevice {
 public:
  using Complete = std::function<void(std::uint64_t id)>;

  SlowDevice() = default;
  SlowDevice(const SlowDevice&) = delete;
  SlowDevice& operator=(const SlowDevice&) = delete;
  ~SlowDevice() { stop(); }

  /// Starts the device, once. It calls `complete` with each id on its own thread, the delay after
  /// send().
  void start(std::chrono::milliseconds delay, Complete complete) {
    delay_ = delay;
    complete_ = std::move(complete);
    thread_ = std::thread{[this] { run(); }};
  }

  /// Gives the device an id. Any thread.
  /// Precondition: the device has started, and was not told to stop.
  void send(std::uint64_t id) {
    {
      const std::lock_guard lock{mutex_};
      sent_.push_back({id, Clock::now() + delay_});
    }
    changed_.notify_one();
  }

  /// Waits until the device has sent back all ids, which it does at once, and ends its thread.
  /// Nothing is done if there is no thread.
  void stop() {
    {
      const std::lock_guard lock{mutex_};
      is_stopping_ = true;
    }
    changed_.notify_one();
    if (thread_.joinable()) thread_.join();
  }

 private:
  using Clock = std::chrono::steady_clock;
  struct Sent {
    std::uint64_t id = 0;
    Clock::time_point due;
  };

  void run() {
    std::unique_lock lock{mutex_};
    while (true) {
      changed_.wait(lock, [this] { return is_stopping_ || !sent_.empty(); });
      if (sent_.empty()) return;
      const Sent next = sent_.front();
      sent_.pop_front();
      changed_.wait_until(lock, next.due, [this] { return is_stopping_; });
      lock.unlock();
      complete_(next.id);
      lock.lock();
    }
  }

  std::chrono::milliseconds delay_{0};
  Complete complete_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Sent> sent_;
  bool is_stopping_ = false;
  std::thread thread_;
};

}  // namespace storage

#endif
