// SPDX-License-Identifier: BSL-1.0
//
// Runtime: the requirements on a type that runs contexts. Event: a one-shot event to wait for.

#ifndef BLKOWN_MQ_RUNTIME_HPP
#define BLKOWN_MQ_RUNTIME_HPP

#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/detail/sleeper.hpp>
#include <blkown/place.hpp>
#include <concepts>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// An event that is set once and is never cleared.
class Event {
 public:
  /// Sets the event. A waiter may destroy the event at once, because set() touches nothing after
  /// the unlock.
  /// Context: any; the call locks a mutex.
  void set() {
    const std::lock_guard lock{mutex_};
    is_set_ = true;
    happened_.notify_all();
  }
  /// Context: any; the call locks a mutex.
  [[nodiscard]] bool is_set() {
    const std::lock_guard lock{mutex_};
    return is_set_;
  }
  /// Blocks the thread until the event is set.
  void wait() {
    std::unique_lock lock{mutex_};
    happened_.wait(lock, [&] { return is_set_; });
  }
  /// Blocks the thread until the event is set, or the steady clock has reached `deadline_ns`.
  /// Returns whether the event is set.
  [[nodiscard]] bool wait_until(std::uint64_t deadline_ns) {
    std::unique_lock lock{mutex_};
    while (!happened_.wait_until(lock, detail::steady_time_point(deadline_ns),
                                 [&] { return is_set_; })) {
      if (detail::steady_now_ns() >= deadline_ns) return false;
    }
    return true;
  }

 private:
  std::mutex mutex_;
  std::condition_variable happened_;
  bool is_set_ = false;
};

/// A type that has contexts, indexed from 0, and runs them: on threads (ThreadRuntime), on the
/// caller's thread (LoopRuntime), or in an order that a seed chooses (sim::DeterministicRuntime).
/// A runtime outlives the disks, armed timers, queued works and idle hooks on its contexts. Its
/// destructor calls Context::check_unused(), so that the violation names the runtime.
template <class T>
concept Runtime = requires(T& runtime, Event& event) {
  { runtime.context_count() } -> std::same_as<std::uint32_t>;
  { runtime.context(std::uint32_t{}) } -> std::same_as<Context&>;
  { runtime.now_ns() } -> std::same_as<std::uint64_t>;
  // Waits for the event, and runs the contexts if no other thread does. Returns false if nothing is
  // left to run, so that the event cannot happen.
  // Precondition: the caller is on no context that has its own thread, and in no hook and no
  // callback of a disk on a context.
  { runtime.wait_for(event) } -> std::same_as<bool>;
  // The same, but returns false when now_ns() has reached the deadline, too.
  { runtime.wait_until(event, std::uint64_t{}) } -> std::same_as<bool>;
};

namespace detail {

[[noreturn, gnu::cold, gnu::noinline]] inline void violate_wait(const char* operation,
                                                                const Place& where) {
  blkown::detail::violate(
      Violation::wrong_context,
      Incident::of(operation, where)
          .with("a thread of a runtime would wait for its own runtime",
                "wait on a thread of the program's own, or go on in a callback or a Work"));
}
[[noreturn, gnu::cold, gnu::noinline]] inline void violate_wait_in_disk(const char* operation,
                                                                        const char* disk_name,
                                                                        const Place& where) {
  blkown::detail::violate(
      Violation::wrong_context,
      Incident::of(operation, where)
          .with("a hook or a callback of disk '{subject}' would wait for its own context",
                "submit with an end callback, or call it in a Work")
          .about(disk_name));
}

/// Checks that this thread does not wait for itself.
/// Violation: wrong_context, if the thread runs, or is bound to, a context that has its own thread
/// and for which `is_awaited(const Context&)` is true: the context cannot run during the wait.
template <class IsAwaited>
void check_thread_may_wait(IsAwaited is_awaited, const char* operation, const Place& where) {
  for (const Context* const own : {Context::current(), Context::of_thread()}) {
    if (own != nullptr && own->has_own_thread() && is_awaited(*own)) violate_wait(operation, where);
  }
}

/// Checks that the caller may wait for what the runtime's contexts do.
/// Violation: wrong_context, as for check_thread_may_wait(), or if the caller is in a hook or a
/// callback of a disk on one of the contexts. The wait would run the disk's works inside of the
/// callback. Neither those nor what the disk still has to call back can go on before it returns.
template <class Rt>
void check_may_wait(Rt& runtime, const char* operation, const Place& where) {
  Context* const here = Context::current();
  if (here == nullptr) [[likely]]
    return;
  const auto is_its_own = [&](const Context& context) {
    for (std::uint32_t i = 0; i != runtime.context_count(); ++i) {
      if (&runtime.context(i) == &context) return true;
    }
    return false;
  };
  check_thread_may_wait(is_its_own, operation, where);
  if (!is_its_own(*here)) return;
  if (const auto* const disk = here->users().find_busy()) [[unlikely]]
    violate_wait_in_disk(operation, disk->name, where);
}

}  // namespace detail

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
