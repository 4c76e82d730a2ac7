// SPDX-License-Identifier: BSL-1.0
//
// ThreadDevice: worker threads as the device. The workers take commands from one queue, and put the
// completions into another.

#ifndef URING_COPY_THREAD_DEVICE_HPP
#define URING_COPY_THREAD_DEVICE_HPP

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <expected>
#include <mutex>
#include <span>
#include <system_error>
#include <thread>
#include <vector>

#include "device.hpp"

namespace uring_copy {

class ThreadDevice final : public Device {
 public:
  ThreadDevice(int source_fd, int destination_fd)
      : source_fd_{source_fd}, destination_fd_{destination_fd} {}

  ~ThreadDevice() override {
    {
      const std::lock_guard lock{mutex_};
      stopping_ = true;
    }
    work_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  /// Starts worker threads. Called once.
  [[nodiscard]] std::expected<void, int> start(std::uint32_t count) {
    try {
      for (std::uint32_t i = 0; i != count; ++i) workers_.emplace_back([this] { work(); });
    } catch (const std::system_error& error) {
      // The threads that did start are enough.
      if (workers_.empty()) return std::unexpected(error.code().value());
    }
    return {};
  }

  [[nodiscard]] std::expected<void, int> issue(const Command& command,
                                               std::uint64_t cookie) override {
    {
      const std::lock_guard lock{mutex_};
      queued_.push_back({command, id_of(Entry::io, cookie)});
    }
    ++outstanding_;
    work_.notify_one();
    return {};
  }

  /// As in io_uring, a command that no worker has begun ends with ECANCELED, and the cancel has a
  /// completion of its own.
  [[nodiscard]] std::expected<void, int> cancel(std::uint64_t cookie) override {
    const std::lock_guard lock{mutex_};
    const auto found = std::ranges::find(queued_, id_of(Entry::io, cookie), &Queued::value);
    const bool cancelled = found != queued_.end();
    if (cancelled) {
      done_.push_back({found->value, -ECANCELED});
      queued_.erase(found);
    }
    done_.push_back({id_of(Entry::cancel, cookie), cancelled ? 0 : -EALREADY});
    ++outstanding_;
    return {};
  }

  [[nodiscard]] std::expected<void, int> submit() override { return {}; }

  [[nodiscard]] std::expected<std::span<const Completion>, int> reap() override {
    completions_.clear();
    std::unique_lock lock{mutex_};
    completed_.wait_for(lock, std::chrono::milliseconds{100}, [this] { return !done_.empty(); });
    completions_.swap(done_);
    outstanding_ -= completions_.size();
    return completions_;
  }

  [[nodiscard]] std::size_t outstanding() const noexcept override { return outstanding_; }

 private:
  struct Queued {
    Command command;
    std::uint64_t value = 0;
  };

  void work() {
    std::unique_lock lock{mutex_};
    while (true) {
      work_.wait(lock, [this] { return stopping_ || !queued_.empty(); });
      if (stopping_) return;
      const Queued next = queued_.front();
      queued_.pop_front();
      lock.unlock();
      const int result = execute(next.command);
      lock.lock();
      done_.push_back({next.value, result});
      completed_.notify_one();
    }
  }

  [[nodiscard]] int execute(const Command& command) const noexcept {
    const auto offset = static_cast<off_t>(command.offset_bytes);
    const blkown::Segment memory = memory_at(command.memory);
    const ssize_t moved = command.operation == Operation::read
                              ? pread(source_fd_, memory.data, memory.length_bytes, offset)
                              : pwrite(destination_fd_, memory.data, memory.length_bytes, offset);
    return moved < 0 ? -errno : static_cast<int>(moved);
  }

  int source_fd_;
  int destination_fd_;
  std::size_t outstanding_ = 0;          // the copier's thread only
  std::vector<Completion> completions_;  // the copier's thread only

  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable completed_;
  std::deque<Queued> queued_;
  std::vector<Completion> done_;
  bool stopping_ = false;

  std::vector<std::thread> workers_;
};

}  // namespace uring_copy

#endif
