// SPDX-License-Identifier: BSL-1.0
//
// SpinLock: protects lists that several contexts change. The path of a plain I/O takes none.

#ifndef BLKOWN_DETAIL_SPIN_LOCK_HPP
#define BLKOWN_DETAIL_SPIN_LOCK_HPP

#include <atomic>
#include <blkown/config.hpp>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace detail {

/// A lock that is held for a few instructions. No callback of the user runs under a SpinLock.
/// Context: not for interrupts, because an interrupt of the holder would wait for ever.
class SpinLock {
 public:
  SpinLock() = default;
  SpinLock(const SpinLock&) = delete;
  SpinLock& operator=(const SpinLock&) = delete;

  void lock() noexcept {
    // false -> true. Partner: unlock. Acquire: the previous holder's accesses come before.
    while (taken_.exchange(true, std::memory_order_acquire)) {
      // No transition. Relaxed: the exchange reads again.
      while (taken_.load(std::memory_order_relaxed)) {
      }
    }
  }
  void unlock() noexcept {
    // true -> false. Partner: lock. Release: this holder's accesses come before the next holder's.
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
