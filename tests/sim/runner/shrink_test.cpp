// SPDX-License-Identifier: BSL-1.0

#include <gtest/gtest.h>

#include <signal.h>
#include <unistd.h>
#include <algorithm>
#include <blkown/sim/harness/world_config.hpp>
#include <blkown/sim/runner/child_run.hpp>
#include <blkown/sim/runner/shrink.hpp>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

namespace {

namespace sim = blkown::sim;
using blkown::sim::ChildFinding;
using blkown::sim::FaultKind;
using blkown::sim::FaultStrike;
using blkown::sim::find_in_child;
using blkown::sim::shrink;
using blkown::sim::Shrinker;
using blkown::sim::WorldConfig;
using Script = std::vector<FaultStrike>;

/// A script of one kind, with the opportunities 0 to count - 1.
Script script_of(std::uint64_t count) {
  Script script;
  for (std::uint64_t i = 0; i != count; ++i) script.push_back({FaultKind::lost, i});
  return script;
}
bool has(const Script& script, std::uint64_t opportunity) {
  return std::ranges::find(script, FaultStrike{FaultKind::lost, opportunity}) != script.end();
}

TEST(Shrink, FindsTheOneFaultThatMatters) {
  for (const std::uint64_t matters : {0U, 1U, 50U, 98U, 99U}) {
    EXPECT_EQ(shrink(script_of(100), [&](const Script& script) { return has(script, matters); }),
              (Script{{FaultKind::lost, matters}}));
  }
}

TEST(Shrink, FindsThePairOfFaultsThatMatters) {
  for (const std::uint64_t first : {0U, 3U, 49U}) {
    for (const std::uint64_t second : {50U, 51U, 99U}) {
      EXPECT_EQ(
          shrink(script_of(100),
                 [&](const Script& script) { return has(script, first) && has(script, second); }),
          (Script{{FaultKind::lost, first}, {FaultKind::lost, second}}));
    }
  }
}

// Goal: every fault of the result is needed, even if one can be removed only after another.
TEST(Shrink, LeavesNoFaultThatCanBeRemoved) {
  const auto fails = [](const Script& script) {
    // A script fails if it consists of the faults 0 to n - 1 for some n >= 1. Faults can therefore
    // be removed only one by one, from the last one on.
    std::uint64_t run = 0;
    while (has(script, run)) ++run;
    return run != 0 && run == script.size();
  };
  ASSERT_TRUE(fails(script_of(20)));
  EXPECT_EQ(shrink(script_of(20), fails), script_of(1));
}

TEST(Shrink, KeepsTheOrder) {
  const Script script{
      {FaultKind::late, 9}, {FaultKind::lost, 2}, {FaultKind::early, 5}, {FaultKind::reset, 1}};
  EXPECT_EQ(shrink(script, [](const Script& shorter) { return shorter.size() >= 3; }),
            (Script{script[1], script[2], script[3]}));
  EXPECT_EQ(shrink(script, [&](const Script& shorter) { return shorter == script; }), script)
      << "all of it is needed";
}

TEST(Shrink, IsEmptyIfTheRunFailsWithoutFaults) {
  int tries = 0;
  EXPECT_TRUE(shrink(script_of(10), [&](const Script&) { return ++tries > 0; }).empty());
  EXPECT_EQ(tries, 1);
  EXPECT_TRUE(shrink(Script{}, [](const Script&) { return true; }).empty());
}

TEST(Shrink, TriesOnlyShorterScripts) {
  std::size_t tries = 0;
  static_cast<void>(shrink(script_of(1000), [&](const Script& script) {
    ++tries;
    EXPECT_LT(script.size(), 1000U);
    return has(script, 700);
  }));
  EXPECT_LT(tries, 50U) << "halves, not single faults";
}

// --- child process -------------------------------------------------------------------------------

/// More than a child ever takes that does not hang.
constexpr unsigned child_limit_s = 100;

/// Sets the finding of a child, as a world does that has one.
bool leave_finding(std::string_view what, std::uint64_t event = 7, const Script& strikes = {}) {
  sim::detail::child_result->set(what, event, strikes);
  return false;
}

TEST(FindInChild, ReturnsTheFindingWithoutItsNumbers) {
  EXPECT_EQ(find_in_child(child_limit_s, false, [] { return true; }).key, "");
  const ChildFinding found = find_in_child(child_limit_s, false, [] {
    return leave_finding("the count is 13 and should be 2", 7, script_of(3));
  });
  EXPECT_EQ(found.key, "the count is # and should be #");
  EXPECT_EQ(found.event, 7U);
  EXPECT_EQ(found.strikes, script_of(3));
}

TEST(FindInChild, SurvivesAnyEndOfTheRun) {
  EXPECT_EQ(find_in_child(child_limit_s, false, []() -> bool { std::_Exit(3); }).key,
            "the process ended with 3");
  EXPECT_EQ(find_in_child(child_limit_s, false,
                          []() -> bool {
                            leave_finding("a finding");
                            std::_Exit(1);
                          })
                .key,
            "a finding");
  const auto aborts = []() -> bool {
    std::signal(SIGABRT, SIG_DFL);
    std::abort();
  };
  EXPECT_EQ(find_in_child(child_limit_s, false, aborts).key, "the process ended with signal 6");
}

// Goal: a driver that ends its process in the middle of a run has not passed.
TEST(FindInChild, AnEndBeforeTheRunReturnsIsAFinding) {
  EXPECT_EQ(find_in_child(child_limit_s, false, []() -> bool { std::_Exit(1); }).key,
            "the process ended with 1");
  EXPECT_EQ(find_in_child(child_limit_s, false, []() -> bool { std::_Exit(0); }).key,
            "the process ended with 0");
}

TEST(FindInChild, OnlyTheAlarmOfTheTimeLimitCutsARunOff) {
  const auto rings = []() -> bool { return raise(SIGALRM) == 0; };
  EXPECT_EQ(find_in_child(0, false, rings).key, "the process ended with signal 14");
  EXPECT_EQ(find_in_child(child_limit_s, false, rings).key, "");
}

TEST(FindInChild, ASignalOfTheParentDoesNotHideTheFinding) {
  struct sigaction interrupts{};
  interrupts.sa_handler = [](int) {};
  struct sigaction former{};
  sigaction(SIGUSR1, &interrupts, &former);
  const auto fails = [] {
    kill(getppid(), SIGUSR1);
    usleep(50'000);
    return leave_finding("a finding");
  };
  EXPECT_EQ(find_in_child(child_limit_s, false, fails).key, "a finding");
  sigaction(SIGUSR1, &former, nullptr);
}

TEST(FindInChild, EndsARunThatHangs) {
  const ChildFinding found = find_in_child(1, false, []() -> bool {
    while (true) usleep(10'000);
  });
  EXPECT_EQ(found.key, "");
}

TEST(FindInChild, DiscardsTheOutputAndChangesNothingInTheParent) {
  int changed = 0;
  testing::internal::CaptureStdout();
  std::printf("before ");
  EXPECT_EQ(find_in_child(child_limit_s, false,
                          [&] {
                            changed = 1;
                            std::printf("within");
                            std::fflush(stdout);
                            return leave_finding("a finding");
                          })
                .key,
            "a finding");
  static_cast<void>(find_in_child(child_limit_s, true, [] { return std::printf("printed ") > 0; }));
  std::printf("after");
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "before printed after");
  EXPECT_EQ(changed, 0);
}

// --- a run ---------------------------------------------------------------------------------------

/// The shortest run, from one with all faults of the script whose finding comes in event 7.
template <class Run>
WorldConfig shortest_of(const Script& script, Run run, Shrinker& shrinker) {
  WorldConfig config;
  config.io_count = 100;
  testing::internal::CaptureStderr();
  const WorldConfig shortest = shrinker.shrink(
      config, ChildFinding{.key = "the finding", .event = 7, .strikes = script}, run);
  EXPECT_NE(testing::internal::GetCapturedStderr(), "") << "the progress";
  EXPECT_TRUE(shortest.is_scripted);
  return shortest;
}

template <class Run>
WorldConfig shortest_of(const Script& script, Run run) {
  Shrinker shrinker{200};
  const WorldConfig shortest = shortest_of(script, run, shrinker);
  EXPECT_FALSE(shrinker.was_cut_off());
  EXPECT_NE(shrinker.runs(), 0U);
  return shortest;
}

TEST(Shrinker, KeepsToTheFindingOfTheFirstRun) {
  const WorldConfig shortest = shortest_of(script_of(20), [](const WorldConfig& config) {
    if (has(config.script, 11)) return leave_finding("the finding");
    return leave_finding("another finding");
  });
  EXPECT_EQ(shortest.script, (Script{{FaultKind::lost, 11}}));
}

// Goal: one fault is found, although each fault of the first run was needed for the moment at which
// the last one did harm.
TEST(Shrinker, TriesTheFaultsOfAKindElsewhere) {
  const Script needed = script_of(12);
  const WorldConfig shortest = shortest_of(needed, [&](const WorldConfig& config) {
    const bool is_first = config.script == needed && config.io_count > 20;
    const bool is_elsewhere =
        config.ios_per_cut == 1 && config.io_count > 20 && has(config.script, 43);
    return (!is_first && !is_elsewhere) || leave_finding("the finding");
  });
  EXPECT_EQ(shortest.script, (Script{{FaultKind::lost, 43}}));
  EXPECT_EQ(shortest.ios_per_cut, 1U);
}

TEST(Shrinker, KeepsAScriptThatIsNeededAndDoesHarmNowhereElse) {
  const Script needed = script_of(12);
  const WorldConfig shortest = shortest_of(needed, [&](const WorldConfig& config) {
    return config.script != needed || leave_finding("the finding");
  });
  EXPECT_EQ(shortest.script, needed);
  EXPECT_EQ(shortest.ios_per_cut, WorldConfig{}.ios_per_cut);
}

TEST(Shrinker, FindsTheFewestIos) {
  const WorldConfig shortest = shortest_of({}, [](const WorldConfig& config) {
    return config.io_count < 12 || leave_finding("the finding");
  });
  EXPECT_EQ(shortest.io_count, 12U) << "100, 50, 25, 12";
}

TEST(Shrinker, BoundsTheEventsOfEachRun) {
  const WorldConfig shortest = shortest_of(script_of(1), [](const WorldConfig& config) {
    if (config.max_events != 2 * 7 + 1000) return true;
    return leave_finding("the finding");
  });
  EXPECT_TRUE(shortest.script.empty());
}

// Goal: three faults that are needed together do not hide that a fourth one suffices.
TEST(Shrinker, FindsAFaultThatSuffices) {
  Script script = script_of(8);
  script.push_back({FaultKind::late, 5});
  const WorldConfig shortest = shortest_of(script, [&](const WorldConfig& config) {
    const bool three = has(config.script, 1) && has(config.script, 2) && has(config.script, 3);
    const bool one = config.script == Script{{FaultKind::late, 5}};
    return (!three && !one) || leave_finding("the finding");
  });
  EXPECT_EQ(shortest.script, (Script{{FaultKind::late, 5}}));
}

/// A clock that moves by a second whenever it is looked at.
double moving_clock_s() {
  static double now_s = 0;
  return now_s += 1;
}

TEST(Shrinker, StopsWhenItsTimeIsOver) {
  Shrinker shrinker{40, &moving_clock_s};
  const WorldConfig shortest = shortest_of(
      script_of(100), [](const WorldConfig&) { return leave_finding("the finding"); }, shrinker);
  EXPECT_LT(shortest.io_count, 100U) << "the shortest so far";
  EXPECT_TRUE(shrinker.was_cut_off());
  EXPECT_LT(shrinker.runs(), 10U) << "each run takes three seconds at least";
}

TEST(Shrinker, LeavesARunThatDoesNotFailAgain) {
  const WorldConfig shortest = shortest_of(script_of(3), [](const WorldConfig&) { return true; });
  EXPECT_EQ(shortest.script, script_of(3));
  EXPECT_EQ(shortest.io_count, 100U);
}

}  // namespace
