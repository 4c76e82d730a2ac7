// SPDX-License-Identifier: BSL-1.0
//
// LoopRuntime: contexts that the caller runs, in an event loop, a polling thread or a test.

#ifndef BLKOWN_MQ_LOOP_RUNTIME_HPP
#define BLKOWN_MQ_LOOP_RUNTIME_HPP

#include <blkown/config.hpp>
#include <blkown/detail/saturating.hpp>
#include <blkown/duration.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/detail/sleeper.hpp>
#include <blkown/mq/runtime.hpp>
#include <blkown/place.hpp>
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
  /// Tells the caller's loop to call run(), because another thread has made work. Null: the loop
  /// polls. The function need not be called for work that the loop's own thread has made: the
  /// thread calls run() after its calls of a disk and before it sleeps.
  /// Context: any.
  void (*wake)(void* argument) = nullptr;
};

/// Contexts without threads. One thread calls run(). Other threads may post work, arm timers and
/// drop handles.
/// Precondition: no hook and no callback of a disk on the contexts runs them. A Work, a timer's
/// function and a Control's callback may.
class LoopRuntime {
 public:
  /// Makes `context_count` contexts.
  explicit LoopRuntime(std::uint32_t context_count = 1, const LoopHooks& hooks = {})
      : hooks_{hooks} {
    const bool is_steady = hooks.now_ns == nullptr;
    for (std::uint32_t i = 0; i != context_count; ++i) {
      contexts_.push_back(
          std::make_unique<Context>(ContextHooks{.runtime = this,
                                                 .now_ns = is_steady ? &steady : &clock_of,
                                                 .wake = &wake_of,
                                                 // A caller's loop that has a wake hook sleeps
                                                 // without a call of fall_asleep().
                                                 .announces_sleep = hooks.wake == nullptr,
                                                 .latest_ns = is_steady ? &latest : nullptr},
                                    i));
    }
  }
  LoopRuntime(const LoopRuntime&) = delete;
  LoopRuntime& operator=(const LoopRuntime&) = delete;
  /// Waits until each post and each arm whose work has run no longer uses the runtime, its wake
  /// hook included.
  /// Precondition: the caller is not in the wake hook.
  /// Violation: object_in_use, as for Context::check_unused(): if the caller runs a context, or a
  /// disk, an armed timer, a queued work or an idle hook uses one.
  ~LoopRuntime() {
    for (auto& context : contexts_) {
      context->check_unused("destruction of mq::LoopRuntime", "mq::LoopRuntime");
    }
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
  [[nodiscard]] std::uint64_t now_ns() noexcept {
    return hooks_.now_ns != nullptr ? clock_of(this) : detail::steady_now_ns();
  }

  /// Runs all contexts until nothing is left to run. Returns the number of calls made. Does not
  /// return while each call posts another, as a bio does that submits the next one in its end
  /// callback: see run_some() and run_until().
  std::size_t run() noexcept {
    next_ = 0;
    if (contexts_.size() != 1) return run_some(~std::size_t{0});
    std::size_t total = 0;
    while (const std::size_t count = contexts_.front()->run()) total += count;
    return total;
  }
  /// Runs the contexts in turns until nothing is left to run, or `max_calls` calls were made. If
  /// fewer calls are returned, nothing is left. A call is a run of a Work or of a timer; a call of
  /// the block layer is a batch of bios.
  std::size_t run_some(std::size_t max_calls) noexcept {
    std::size_t total = 0;
    for (std::size_t idle = 0; total != max_calls && idle != contexts_.size();) {
      Context& context = *contexts_[next_];
      if (++next_ == contexts_.size()) next_ = 0;
      const std::size_t left = max_calls - total;
      const std::size_t count = context.run_some(left < turn_calls ? left : turn_calls);
      total += count;
      idle = count == 0 ? idle + 1 : 0;
    }
    return total;
  }
  /// Runs the contexts until nothing is left to run, or now_ns() has reached the deadline. Returns
  /// the number of calls made. Does not sleep.
  std::size_t run_until(std::uint64_t deadline_ns) noexcept {
    std::size_t total = 0;
    while (now_ns() < deadline_ns) {
      const std::size_t count = run_some(turn_calls);
      total += count;
      if (count != turn_calls) break;
    }
    return total;
  }
  /// The same for a duration of std::chrono, which saturates, from now on.
  template <blkown::detail::Duration D>
  std::size_t run_for(const D& duration) noexcept {
    return run_until(blkown::detail::saturating_add(now_ns(), to_ns(duration)));
  }
  /// Runs the contexts until nothing is left to run, or the event is set. Returns whether the event
  /// is set. Does not sleep.
  bool run_until(Event& event) {
    while (!event.is_set()) {
      if (run_some(turn_calls) == 0) return event.is_set();
    }
    return true;
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
  /// Violation: wrong_context, if the caller is in a hook or a callback of a disk on a context.
  bool wait_for(Event& event, Place where = Place::current()) {
    detail::check_may_wait(*this, "mq::LoopRuntime::wait_for", where);
    return wait(event, std::nullopt);
  }
  /// The same, but returns false when now_ns() has reached the deadline, too.
  bool wait_until(Event& event, std::uint64_t deadline_ns, Place where = Place::current()) {
    detail::check_may_wait(*this, "mq::LoopRuntime::wait_until", where);
    return wait(event, deadline_ns);
  }

 private:
  // The calls between two looks at the clock or the event, and in a context's turn.
  static constexpr std::size_t turn_calls = 64;
  static constexpr std::size_t wait_calls = 256;

  bool wait(Event& event, std::optional<std::uint64_t> deadline_ns) {
    while (true) {
      // Bounded, so that endless work does not hide the event.
      const std::size_t count = run_some(wait_calls);
      if (event.is_set()) return true;
      if (deadline_ns.has_value() && now_ns() >= *deadline_ns) return false;
      if (count == wait_calls) continue;
      if (hooks_.now_ns != nullptr) return false;
      const auto next_ns = [&] {
        const auto timer_ns = next_timer_ns();
        if (!timer_ns.has_value() || !deadline_ns.has_value()) {
          return timer_ns.has_value() ? timer_ns : deadline_ns;
        }
        return *timer_ns < *deadline_ns ? timer_ns : deadline_ns;
      };
      static_cast<void>(sleeper_.sleep([this] { return fall_asleep(); }, next_ns));
    }
  }
  [[nodiscard]] bool fall_asleep() noexcept {
    for (auto& context : contexts_) {
      if (!context->fall_asleep()) return false;
    }
    return true;
  }

  static std::uint64_t clock_of(void* self) {
    const LoopHooks& hooks = static_cast<LoopRuntime*>(self)->hooks_;
    return hooks.now_ns(hooks.argument);
  }
  static std::uint64_t steady(void*) { return detail::steady_now_ns(); }
  static std::uint64_t latest(void*) { return detail::steady_latest_ns(); }
  static void wake_of(void* self, std::uint32_t) {
    auto& runtime = *static_cast<LoopRuntime*>(self);
    if (runtime.hooks_.wake != nullptr) runtime.hooks_.wake(runtime.hooks_.argument);
    // Last, because the destructor may return as soon as this call is counted.
    runtime.sleeper_.wake();
  }

  LoopHooks hooks_;
  detail::Sleeper sleeper_;
  std::vector<std::unique_ptr<Context>> contexts_;
  std::size_t next_ = 0;  // the context whose turn is next
};

static_assert(Runtime<LoopRuntime>);

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
