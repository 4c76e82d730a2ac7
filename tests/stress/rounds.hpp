// SPDX-License-Identifier: BSL-1.0
//
// Rounds of a race: one thread sets everything up, two or more meet at a barrier and play their
// parts at the same moment, and when all have finished, one thread checks the result.
//
// The barrier orders rounds. Within a round only the operations of the library order anything, so
// ThreadSanitizer sees what is missing there.

#ifndef BLKOWN_TESTS_STRESS_ROUNDS_HPP
#define BLKOWN_TESTS_STRESS_ROUNDS_HPP

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <thread>

#include "effort.hpp"
#include "meeting.hpp"

namespace stress {

/// Plays the round `count` times, or until an expectation fails. Each part is called as
/// part(Random&). The first part runs in the thread that also calls set_up() and look().
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
