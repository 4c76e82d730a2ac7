// SPDX-License-Identifier: BSL-1.0
//
// OptionalMutex and OptionalGuard: locks that are not taken where no other thread can hold them.

#ifndef BLKOWN_SIM_DEVICE_OPTIONAL_LOCK_HPP
#define BLKOWN_SIM_DEVICE_OPTIONAL_LOCK_HPP

#include <blkown/config.hpp>
#include <mutex>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

/// A mutex that is taken only while `is_used`. The owner changes that before any thread shares it.
class OptionalMutex {
 public:
  explicit OptionalMutex(bool used = true) noexcept : is_used{used} {}

  void lock() {
    if (is_used) mutex_.lock();
  }
  void unlock() {
    if (is_used) mutex_.unlock();
  }
  bool is_used;

 private:
  std::mutex mutex_;
};

/// Holds a lock as long as it lives, or with `is_used` false nothing.
template <class Lock>
class OptionalGuard {
 public:
  OptionalGuard(Lock& lock, bool is_used) : lock_{is_used ? &lock : nullptr} {
    if (lock_ != nullptr) lock_->lock();
  }
  OptionalGuard(const OptionalGuard&) = delete;
  OptionalGuard& operator=(const OptionalGuard&) = delete;
  ~OptionalGuard() {
    if (lock_ != nullptr) lock_->unlock();
  }

 private:
  Lock* lock_;
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
