// SPDX-License-Identifier: BSL-1.0
//
// SpinLock: for lists that several contexts change, off the way of a plain I/O.

#ifndef BLKOWN_DETAIL_SPIN_LOCK_HPP
#define BLKOWN_DETAIL_SPIN_LOCK_HPP

#include <blkown/config.hpp>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace detail {

/// Held for a few instructions, while nothing of a user's is called. Not for interrupts: one that
/// preempts the holder would wait for ever.
class SpinLock {
 public:
  SpinLock() = default;
  SpinLock(const SpinLock&) = delete;
  SpinLock& operator=(const SpinLock&) = delete;

  void lock() noexcept {
    // false -> true. Partner: unlock. Acquire: what the last holder did.
    while (taken_.exchange(true, std::memory_order_acquire)) {
      // No transition. Relaxed: the exchange looks again.
      while (taken_.load(std::memory_order_relaxed)) {
      }
    }
  }
  void unlock() noexcept {
    // true -> false. Partner: lock. Release: what this holder did.
    taken_.store(false, std::memory_order_release);
  }

 private:
  Atomic<bool> taken_{false};
};

/// Holds a SpinLock as long as it lives.
class SpinGuard {
 public:
  explicit SpinGuard(SpinLock& lock) noexcept : lock_{lock} { lock_.lock(); }
  SpinGuard(const SpinGuard&) = delete;
  SpinGuard& operator=(const SpinGuard&) = delete;
  ~SpinGuard() { lock_.unlock(); }

 private:
  SpinLock& lock_;
};

}  // namespace detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
