// SPDX-License-Identifier: BSL-1.0
//
// Rounds of a race: everything is set up by one thread, then two or more meet at a barrier and do
// their part at the same moment, then, when all have done it, one looks at what came of it.
//
// The barrier orders rounds, not the parts of one round: between two of those only the library's
// own operations order anything, so ThreadSanitizer sees what is missing there.

#ifndef BLKOWN_TESTS_STRESS_ROUNDS_HPP
#define BLKOWN_TESTS_STRESS_ROUNDS_HPP

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <thread>

#include "effort.hpp"

namespace stress {

/// Lets threads go at the same moment, again and again.
class SpinBarrier {
 public:
  explicit SpinBarrier(unsigned parties) noexcept : parties_{parties} {}

  void arrive_and_wait() noexcept {
    const unsigned phase = phase_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == parties_) {
      arrived_.store(0, std::memory_order_relaxed);
      phase_.store(phase + 1, std::memory_order_release);
      return;
    }
    // There may be more threads than cores: one that waits long gives its core away.
    for (unsigned spins = 1; phase_.load(std::memory_order_acquire) == phase; ++spins) {
      if (spins % 256 == 0) std::this_thread::yield();
    }
  }

 private:
  const unsigned parties_;
  alignas(64) std::atomic<unsigned> arrived_{0};
  alignas(64) std::atomic<unsigned> phase_{0};
};

/// Passes a few to a few hundred cycles, so that the parts of a round meet in every order.
inline void dawdle(Random& random) {
  // Most delays are short: the windows of the races are.
  const std::uint32_t most = 1U << random.below(10);
  for (std::uint32_t left = random.below(most); left != 0; --left) asm volatile("");
}

/// Plays the round `count` times, or until an expectation fails. Each part is called as
/// part(Random&); the first one runs in the thread that also calls set_up() and look().
template <class SetUp, class Look, class First, class... Others>
void play_rounds(std::uint64_t count, SetUp set_up, Look look, First first, Others... others) {
  SpinBarrier barrier{1 + sizeof...(others)};
  bool over = false;  // written between a round's end and the next one's start
  const auto play = [&](auto& part, Random& random) {
    barrier.arrive_and_wait();
    if (over) return false;
    dawdle(random);
    part(random);
    barrier.arrive_and_wait();
    return true;
  };
  std::uint64_t streams = 0;
  const auto thread_of = [&](auto& part) {
    return std::thread{[&play, &part, stream = ++streams] {
      Random random{stream};
      while (play(part, random)) {
      }
    }};
  };
  std::array<std::thread, sizeof...(others)> threads{thread_of(others)...};

  Random random{0};
  for (std::uint64_t round = 0; round != count && !::testing::Test::HasFailure(); ++round) {
    set_up();
    static_cast<void>(play(first, random));
    look();
  }
  over = true;
  barrier.arrive_and_wait();
  for (std::thread& thread : threads) thread.join();
}

}  // namespace stress

#endif
