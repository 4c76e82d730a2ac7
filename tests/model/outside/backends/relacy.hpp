// SPDX-License-Identifier: BSL-1.0
//
// The backend for Relacy: its atomics under std::atomic's interface, its data, its assertion.

#ifndef BLKOWN_TESTS_MODEL_OUTSIDE_BACKENDS_RELACY_HPP
#define BLKOWN_TESTS_MODEL_OUTSIDE_BACKENDS_RELACY_HPP

#include <atomic>
#include <cstddef>
#include <source_location>
#include <type_traits>

// Included last, because Relacy redefines identifiers such as free.
#include <relacy/relacy.hpp>

namespace checker {

using Place = std::source_location;

[[nodiscard]] inline rl::memory_order order_of(std::memory_order order) {
  switch (order) {
    case std::memory_order_relaxed: return rl::mo_relaxed;
    case std::memory_order_acquire: return rl::mo_acquire;
    case std::memory_order_release: return rl::mo_release;
    case std::memory_order_acq_rel: return rl::mo_acq_rel;
    default: return rl::mo_seq_cst;
  }
}

[[nodiscard]] inline rl::debug_info info_of(const Place& place) {
  return rl::debug_info(place.function_name(), place.file_name(), place.line());
}

template <class T>
class Atomic {
  static_assert(std::is_unsigned_v<T>);

 public:
  static constexpr bool is_always_lock_free = true;

  Atomic(T value = T{}) noexcept : value_{value} {}
  Atomic(const Atomic&) = delete;
  Atomic& operator=(const Atomic&) = delete;

  [[nodiscard]] T load(std::memory_order order, Place place = Place::current()) const noexcept {
    return value_.load(order_of(order), info_of(place));
  }
  void store(T value, std::memory_order order, Place place = Place::current()) noexcept {
    value_.store(value, order_of(order), info_of(place));
  }
  T fetch_add(T value, std::memory_order order, Place place = Place::current()) noexcept {
    return value_.fetch_add(value, order_of(order), info_of(place));
  }
  T fetch_sub(T value, std::memory_order order, Place place = Place::current()) noexcept {
    return value_.fetch_sub(value, order_of(order), info_of(place));
  }
  T fetch_or(T value, std::memory_order order, Place place = Place::current()) noexcept {
    return value_.fetch_or(value, order_of(order), info_of(place));
  }
  T fetch_and(T value, std::memory_order order, Place place = Place::current()) noexcept {
    return value_.fetch_and(value, order_of(order), info_of(place));
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order success,
                             std::memory_order failure, Place place = Place::current()) noexcept {
    return value_.compare_exchange_weak(expected, desired, order_of(success), order_of(failure),
                                        info_of(place));
  }
  bool compare_exchange_strong(T& expected, T desired, std::memory_order success,
                               std::memory_order failure, Place place = Place::current()) noexcept {
    return value_.compare_exchange_strong(expected, desired, order_of(success), order_of(failure),
                                          info_of(place));
  }

 private:
  rl::atomic<T> value_;
};

inline void require(bool condition, Place place = Place::current()) {
  if (condition) return;
  rl::ctx().fail_test("required", rl::test_result_user_assert_failed, info_of(place));
}

template <class T>
class Data {
 public:
  explicit Data(T value) : value_{value} {}
  Data(const Data&) = delete;
  Data& operator=(const Data&) = delete;

  [[nodiscard]] T get(Place place = Place::current()) const {
    return value_(info_of(place)).load();
  }
  void set(T value, Place place = Place::current()) { value_(info_of(place)).store(value); }

 private:
  rl::var<T> value_;
};

}  // namespace checker

#define BLKOWN_ATOMIC checker::Atomic
#define BLKOWN_ATOMIC_NAME relacy

#endif
