// SPDX-License-Identifier: BSL-1.0
//
// Who runs contexts; and waiting for one thing to happen, whoever does.

#ifndef BLKOWN_MQ_RUNTIME_HPP
#define BLKOWN_MQ_RUNTIME_HPP

#include <blkown/config.hpp>
#include <blkown/mq/context.hpp>
#include <concepts>
#include <condition_variable>
#include <mutex>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// Happens once; then it has happened.
class Event {
 public:
  /// Any context. The event may be gone as soon as a waiter has seen it: nothing is touched after
  /// the mutex is free.
  void set() {
    const std::lock_guard lock{mutex_};
    is_set_ = true;
    happened_.notify_all();
  }
  [[nodiscard]] bool is_set() {
    const std::lock_guard lock{mutex_};
    return is_set_;
  }
  /// Blocks the thread.
  void wait() {
    std::unique_lock lock{mutex_};
    happened_.wait(lock, [&] { return is_set_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable happened_;
  bool is_set_ = false;
};

/// Something with contexts, indexed from 0, that runs them: threads (ThreadRuntime), the caller
/// (LoopRuntime), or a seed (sim::DeterministicRuntime).
template <class T>
concept Runtime = requires(T& runtime, Event& event) {
  { runtime.context_count() } -> std::same_as<std::uint32_t>;
  { runtime.context(std::uint32_t{}) } -> std::same_as<Context&>;
  { runtime.now_ns() } -> std::same_as<std::uint64_t>;
  // Waits for the event, running the contexts if nobody else does. Not to be called on a context.
  // False if nothing is left to run, so that it will not happen.
  { runtime.wait_for(event) } -> std::same_as<bool>;
};

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
