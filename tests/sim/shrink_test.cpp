// SPDX-License-Identifier: BSL-1.0

#include <gtest/gtest.h>

#include <algorithm>
#include <blkown/sim/harness/shrink.hpp>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

using blkown::sim::fails_in_child;
using blkown::sim::FaultKind;
using blkown::sim::FaultStrike;
using blkown::sim::shrink;
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

TEST(FailsInChild, SaysWhetherTheRunFailed) {
  EXPECT_FALSE(fails_in_child([] { return true; }));
  EXPECT_TRUE(fails_in_child([] { return false; }));
}

TEST(FailsInChild, SurvivesAnyEndOfTheRun) {
  EXPECT_TRUE(fails_in_child([]() -> bool { std::_Exit(3); }));
  EXPECT_TRUE(fails_in_child([]() -> bool {
    std::signal(SIGABRT, SIG_DFL);
    std::abort();
  }));
}

TEST(FailsInChild, DiscardsTheOutputAndChangesNothingInTheParent) {
  int changed = 0;
  testing::internal::CaptureStdout();
  std::printf("before ");
  EXPECT_TRUE(fails_in_child([&] {
    changed = 1;
    std::printf("within");
    std::fflush(stdout);
    return false;
  }));
  std::printf("after");
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "before after");
  EXPECT_EQ(changed, 0);
}

}  // namespace
