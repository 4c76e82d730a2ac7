// SPDX-License-Identifier: BSL-1.0
//
// Goal: the lock admits one thread at a time, and orders plain memory. A test of the core's lock is
// here because this folder's tests run under ThreadSanitizer too.

#include <gtest/gtest.h>

#include <blkown/detail/spin_lock.hpp>
#include <mutex>
#include <thread>
#include <vector>

namespace {

using blkown::detail::SpinLock;

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
