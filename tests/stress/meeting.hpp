// SPDX-License-Identifier: BSL-1.0
//
// Barriers and delays for threads on a machine that may have fewer cores than threads and other
// load. Yielding a core takes until the scheduler returns it, on a busy machine milliseconds.
// Frequent waits therefore spin first, and sleep only after that.

#ifndef BLKOWN_TESTS_STRESS_MEETING_HPP
#define BLKOWN_TESTS_STRESS_MEETING_HPP

#include <atomic>
#include <cstdint>
#include <thread>

#include "effort.hpp"

namespace stress {

/// Releases all threads at the same moment, any number of times.
class SpinBarrier {
 public:
  explicit SpinBarrier(unsigned parties) noexcept : parties_{parties} {}

  void arrive_and_wait() noexcept {
    const unsigned phase = phase_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == parties_) {
      arrived_.store(0, std::memory_order_relaxed);
      phase_.store(phase + 1, std::memory_order_release);
      phase_.notify_all();
      return;
    }
    for (unsigned spins = 0; spins != 500; ++spins) {
      if (phase_.load(std::memory_order_acquire) != phase) return;
    }
    phase_.wait(phase, std::memory_order_acquire);
  }

 private:
  const unsigned parties_;
  alignas(64) std::atomic<unsigned> arrived_{0};
  alignas(64) std::atomic<unsigned> phase_{0};
};

/// Waits between a few cycles and a microsecond, so that threads meet in every order.
inline void dawdle(Random& random) {
  // Most delays are short, because the windows of the races are short.
  const std::uint32_t most = 1U << random.below(10);
  for (std::uint32_t left = random.below(most); left != 0; --left) asm volatile("");
}

/// Waits between two attempts at an operation that another thread must make possible.
inline void wait_a_little(Random& random) {
  dawdle(random);
  if (random.one_in(128)) std::this_thread::yield();
}

}  // namespace stress

#endif
