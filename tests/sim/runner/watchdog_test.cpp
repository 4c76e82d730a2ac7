// SPDX-License-Identifier: BSL-1.0
//
// The Watchdog: a run that hangs ends with its finding, one that goes on does not.

#include <blkown/sim/runner/watchdog.hpp>

#include <gtest/gtest.h>
#include <blkown/sim/runner/child_run.hpp>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <ctime>

namespace {

using blkown::sim::ChildFinding;
using blkown::sim::find_in_child;
using blkown::sim::Watchdog;

// Changed by the run, and read in the signal's handler.
volatile std::uint64_t watched_events = 0;

[[nodiscard]] Watchdog::Watched watched_run() {
  return {.progress = [](void*) { return std::uint64_t{watched_events}; },
          .hangs =
              [](void*) {
                blkown::sim::detail::child_result->set("hangs", watched_events, {});
                std::_Exit(1);
              }};
}
[[nodiscard]] double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>{std::chrono::steady_clock::now() - begin}.count();
}

TEST(Watchdog, ARunThatLoopsWithoutAnEventIsAFinding) {
  const auto begin = std::chrono::steady_clock::now();
  const ChildFinding found = find_in_child(60, true, [] {
    const Watchdog dog{1, watched_run()};
    watched_events = 7;
    for (volatile unsigned loops = 0;;) loops = loops + 1;
    return true;
  });
  EXPECT_EQ(found.key, "hangs");
  EXPECT_EQ(found.event, 7U);
  EXPECT_GE(seconds_since(begin), 1);
}

TEST(Watchdog, ARunThatSleepsForEverIsAFinding) {
  const ChildFinding found = find_in_child(60, true, [] {
    const Watchdog dog{1, watched_run()};
    while (true) {
      const timespec hour{.tv_sec = 3600, .tv_nsec = 0};
      nanosleep(&hour, nullptr);
    }
    return true;
  });
  EXPECT_EQ(found.key, "hangs");
}

TEST(Watchdog, ARunThatGoesOnMayTakeLonger) {
  const ChildFinding found = find_in_child(60, true, [] {
    const Watchdog dog{1, watched_run()};
    const auto begin = std::chrono::steady_clock::now();
    while (seconds_since(begin) < 2.5) watched_events = watched_events + 1;
    return true;
  });
  EXPECT_EQ(found.key, "");
}

TEST(Watchdog, NothingIsWatchedBehindARunOrWithoutALimit) {
  const ChildFinding found = find_in_child(60, true, [] {
    {
      const Watchdog dog{1, watched_run()};
    }
    const Watchdog none{0, watched_run()};
    const auto begin = std::chrono::steady_clock::now();
    while (seconds_since(begin) < 2.5) {
    }
    return true;
  });
  EXPECT_EQ(found.key, "");
}

TEST(Watchdog, TheLimitOfAChildStillEndsIt) {
  const ChildFinding found = find_in_child(1, true, [] {
    const Watchdog dog{30, watched_run()};
    for (volatile unsigned loops = 0;;) loops = loops + 1;
    return true;
  });
  EXPECT_EQ(found.key, "") << "cut off, and not by the watchdog";
}

}  // namespace
