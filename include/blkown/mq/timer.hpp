// SPDX-License-Identifier: BSL-1.0
//
// Timer and Alarm: a call on a context at a deadline, with a handle or without.
//
// Parties: the thread that arms, cancels or destroys, which may be any; the context that the timer
// is armed on, which fires it.
//
//   armed    the node's `armed_on` is the context, and the node is in that context's TimerQueue.
//            Both change only with that context's timer mutex held.
//   arm      null -> context by a compare-exchange, so that one of several arms wins. The exchange
//            acquires the last access of the fire or the cancel that disarmed the node.
//   cancel   reads `armed_on`, locks its mutex, and reads again: the timer may have fired and been
//            armed on another context before the lock was taken. The cancel then removes the node,
//            takes the handle, and disarms the node last.
//   fire     the context removes the node, takes the handle, the function and the argument, and
//            disarms the node last, all with the mutex held. The context unlocks, and then calls
//            the function.
//
// Guarantees: each armed handle goes to exactly one of cancel() and the function. The function is
// called on the context, not before the deadline. From the disarm on, neither firing nor cancelling
// touches the timer. The function or another thread may therefore destroy the timer or arm it
// again, on any context, while its function is called. The context must outlive all calls of
// cancel() and the destructor that may find the timer armed on it. A context that is destroyed
// while a timer is armed on it is a violation.
//
// cancel() and the destructor do not wait for a call that has begun. To wait for such a call,
// cancel the timer, post a Work to its context, and wait until the Work has run.
// ThreadRuntime::run_on posts such a Work and waits.
// Source: the kernel's del_timer_sync.

#ifndef BLKOWN_MQ_TIMER_HPP
#define BLKOWN_MQ_TIMER_HPP

#include <atomic>
#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/handle_base.hpp>
#include <blkown/detail/poison.hpp>
#include <blkown/detail/saturating.hpp>
#include <blkown/duration.hpp>
#include <blkown/fwd.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/detail/timer_queue.hpp>
#include <blkown/place.hpp>
#include <blkown/request.hpp>
#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

namespace detail {

/// The common part of Timer and Alarm: being armed on a context.
class TimerBase : private TimerNode {
 public:
  TimerBase(const TimerBase&) = delete;
  TimerBase& operator=(const TimerBase&) = delete;

 protected:
  using TimerNode::disarm;
  using TimerNode::Lock;

  /// `Derived::fire(Derived&, Lock&)` and `Derived::name` are those of the TimerKind.
  template <class Derived>
  struct KindOf {};

  template <class Derived>
  explicit TimerBase(KindOf<Derived>) noexcept : TimerNode{kind_of<Derived>} {}
  ~TimerBase() = default;

  /// Arms the node. Calls `store` with the timers locked.
  /// Violation: object_in_use, if the node is armed.
  template <class Store>
  void arm_node(Context& context, std::uint64_t delay_ns, const char* operation, const Place& where,
                Store store) noexcept {
    const std::uint64_t due_ns = blkown::detail::saturating_add(context.now_ns(), delay_ns);
    Lock lock{context.timer_mutex_};
    // null -> context, by exactly one of several callers. Partner: disarm. Acquire: the thread that
    // disarmed the node may have held another context's mutex. Its accesses to the node come before
    // those below. Relaxed on failure: nothing is read.
    Context* unarmed = nullptr;
    if (!armed_on.compare_exchange_strong(unarmed, &context, std::memory_order_acquire,
                                          std::memory_order_relaxed)) [[unlikely]] {
      lock.unlock();
      violate_armed(operation, where);
    }
    store();
    context.timers_.add(*this, due_ns);
    const bool is_first = context.timers_.first() == this;
    if (is_first) context.is_first_timer_new_.set(true);
    const bool needs_wake = is_first && Context::current() != &context;
    if (needs_wake) ++context.arm_wakes_;
    lock.unlock();
    if (needs_wake) {
      context.hooks_.wake(context.hooks_.runtime, context.index_);
    }
  }

  /// Calls `take` with the timers locked, and disarms the node. Returns false, without a call, if
  /// the node is not armed or has fired.
  template <class Take>
  bool cancel_node(Take take) noexcept {
    // No transition. Partner: disarm. Acquire: if the node is not armed, the caller may destroy the
    // node, after the last access of the thread that disarmed the node.
    while (Context* const found = armed_on.load(std::memory_order_acquire)) {
      const std::lock_guard lock{found->timer_mutex_};
      // The timer may have fired, and be armed on another context. Relaxed: the pointer changes
      // only with the mutex of the context that it names, and that of `found` is held.
      if (armed_on.load(std::memory_order_relaxed) != found) continue;
      if (found->timers_.first() == this) found->is_first_timer_new_.set(true);
      found->timers_.remove(*this);
      take();
      disarm();
      return true;
    }
    return false;
  }

 private:
  template <class Derived>
  static void fire_derived(TimerNode& node, Lock& lock) {
    Derived::fire(static_cast<Derived&>(static_cast<TimerBase&>(node)), lock);
  }
  template <class Derived>
  static constexpr TimerKind kind_of{&fire_derived<Derived>, Derived::name};

  [[noreturn, gnu::cold, gnu::noinline]] static void violate_armed(const char* operation,
                                                                   const Place& where) {
    blkown::detail::violate(Violation::object_in_use,
                            Incident::of(operation, where)
                                .with("a timer was armed that is armed", "cancel() it first"));
  }
};

}  // namespace detail

