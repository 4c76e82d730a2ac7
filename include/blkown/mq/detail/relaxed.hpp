// SPDX-License-Identifier: BSL-1.0
//
// Single values that contexts share: counters, numbers and a flag that order nothing, and a flag
// that hands over what was written before it.

#ifndef BLKOWN_MQ_DETAIL_RELAXED_HPP
#define BLKOWN_MQ_DETAIL_RELAXED_HPP

#include <atomic>
#include <blkown/config.hpp>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// A counter that one context writes and every context may read. As wide as the ownership word, and
/// wraps like one.
class OwnedCounter {
 public:
  /// Returns the new number.
  /// Context: the owning context only. No read-modify-write.
  [[gnu::always_inline]] Word add(Word count = 1) noexcept {
    // n -> n + count. Relaxed: the number hands nothing over. A load and a store suffice, because
    // only one context writes.
    const Word sum = static_cast<Word>(value_.load(std::memory_order_relaxed) + count);
    value_.store(sum, std::memory_order_relaxed);
    return sum;
  }
  /// The reverse of add().
  /// Context: the owning context only. No read-modify-write.
  [[gnu::always_inline]] Word subtract() noexcept { return add(static_cast<Word>(-1)); }
  [[nodiscard]] Word read() const noexcept {
    // No transition. Relaxed: as in add.
    return value_.load(std::memory_order_relaxed);
  }

 private:
  Atomic<Word> value_{0};
};

/// A counter that every context writes, for rare events.
class RelaxedCounter {
 public:
  void add() noexcept {
    // n -> n+1. Relaxed: the number hands nothing over. A read-modify-write, because several write.
    value_.fetch_add(1, std::memory_order_relaxed);
  }
  [[nodiscard]] Word read() const noexcept {
    // No transition. Relaxed: as in add.
    return value_.load(std::memory_order_relaxed);
  }

 private:
  Atomic<Word> value_{0};
};

/// A flag that any context sets and every context reads before it acts. A read orders nothing. An
/// action that must follow after every context has seen a flag is a control operation.
class RelaxedFlag {
 public:
  void set(bool value) noexcept {
    // Relaxed: the flag hands nothing over.
    value_.store(value, std::memory_order_relaxed);
  }
  [[nodiscard]] bool is_set() const noexcept {
    // No transition. Relaxed: as in set.
    return value_.load(std::memory_order_relaxed);
  }

 private:
  Atomic<bool> value_{false};
};

/// A number that any context sets and every context reads before it acts, like a RelaxedFlag.
template <class T>
class RelaxedNumber {
 public:
  explicit RelaxedNumber(T value) noexcept : value_{value} {}
  void set(T value) noexcept {
    // Relaxed: the number hands nothing over.
    value_.store(value, std::memory_order_relaxed);
  }
  [[nodiscard]] T read() const noexcept {
    // No transition. Relaxed: as in set.
    return value_.load(std::memory_order_relaxed);
  }

 private:
  Atomic<T> value_;
};

/// A flag that any thread raises and one context takes.
/// Synchronization: what each raiser wrote before happens before the take().
class RaisedFlag {
 public:
  void raise() noexcept {
    // any -> true. Partner: take. Release: what the raiser wrote before. A read-modify-write, which
    // continues the release sequences of the raisers before.
    static_cast<void>(value_.exchange(true, std::memory_order_release));
  }
  /// Returns whether the flag was raised since the last take.
  /// Context: the taking context only.
  [[nodiscard]] bool take() noexcept {
    // No transition. Relaxed: the exchange below acquires.
    if (!value_.load(std::memory_order_relaxed)) [[likely]]
      return false;
    // true -> false. Partner: raise. Acquire: what the raisers wrote before.
    return value_.exchange(false, std::memory_order_acquire);
  }

 private:
  Atomic<bool> value_{false};
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
