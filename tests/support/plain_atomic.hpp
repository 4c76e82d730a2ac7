// SPDX-License-Identifier: BSL-1.0
//
// An atomic of plain reads and writes, for programs with one thread and without interrupts.
// Included before every header of blkown, this header selects the atomic for the core.

#ifndef BLKOWN_TESTS_SUPPORT_PLAIN_ATOMIC_HPP
#define BLKOWN_TESTS_SUPPORT_PLAIN_ATOMIC_HPP

#ifdef BLKOWN_CONFIG_HPP
#error "plain_atomic.hpp must come before the core"
#endif

#include <atomic>  // std::memory_order

namespace support {

template <class T>
class PlainAtomic {
 public:
  static constexpr bool is_always_lock_free = true;

  PlainAtomic(T value = T{}) noexcept : value_{value} {}
  PlainAtomic(const PlainAtomic&) = delete;
  PlainAtomic& operator=(const PlainAtomic&) = delete;

  [[nodiscard]] T load(std::memory_order) const noexcept { return value_; }
  void store(T value, std::memory_order) noexcept { value_ = value; }
  T fetch_add(T value, std::memory_order) noexcept {
    return replace(static_cast<T>(value_ + value));
  }
  T fetch_sub(T value, std::memory_order) noexcept {
    return replace(static_cast<T>(value_ - value));
  }
  T fetch_or(T value, std::memory_order) noexcept {
    return replace(static_cast<T>(value_ | value));
  }
  T fetch_and(T value, std::memory_order) noexcept {
    return replace(static_cast<T>(value_ & value));
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order order,
                             std::memory_order failure) noexcept {
    return compare_exchange_strong(expected, desired, order, failure);
  }
  bool compare_exchange_strong(T& expected, T desired, std::memory_order,
                               std::memory_order) noexcept {
    if (value_ != expected) {
      expected = value_;
      return false;
    }
    value_ = desired;
    return true;
  }

 private:
  T replace(T value) noexcept {
    const T before = value_;
    value_ = value;
    return before;
  }

  T value_;
};

}  // namespace support

#define BLKOWN_ATOMIC support::PlainAtomic
#define BLKOWN_ATOMIC_NAME plain

#endif
