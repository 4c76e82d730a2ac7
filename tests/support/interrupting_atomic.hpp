// SPDX-License-Identifier: BSL-1.0
//
// An atomic that calls a function after a chosen operation, as if the thread had been preempted
// there. Included before every header of blkown, this header selects the atomic for the library.

#ifndef BLKOWN_TESTS_SUPPORT_INTERRUPTING_ATOMIC_HPP
#define BLKOWN_TESTS_SUPPORT_INTERRUPTING_ATOMIC_HPP

#ifdef BLKOWN_CONFIG_HPP
#error "interrupting_atomic.hpp must come before the core"
#endif

#include <atomic>
#include <functional>
#include <utility>

namespace support {

/// What runs between two operations of the code under test. Not synchronized: the tests that
/// interrupt have one thread.
class Interruption {
 public:
  /// Calls `function` after `operations` further atomic operations, once.
  void arm(int operations, std::function<void()> function) {
    left_ = operations;
    function_ = std::move(function);
  }
  /// Forgets the function. Returns whether it was still to come.
  bool disarm() { return std::exchange(function_, nullptr) != nullptr; }
  /// The operations since the function returned.
  [[nodiscard]] int operations_since() const { return since_; }

  void after_operation() {
    ++since_;
    if (function_ == nullptr || --left_ != 0) return;
    std::exchange(function_, nullptr)();
    since_ = 0;
  }

 private:
  int left_ = 0;
  int since_ = 0;
  std::function<void()> function_;
};
inline Interruption interruption;

/// std::atomic<T> with the interruption behind each operation. A weak compare-exchange does not
/// fail spuriously, so that a run can be repeated.
template <class T>
class InterruptingAtomic {
 public:
  static constexpr bool is_always_lock_free = std::atomic<T>::is_always_lock_free;

  InterruptingAtomic(T value = T{}) noexcept : value_{value} {}
  InterruptingAtomic(const InterruptingAtomic&) = delete;
  InterruptingAtomic& operator=(const InterruptingAtomic&) = delete;

  [[nodiscard]] T load(std::memory_order order) const noexcept {
    return interrupted(value_.load(order));
  }
  void store(T value, std::memory_order order) noexcept {
    value_.store(value, order);
    interruption.after_operation();
  }
  T exchange(T value, std::memory_order order) noexcept {
    return interrupted(value_.exchange(value, order));
  }
  T fetch_add(T value, std::memory_order order) noexcept {
    return interrupted(value_.fetch_add(value, order));
  }
  T fetch_sub(T value, std::memory_order order) noexcept {
    return interrupted(value_.fetch_sub(value, order));
  }
  T fetch_or(T value, std::memory_order order) noexcept {
    return interrupted(value_.fetch_or(value, order));
  }
  T fetch_and(T value, std::memory_order order) noexcept {
    return interrupted(value_.fetch_and(value, order));
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order success,
                             std::memory_order failure) noexcept {
    return compare_exchange_strong(expected, desired, success, failure);
  }
  bool compare_exchange_strong(T& expected, T desired, std::memory_order success,
                               std::memory_order failure) noexcept {
    return interrupted(value_.compare_exchange_strong(expected, desired, success, failure));
  }

 private:
  template <class V>
  static V interrupted(V result) noexcept {
    interruption.after_operation();
    return result;
  }

  std::atomic<T> value_;
};

}  // namespace support

#define BLKOWN_ATOMIC support::InterruptingAtomic
#define BLKOWN_ATOMIC_NAME interrupting

#endif
