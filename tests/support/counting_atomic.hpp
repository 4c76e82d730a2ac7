// SPDX-License-Identifier: BSL-1.0
//
// An atomic that counts its operations. Included before every header of blkown, this header selects
// the atomic for the core.

#ifndef BLKOWN_TESTS_SUPPORT_COUNTING_ATOMIC_HPP
#define BLKOWN_TESTS_SUPPORT_COUNTING_ATOMIC_HPP

#ifdef BLKOWN_CONFIG_HPP
#error "counting_atomic.hpp must come before the core"
#endif

#include <atomic>
#include <cstdint>

namespace support {

struct AtomicCounts {
  std::uint64_t loads = 0;
  std::uint64_t stores = 0;
  std::uint64_t rmws = 0;  ///< Read-modify-writes; each try of a compare-exchange counts.
  friend bool operator==(const AtomicCounts&, const AtomicCounts&) = default;
};

/// The operations so far. Not synchronized: the tests that count have one thread.
inline AtomicCounts atomic_counts;

/// std::atomic<T>, counted. A weak compare-exchange does not fail spuriously, so counts are exact.
template <class T>
class CountingAtomic {
 public:
  static constexpr bool is_always_lock_free = std::atomic<T>::is_always_lock_free;

  CountingAtomic(T value = T{}) noexcept : value_{value} {}
  CountingAtomic(const CountingAtomic&) = delete;
  CountingAtomic& operator=(const CountingAtomic&) = delete;

  [[nodiscard]] T load(std::memory_order order) const noexcept {
    ++atomic_counts.loads;
    return value_.load(order);
  }
  void store(T value, std::memory_order order) noexcept {
    ++atomic_counts.stores;
    value_.store(value, order);
  }
  T fetch_add(T value, std::memory_order order) noexcept {
    ++atomic_counts.rmws;
    return value_.fetch_add(value, order);
  }
  T fetch_sub(T value, std::memory_order order) noexcept {
    ++atomic_counts.rmws;
    return value_.fetch_sub(value, order);
  }
  T fetch_or(T value, std::memory_order order) noexcept {
    ++atomic_counts.rmws;
    return value_.fetch_or(value, order);
  }
  T fetch_and(T value, std::memory_order order) noexcept {
    ++atomic_counts.rmws;
    return value_.fetch_and(value, order);
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order success,
                             std::memory_order failure) noexcept {
    return compare_exchange_strong(expected, desired, success, failure);
  }
  bool compare_exchange_strong(T& expected, T desired, std::memory_order success,
                               std::memory_order failure) noexcept {
    ++atomic_counts.rmws;
    return value_.compare_exchange_strong(expected, desired, success, failure);
  }

 private:
  std::atomic<T> value_;
};

}  // namespace support

#define BLKOWN_ATOMIC support::CountingAtomic
#define BLKOWN_ATOMIC_NAME counting

#endif
