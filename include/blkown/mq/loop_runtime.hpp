// SPDX-License-Identifier: BSL-1.0
//
// Contexts that the caller runs: in an event loop, a polling thread, a test.

#ifndef BLKOWN_MQ_LOOP_RUNTIME_HPP
#define BLKOWN_MQ_LOOP_RUNTIME_HPP

#include <algorithm>
#include <blkown/config.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/runtime.hpp>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// How a caller-pumped runtime is embedded.
struct LoopHooks {
  void* argument = nullptr;
  /// The clock; without one, the steady clock.
  std::uint64_t (*now_ns)(void* argument) = nullptr;
  /// Another thread has posted work: the loop that sleeps should call run(). Any thread; null: the
  /// loop polls.
  void (*wake)(void* argument) = nullptr;
};

/// Contexts without threads. One thread calls run(); others may post, arm timers, and drop handles.
class LoopRuntime {
 public:
  explicit LoopRuntime(std::uint32_t context_count = 1, const LoopHooks& hooks = {})
      : hooks_{hooks} {
    for (std::uint32_t i = 0; i != context_count; ++i) {
      contexts_.push_back(std::make_unique<Context>(
          ContextHooks{.runtime = this,
                       .now_ns = &clock_of,
                       .wake = &wake_of,
                       // An embedder's loop sleeps where this one cannot see it.
                       .announces_sleep = hooks.wake == nullptr},
          i));
    }
  }
  LoopRuntime(const LoopRuntime&) = delete;
  LoopRuntime& operator=(const LoopRuntime&) = delete;

  [[nodiscard]] std::uint32_t context_count() const noexcept {
    return static_cast<std::uint32_t>(contexts_.size());
  }
  [[nodiscard]] Context& context(std::uint32_t index) noexcept { return *contexts_[index]; }
  [[nodiscard]] std::uint64_t now_ns() noexcept { return clock_of(this); }

  /// Runs everything that is due or posted on any context, until nothing is left. Returns how many
  /// pieces it ran.
  std::size_t run() noexcept {
    std::size_t total = 0;
    while (true) {
      std::size_t count = 0;
      for (auto& context : contexts_) count += context->run();
      if (count == 0) return total;
      total += count;
    }
  }

  /// When run() has to be called at the latest, if any timer is armed.
  [[nodiscard]] std::optional<std::uint64_t> next_timer_ns() noexcept {
    std::optional<std::uint64_t> next;
    for (auto& context : contexts_) {
      const auto own = context->next_timer_ns();
      if (own.has_value() && (!next.has_value() || *own < *next)) next = own;
    }
    return next;
  }

  /// Runs until the event has happened, sleeping while there is nothing to run; other threads wake
  /// it by what they post. With a clock of the caller's own it does not sleep: false if nothing is
  /// left to run.
  bool wait_for(Event& event) {
    while (true) {
      run();
      if (event.is_set()) return true;
      if (hooks_.now_ns != nullptr) return false;
      if (!fall_asleep()) continue;
      const auto next_ns = next_timer_ns();
      std::unique_lock lock{mutex_};
      const auto is_called = [&] { return std::exchange(is_woken_, false); };
      if (next_ns.has_value()) {
        const std::chrono::steady_clock::time_point due{std::chrono::nanoseconds{*next_ns}};
        woken_.wait_until(lock, due, is_called);
      } else {
        woken_.wait(lock, is_called);
      }
    }
  }

 private:
  /// False if there is something to run.
  [[nodiscard]] bool fall_asleep() noexcept {
    for (auto& context : contexts_) {
      if (!context->fall_asleep()) return false;
    }
    return true;
  }

  static std::uint64_t clock_of(void* self) {
    const LoopHooks& hooks = static_cast<LoopRuntime*>(self)->hooks_;
    if (hooks.now_ns != nullptr) return hooks.now_ns(hooks.argument);
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                          std::chrono::steady_clock::now().time_since_epoch())
                                          .count());
  }
  static void wake_of(void* self, std::uint32_t) {
    auto& runtime = *static_cast<LoopRuntime*>(self);
    {
      const std::lock_guard lock{runtime.mutex_};
      runtime.is_woken_ = true;
    }
    runtime.woken_.notify_one();
    if (runtime.hooks_.wake != nullptr) runtime.hooks_.wake(runtime.hooks_.argument);
  }

  LoopHooks hooks_;
  std::mutex mutex_;
  std::condition_variable woken_;
  bool is_woken_ = false;
  std::vector<std::unique_ptr<Context>> contexts_;
};

static_assert(Runtime<LoopRuntime>);

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
