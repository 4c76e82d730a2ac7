// SPDX-License-Identifier: BSL-1.0
//
// Goal: the lock admits one thread at a time, and orders plain memory. A test of the core's lock is
// here because this folder's tests run under ThreadSanitizer too.

#include <gtest/gtest.h>

#include <atomic>
#include <blkown/detail/spin_lock.hpp>
#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

namespace {

using blkown::detail::SpinLock;

TEST(SpinLock, KeepsOthersOutWhileItIsHeld) {
  SpinLock lock;
  std::atomic<bool> is_there{false}, is_inside{false};
  lock.lock();
  std::thread other{[&] {
    is_there = true;
    const std::lock_guard guard{lock};
    is_inside = true;
  }};
  while (!is_there) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds{20});
  EXPECT_FALSE(is_inside);
  lock.unlock();
  other.join();
  EXPECT_TRUE(is_inside);
}

TEST(SpinLock, IsOneContextsAtATime) {
  SpinLock lock;
  int count = 0;  // plain, so that only the lock orders the accesses
  std::vector<std::thread> contexts;
  for (int i = 0; i != 2; ++i) {
    contexts.emplace_back([&] {
      for (int round = 0; round != 2000; ++round) {
        const std::lock_guard guard{lock};
        ++count;
      }
    });
  }
  for (std::thread& context : contexts) context.join();
  EXPECT_EQ(count, 4000);
}

}  // namespace
