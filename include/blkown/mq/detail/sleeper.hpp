// SPDX-License-Identifier: BSL-1.0
//
// The clock and the sleep that the runtimes on real threads share.
//
// Parties: the sleeping thread, which runs one context or several; any thread that posts work to
// them, arms a timer on them, or stops them.
//
//   1. The sleeper runs its contexts until nothing is left to run.
//   2. Context::fall_asleep() on each. If a call fails, work was posted: back to 1.
//   3. The sleeper reads the earliest deadline of its contexts' timers.
//   4. The sleeper waits until wake() or stop() was called, or until that deadline.
//
// Guarantee: no wake-up is lost. A post comes before step 2, which then fails, or the post finds
// the context asleep and calls wake(), which step 4 sees. The same holds for a timer that becomes
// the earliest after step 3: arming that timer calls wake().
//
// The contexts may run a work before the wake() that is for that work is called. The owner of the
// Sleeper therefore calls wait_for_wakes() before it destroys the contexts.

#ifndef BLKOWN_MQ_DETAIL_SLEEPER_HPP
#define BLKOWN_MQ_DETAIL_SLEEPER_HPP

#include <time.h>

#include <blkown/config.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// The steady clock.
[[nodiscard]] inline std::uint64_t steady_now_ns() noexcept {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                        std::chrono::steady_clock::now().time_since_epoch())
                                        .count());
}

#ifdef CLOCK_MONOTONIC_COARSE
[[nodiscard]] inline std::uint64_t ns_of(const timespec& time) noexcept {
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(time.tv_nsec);
}
/// How far the steady clock may be ahead of the coarse one: two ticks, and at least 20 ms.
[[nodiscard]] inline std::uint64_t coarse_margin_ns() noexcept {
  constexpr std::uint64_t min_ns = 20'000'000;
  timespec tick{};
  if (clock_getres(CLOCK_MONOTONIC_COARSE, &tick) != 0) return min_ns;
  const std::uint64_t two_ticks_ns = 2 * ns_of(tick);
  return two_ticks_ns < min_ns ? min_ns : two_ticks_ns;
}
#endif

/// A time that the steady clock has not passed. On Linux that is the last tick and a margin, at a
/// tenth of the clock's price. If a tick is more than the margin late, timers fire late by the
/// difference.
[[nodiscard]] inline std::uint64_t steady_latest_ns() noexcept {
#ifdef CLOCK_MONOTONIC_COARSE
  static const std::uint64_t margin_ns = coarse_margin_ns();
  timespec tick{};
  if (clock_gettime(CLOCK_MONOTONIC_COARSE, &tick) == 0) [[likely]]
    return ns_of(tick) + margin_ns;
#endif
  return steady_now_ns();
}

/// The time point of a number of nanoseconds of the steady clock, but at most an hour from now: the
/// steady clock counts in signed nanoseconds, and condition variables calculate with more than the
/// clock. A waiter that wakes early looks at the clock and waits again.
[[nodiscard]] inline std::chrono::steady_clock::time_point steady_time_point(
    std::uint64_t due_ns) noexcept {
  const std::uint64_t latest_ns = steady_now_ns() + 3'600'000'000'000;
  return std::chrono::steady_clock::time_point{
      std::chrono::nanoseconds{due_ns < latest_ns ? due_ns : latest_ns}};
}

/// The sleep of one thread that runs contexts.
class Sleeper {
 public:
  /// Ends the present sleep or the next one.
  /// Context: any; the call locks a mutex.
  void wake() {
    // Notified under the mutex, because the sleeper may be destroyed as soon as its thread has seen
    // the flag.
    const std::lock_guard lock{mutex_};
    is_woken_ = true;
    ++wakes_;
    changed_.notify_one();
  }
  /// Blocks until wake() was called `count` times: the sum of the contexts' wake_calls(). No post
  /// whose work has run uses the contexts or the Sleeper any more.
  /// Precondition: no thread sleeps here.
  void wait_for_wakes(std::uint64_t count) {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [&] { return wakes_ >= count; });
  }
  /// Ends this sleep and all later ones.
  /// Context: any; the call locks a mutex.
  void stop() {
    const std::lock_guard lock{mutex_};
    is_stopped_ = true;
    changed_.notify_one();
  }

  /// Steps 2 to 4. `fall_asleep()` calls Context::fall_asleep() on each context and returns whether
  /// all succeeded. `next_timer_ns()` returns the earliest deadline, or none. Returns whether
  /// stop() was called; false if the contexts did not fall asleep.
  /// Precondition: nothing is left to run.
  /// Context: the sleeping thread.
  template <class FallAsleep, class NextTimer>
  bool sleep(FallAsleep fall_asleep, NextTimer next_timer_ns) {
    if (!fall_asleep()) return false;
    const std::optional<std::uint64_t> due_ns = next_timer_ns();
    std::unique_lock lock{mutex_};
    const auto is_called = [&] { return is_woken_ || is_stopped_; };
    if (due_ns.has_value()) {
      changed_.wait_until(lock, steady_time_point(*due_ns), is_called);
    } else {
      changed_.wait(lock, is_called);
    }
    is_woken_ = false;
    return is_stopped_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t wakes_ = 0;
  bool is_woken_ = false;
  bool is_stopped_ = false;
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
