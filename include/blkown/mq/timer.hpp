// SPDX-License-Identifier: BSL-1.0
//
// Timer: keeps a handle until its time has come, or until it is cancelled.

#ifndef BLKOWN_MQ_TIMER_HPP
#define BLKOWN_MQ_TIMER_HPP

#include <blkown/config.hpp>
#include <blkown/mq/context.hpp>
#include <mutex>
#include <optional>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// What Timer and Alarm have in common: being due on a context.
class TimerNode : private detail::TimerLink {
 public:
  TimerNode(const TimerNode&) = delete;
  TimerNode& operator=(const TimerNode&) = delete;

 protected:
  using Lock = std::unique_lock<std::mutex>;
  /// Called with the context's timers locked; takes out what it needs, unlocks, and goes on. From
  /// the unlocking on the timer may be armed again, or gone.
  using Fire = void (*)(TimerNode& node, Lock& lock);

  explicit TimerNode(Fire fire) noexcept : fire_{fire} {}
  ~TimerNode() = default;

  /// `store` is called with the timers locked. False if it is armed already.
  template <class Store>
  [[nodiscard]] bool arm_node(Context& context, std::uint64_t delay_ns, Store store) noexcept {
    const std::uint64_t due_ns = context.now_ns() + delay_ns;
    bool is_first = false;
    {
      const std::lock_guard lock{context.timer_mutex_};
      // null -> context: armed, by one of those who try. Relaxed: what it guards is read and
      // written with the mutex of the context that it names.
      Context* unarmed = nullptr;
      if (!context_.compare_exchange_strong(unarmed, &context, std::memory_order_relaxed,
                                            std::memory_order_relaxed)) {
        return false;
      }
      store();
      context.timers_.add(*this, due_ns);
      is_first = context.timers_.first() == this;
      if (is_first) context.is_first_timer_new_.set(true);
    }
    if (is_first && Context::current() != &context) {
      context.hooks_.wake(context.hooks_.runtime, context.index_);
    }
    return true;
  }

  /// `take` is called with the timers locked, if it was armed. False if not, or if it has fired.
  template <class Take>
  bool cancel_node(Take take) noexcept {
    // No transition. Relaxed: decided with the mutex.
    while (Context* const context = context_.load(std::memory_order_relaxed)) {
      const std::lock_guard lock{context->timer_mutex_};
      // It may have fired, and be armed on another context by now. Relaxed: changed with the mutex
      // of the context that it names, and of this one that is held here.
      if (context_.load(std::memory_order_relaxed) != context) continue;
      if (context->timers_.first() == this) context->is_first_timer_new_.set(true);
      context->timers_.remove(*this);
      disarm();
      take();
      return true;
    }
    return false;
  }

 private:
  friend class Context;

  /// With the mutex of the context that it was armed on.
  void disarm() noexcept {
    // context -> null. Relaxed: as above.
    context_.store(nullptr, std::memory_order_relaxed);
  }

  Fire fire_;
  Atomic<Context*> context_{nullptr};
};

/// Owns a handle until it fires or is cancelled: a timeout that holds an ARef, a delayed completion
/// that holds the Owned or the Claim. Armed on a context, it calls its function there with the
/// handle. (The kernel's hrtimer with an ARef; but a dismissed timer gives the reference back.)
///
/// It may live in the request's own data: from the moment its function is called nobody touches it
/// but the driver.
template <class Handle>
class Timer : private TimerNode {
 public:
  using Function = void (*)(void* argument, Handle&& handle);

  Timer(Function function, void* argument) noexcept
      : TimerNode{&fire}, function_{function}, argument_{argument} {}
  /// Cancels it, and drops the handle, which does what its destructor does.
  ~Timer() { static_cast<void>(cancel()); }

  /// In `delay_ns` the function is called on the context with the handle. Any context.
  /// Violation: it is armed.
  void arm(Context& context, std::uint64_t delay_ns, Handle&& handle,
           Place where = Place::current()) noexcept {
    if (!arm_node(context, delay_ns, [&] { handle_.emplace(std::move(handle)); })) {
      Incident incident;
      incident.operation = "mq::Timer::arm";
      incident.place = where;
      blkown::detail::violate(Violation::object_in_use, incident);
    }
  }

  /// The handle back; none if it was not armed, or if the function has the handle, or is about to
  /// get it. Never both. Any context.
  [[nodiscard]] std::optional<Handle> cancel() noexcept {
    std::optional<Handle> handle;
    cancel_node([&] { handle = take(); });
    return handle;
  }

 private:
  [[nodiscard]] std::optional<Handle> take() noexcept {
    return std::exchange(handle_, std::nullopt);
  }

  static void fire(TimerNode& node, Lock& lock) {
    auto& self = static_cast<Timer&>(node);
    std::optional<Handle> handle = self.take();
    const Function function = self.function_;
    void* const argument = self.argument_;
    lock.unlock();
    function(argument, *std::move(handle));
  }

  Function function_;
  void* argument_;
  std::optional<Handle> handle_;
};

/// A call on a context after a while, without a handle.
class Alarm : private TimerNode {
 public:
  using Function = void (*)(void* argument, Alarm& alarm);

  Alarm(Function function, void* argument) noexcept
      : TimerNode{&fire}, function_{function}, argument_{argument} {}
  ~Alarm() { cancel(); }

  /// Any context. Violation: it is armed.
  void arm(Context& context, std::uint64_t delay_ns, Place where = Place::current()) noexcept {
    if (!arm_node(context, delay_ns, [] {})) {
      Incident incident;
      incident.operation = "mq::Alarm::arm";
      incident.place = where;
      blkown::detail::violate(Violation::object_in_use, incident);
    }
  }
  /// False if it was not armed, or if the function is called or about to be. Any context.
  bool cancel() noexcept {
    return cancel_node([] {});
  }

 private:
  static void fire(TimerNode& node, Lock& lock) {
    auto& self = static_cast<Alarm&>(node);
    const Function function = self.function_;
    void* const argument = self.argument_;
    lock.unlock();
    function(argument, self);
  }

  Function function_;
  void* argument_;
};

inline bool Context::fire_due_timer() noexcept {
  if (!may_timer_be_due()) return false;
  std::unique_lock lock{timer_mutex_};
  detail::TimerLink* const link = due_timer();
  if (link == nullptr) return false;
  timers_.remove(*link);
  look_at_first_timer();
  auto& node = static_cast<TimerNode&>(*link);
  node.disarm();
  node.fire_(node, lock);
  return true;
}

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
