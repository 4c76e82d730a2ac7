// SPDX-License-Identifier: BSL-1.0
//
// LoopRuntime: contexts that the caller runs, in an event loop, a polling thread or a test.

#ifndef BLKOWN_MQ_LOOP_RUNTIME_HPP
#define BLKOWN_MQ_LOOP_RUNTIME_HPP

#include <blkown/config.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/detail/sleeper.hpp>
#include <blkown/mq/runtime.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// The functions that connect a LoopRuntime to the caller's loop.
struct LoopHooks {
  void* argument = nullptr;  ///< The argument of the functions.
  /// The clock. Null: the steady clock.
  std::uint64_t (*now_ns)(void* argument) = nullptr;
  /// Tells the caller's loop to call run(), because work was posted. Null: the loop polls.
  /// Context: any.
  void (*wake)(void* argument) = nullptr;
};

/// Contexts without threads. One thread calls run(). Other threads may post work, arm timers and
/// drop handles.
class LoopRuntime {
 public:
  /// Makes `context_count` contexts.
  explicit LoopRuntime(std::uint32_t context_count = 1, const LoopHooks& hooks = {})
      : hooks_{hooks} {
    for (std::uint32_t i = 0; i != context_count; ++i) {
      contexts_.push_back(
          std::make_unique<Context>(ContextHooks{.runtime = this,
                                                 .now_ns = &clock_of,
                                                 .wake = &wake_of,
                                                 // A caller's loop that has a wake hook sleeps
                                                 // without a call of fall_asleep().
                                                 .announces_sleep = hooks.wake == nullptr},
                                    i));
    }
  }
  LoopRuntime(const LoopRuntime&) = delete;
  LoopRuntime& operator=(const LoopRuntime&) = delete;
  /// Waits until each post and each arm whose work has run no longer uses the runtime, its wake
  /// hook included.
  /// Precondition: the caller is not in the wake hook.
  ~LoopRuntime() {
    std::uint64_t count = 0;
    for (auto& context : contexts_) count += context->wake_calls();
    sleeper_.wait_for_wakes(count);
  }

  /// The number of contexts.
  [[nodiscard]] std::uint32_t context_count() const noexcept {
    return static_cast<std::uint32_t>(contexts_.size());
  }
  /// The context with this index.
  [[nodiscard]] Context& context(std::uint32_t index) noexcept { return *contexts_[index]; }
  /// The time of LoopHooks::now_ns, or of the steady clock.
  [[nodiscard]] std::uint64_t now_ns() noexcept { return clock_of(this); }

  /// Runs all contexts until nothing is left to run. Returns the number of calls made.
  std::size_t run() noexcept {
    std::size_t total = 0;
    while (true) {
      std::size_t count = 0;
      for (auto& context : contexts_) count += context->run();
      if (count == 0) return total;
      total += count;
    }
  }

  /// The time by which the caller must call run() again, or none if no timer is armed.
  [[nodiscard]] std::optional<std::uint64_t> next_timer_ns() noexcept {
    std::optional<std::uint64_t> next;
    for (auto& context : contexts_) {
      const auto own = context->next_timer_ns();
      if (own.has_value() && (!next.has_value() || *own < *next)) next = own;
    }
    return next;
  }

  /// Runs the contexts until the event is set, and sleeps while nothing is left to run. With
  /// LoopHooks::now_ns the function does not sleep, and returns false if nothing is left to run.
  bool wait_for(Event& event) {
    while (true) {
      run();
      if (event.is_set()) return true;
      if (hooks_.now_ns != nullptr) return false;
      static_cast<void>(
          sleeper_.sleep([this] { return fall_asleep(); }, [this] { return next_timer_ns(); }));
    }
  }

 private:
  [[nodiscard]] bool fall_asleep() noexcept {
    for (auto& context : contexts_) {
      if (!context->fall_asleep()) return false;
    }
    return true;
  }

  static std::uint64_t clock_of(void* self) {
    const LoopHooks& hooks = static_cast<LoopRuntime*>(self)->hooks_;
    return hooks.now_ns != nullptr ? hooks.now_ns(hooks.argument) : detail::steady_now_ns();
  }
  static void wake_of(void* self, std::uint32_t) {
    auto& runtime = *static_cast<LoopRuntime*>(self);
    if (runtime.hooks_.wake != nullptr) runtime.hooks_.wake(runtime.hooks_.argument);
    // Last, because the destructor may return as soon as this call is counted.
    runtime.sleeper_.wake();
  }

  LoopHooks hooks_;
  detail::Sleeper sleeper_;
  std::vector<std::unique_ptr<Context>> contexts_;
};

static_assert(Runtime<LoopRuntime>);

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
