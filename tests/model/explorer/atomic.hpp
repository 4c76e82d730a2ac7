// SPDX-License-Identifier: BSL-1.0
//
// model::atomic replaces std::atomic: each operation is a step of the execution in progress.

#ifndef BLKOWN_TESTS_MODEL_EXPLORER_ATOMIC_HPP
#define BLKOWN_TESTS_MODEL_EXPLORER_ATOMIC_HPP

#include <cstring>
#include <limits>
#include <type_traits>

#include "engine.hpp"

namespace model {

/// The members of std::atomic that integers and pointers need. The last parameter of each is the
/// place that a failing schedule prints.
template <class T>
class atomic {
  static_assert(std::is_unsigned_v<T> || std::is_same_v<T, bool> || std::is_pointer_v<T>);

 public:
  using value_type = T;
  static constexpr bool is_always_lock_free = true;

  atomic(T value = T{}) noexcept
      : location_{Engine::current().add_location(bits_of(value), mask)} {}
  atomic(const atomic&) = delete;
  atomic& operator=(const atomic&) = delete;

  [[nodiscard]] T load(std::memory_order order = std::memory_order_seq_cst,
                       Place place = Place::current()) const noexcept {
    return seen(OpKind::load, T{}, order, place);
  }
  void store(T value, std::memory_order order = std::memory_order_seq_cst,
             Place place = Place::current()) noexcept {
    seen(OpKind::store, value, order, place);
  }
  T exchange(T value, std::memory_order order = std::memory_order_seq_cst,
             Place place = Place::current()) noexcept {
    return seen(OpKind::exchange, value, order, place);
  }
  T fetch_add(T value, std::memory_order order = std::memory_order_seq_cst,
              Place place = Place::current()) noexcept {
    return seen(OpKind::add, value, order, place);
  }
  T fetch_sub(T value, std::memory_order order = std::memory_order_seq_cst,
              Place place = Place::current()) noexcept {
    return seen(OpKind::subtract, value, order, place);
  }
  T fetch_or(T value, std::memory_order order = std::memory_order_seq_cst,
             Place place = Place::current()) noexcept {
    return seen(OpKind::bit_or, value, order, place);
  }
  T fetch_and(T value, std::memory_order order = std::memory_order_seq_cst,
              Place place = Place::current()) noexcept {
    return seen(OpKind::bit_and, value, order, place);
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order success,
                             std::memory_order failure, Place place = Place::current()) noexcept {
    return compare_exchange(OpKind::cas_weak, expected, desired, success, failure, place);
  }
  bool compare_exchange_strong(T& expected, T desired, std::memory_order success,
                               std::memory_order failure, Place place = Place::current()) noexcept {
    return compare_exchange(OpKind::cas_strong, expected, desired, success, failure, place);
  }

  /// Not in std::atomic: waits until a load reads `value` (await_equal), or a value other than
  /// `value` (await_other). Failed attempts are not explored. If no such value is ever stored, the
  /// execution fails.
  T await_equal(T value, std::memory_order order, Place place = Place::current()) const noexcept {
    return seen(OpKind::await_equal, value, order, place);
  }
  T await_other(T value, std::memory_order order, Place place = Place::current()) const noexcept {
    return seen(OpKind::await_other, value, order, place);
  }

  /// Sets the label of the atomic, and the format of its values, in schedules.
  void describe(const char* name, Format format = nullptr) noexcept {
    Location& location = Engine::current().memory().location(location_);
    location.name = name;
    location.format = format;
  }

 private:
  [[nodiscard]] static std::uint64_t bits_of(T value) noexcept {
    if constexpr (std::is_pointer_v<T>) {
      return reinterpret_cast<std::uintptr_t>(value);
    } else {
      return value;
    }
  }
  [[nodiscard]] static T value_of(std::uint64_t bits) noexcept {
    if constexpr (std::is_pointer_v<T>) {
      return reinterpret_cast<T>(static_cast<std::uintptr_t>(bits));
    } else {
      return static_cast<T>(bits);
    }
  }
  static constexpr std::uint64_t mask = [] {
    if constexpr (std::is_pointer_v<T>) {
      return std::numeric_limits<std::uintptr_t>::max();
    } else {
      return std::uint64_t{std::numeric_limits<T>::max()};
    }
  }();

  T seen(OpKind kind, T operand, std::memory_order order, const Place& place) const noexcept {
    const Op op{kind, location_, order, std::memory_order_relaxed, bits_of(operand), 0, place};
    return value_of(Engine::current().perform(op).seen);
  }
  bool compare_exchange(OpKind kind, T& expected, T desired, std::memory_order success,
                        std::memory_order failure, const Place& place) noexcept {
    const Op op{kind, location_, success, failure, bits_of(desired), bits_of(expected), place};
    const Result result = Engine::current().perform(op);
    expected = value_of(result.seen);
    return result.wrote;
  }

  // The Memory of the engine holds the stores, so that an atomic is as small as the real one.
  std::uint8_t location_;
};

}  // namespace model

#endif