/// Owns a handle until it fires or is cancelled: a timeout that holds an ARef, or a delayed
/// completion that holds an Owned or a Claim. Firing calls the function on the context with the
/// handle. A Timer may be a member of its request's data: once the function is called, the library
/// does not touch the Timer.
/// Synchronization: any thread may cancel, destroy or arm a Timer that another thread fires. Calls
/// of different threads to arm() and the destructor are not ordered by the Timer.
/// Source: the kernel's hrtimer with an ARef, except that cancelling returns the reference.
template <class Handle>
class Timer : private detail::TimerBase {
 public:
  using Function = void (*)(void* argument, Handle&& handle);

  /// Makes a timer that is not armed. Firing calls function(argument, handle).
  Timer(Function function, void* argument) noexcept
      : TimerBase{KindOf<Timer>{}}, function_{function}, argument_{argument} {}
  /// Cancels the timer and drops the handle. Does not wait for a function that has the handle: see
  /// the top of this file for a way to wait.
  ~Timer() { static_cast<void>(cancel()); }

  /// Makes the context call the function with the handle after `delay_ns`. A delay that reaches
  /// past the end of the clock never ends: the timer is armed until it is cancelled.
  /// Violation: object_in_use, if the timer is armed.
  /// Context: any; the call locks a mutex.
  void arm(Context& context, std::uint64_t delay_ns, Handle&& handle,
           Place where = Place::current()) noexcept {
    open_hole(handle);
    arm_node(context, delay_ns, "mq::Timer::arm", where,
             [&] { handle_.emplace(std::move(handle)); });
  }
  /// The same with a duration of std::chrono, which saturates.
  template <blkown::detail::Duration D>
  void arm(Context& context, const D& delay, Handle&& handle,
           Place where = Place::current()) noexcept {
    arm(context, to_ns(delay), std::move(handle), where);
  }

  /// Disarms the timer and returns the handle. Returns none if the timer was not armed, or if the
  /// function has the handle or is about to get the handle. Does not wait for the function: see the
  /// top of this file for a way to wait.
  /// Context: any; the call locks a mutex.
  [[nodiscard]] std::optional<Handle> cancel() noexcept {
    std::optional<Handle> handle;
    cancel_node([&] { handle = take(); });
    return handle;
  }

 private:
  friend class detail::TimerBase;

  static constexpr const char* name = "an mq::Timer";

  [[nodiscard]] std::optional<Handle> take() noexcept {
    return std::exchange(handle_, std::nullopt);
  }

  /// Exempts the timer from the poison of the request's data, if it lies there: the context uses
  /// the timer while the request is published.
  template <class R>
  void open_hole(const ARef<R>& pin) noexcept {
    if constexpr (RequestType<R>) {
      R* const request = blkown::detail::HandleAccess::look(pin);
      if (request != nullptr) hole_.open(*request, this, this + 1);
    }
  }
  template <class Other>
  void open_hole(const Other&) noexcept {}

  static void fire(Timer& self, Lock& lock) {
    std::optional<Handle> handle = self.take();
    const Function function = self.function_;
    void* const argument = self.argument_;
    self.disarm();
    lock.unlock();
    function(argument, *std::move(handle));
  }

  Function function_;
  void* argument_;
  std::optional<Handle> handle_;
  [[no_unique_address]] blkown::detail::PoisonHole hole_;
};

/// Calls a function on a context after a delay, without a handle.
class Alarm : private detail::TimerBase {
 public:
  /// `alarm` is valid as long as the owner keeps it: cancel() and the destructor do not wait for a
  /// running call.
  using Function = void (*)(void* argument, Alarm& alarm);

  /// Makes an alarm that is not armed. Firing calls function(argument, *this).
  Alarm(Function function, void* argument) noexcept
      : TimerBase{KindOf<Alarm>{}}, function_{function}, argument_{argument} {}
  /// Cancels the alarm. Does not wait for a call that has begun: see the top of this file for a way
  /// to wait.
  ~Alarm() { cancel(); }

  /// Makes the context call the function after `delay_ns`. A delay that reaches past the end of the
  /// clock never ends: the alarm is armed until it is cancelled.
  /// Violation: object_in_use, if the alarm is armed.
  /// Context: any; the call locks a mutex.
  void arm(Context& context, std::uint64_t delay_ns, Place where = Place::current()) noexcept {
    arm_node(context, delay_ns, "mq::Alarm::arm", where, [] {});
  }
  /// The same with a duration of std::chrono, which saturates.
  template <blkown::detail::Duration D>
  void arm(Context& context, const D& delay, Place where = Place::current()) noexcept {
    arm(context, to_ns(delay), where);
  }
  /// Disarms the alarm. Returns false if the alarm was not armed, or if its function is called or
  /// about to be called. Does not wait for the function: see the top of this file for a way to
  /// wait.
  /// Context: any; the call locks a mutex.
  bool cancel() noexcept {
    return cancel_node([] {});
  }

 private:
  friend class detail::TimerBase;

  static constexpr const char* name = "an mq::Alarm";

  static void fire(Alarm& self, Lock& lock) {
    const Function function = self.function_;
    void* const argument = self.argument_;
    self.disarm();
    lock.unlock();
    function(argument, self);
  }

  Function function_;
  void* argument_;
};

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
