// SPDX-License-Identifier: BSL-1.0
//
// Tests of timeouts: when the driver's hook is called, and its race with the completion.

#include <gtest/gtest.h>

#include <vector>

#include "mq/fake_driver.hpp"

namespace {

namespace mq = blkown::mq;
using blkown::Status;
using fake::Bench;
using fake::Ends;
using fake::Read;
using fake::whole;
using Mode = fake::Driver::Mode;

/// Advances the clock in steps of 1 ms, and runs the contexts after each step.
void pass(Bench<>& bench, unsigned ms) {
  for (unsigned i = 0; i != ms; ++i) {
    bench.clock.pass_ms(1);
    bench.runtime.run();
  }
}

mq::DiskConfig with_timeout(std::uint32_t timeout_ms) {
  return {.capacity_sectors = 1024, .timeout_ms = timeout_ms};
}

// Goal: the hook is called not early, and at most a quarter of the timeout late.
TEST(Timeout, CallsTheHookAfterTheTimeout) {
  Bench bench{with_timeout(100)};
  bench.driver.mode = Mode::publish;
  pass(bench, 37);
  Read read;
  bench.disk->submit(bench.context(), read.bio);
  pass(bench, 99);
  EXPECT_EQ(bench.driver.timeouts, 0);
  pass(bench, 51);
  EXPECT_EQ(bench.driver.timeouts, 1);
  bench.driver.reap(bench.data());
  bench.runtime.run();
  EXPECT_EQ(read.ends.statuses, std::vector{Status::ok}) << "a rearmed request may still complete";
}

TEST(Timeout, CallsTheHookAgainIfRearmed) {
  Bench bench{with_timeout(100)};
  bench.driver.mode = Mode::publish;
  Read read;
  bench.disk->submit(bench.context(), read.bio);
  pass(bench, 600);
  EXPECT_GE(bench.driver.timeouts, 4);
  EXPECT_LE(bench.driver.timeouts, 6);
  EXPECT_EQ(bench.disk->counters().timed_out_requests,
            static_cast<blkown::Word>(bench.driver.timeouts));
  bench.driver.reap(bench.data());
  bench.runtime.run();
}

TEST(Timeout, CallsTheHookOnceIfHandled) {
  Bench bench{with_timeout(100)};
  bench.driver.mode = Mode::publish;
  bench.driver.on_timeout = [](auto&, auto&, auto&) { return mq::TimeoutAction::handled; };
  Read read;
  bench.disk->submit(bench.context(), read.bio);
  pass(bench, 1000);
  EXPECT_EQ(bench.driver.timeouts, 1);
  bench.driver.reap(bench.data());
  bench.runtime.run();
}

// Goal: either the timeout or the completion ends the request, and the other one is refused.
TEST(Timeout, TheRaceWithTheCompletionIsDecidedByTheClaim) {
  for (const bool completion_first : {false, true}) {
    Bench bench{with_timeout(40)};
    bench.driver.mode = Mode::publish;
    int claimed = 0;
    bench.driver.on_timeout = [&](auto&, const auto& pin, const auto& cookie) {
      if (completion_first) bench.driver.reap(bench.data());
      if (auto claim = blkown::claim(pin, cookie)) {
        ++claimed;
        std::move(*claim).end(Status::timed_out);
      }
      return mq::TimeoutAction::handled;
    };
    Read read;
    bench.disk->submit(bench.context(), read.bio);
    pass(bench, 60);
    bench.driver.reap(bench.data());
    bench.runtime.run();
    EXPECT_EQ(claimed, completion_first ? 0 : 1);
    EXPECT_EQ(read.ends.statuses, std::vector{completion_first ? Status::ok : Status::timed_out});
    EXPECT_EQ(bench.disk->counters().rejected(blkown::LookupReason::idle),
              completion_first ? 0U : 1U);
  }
}

TEST(Timeout, ARequestThatTheDriverStillHoldsDoesNotTimeOut) {
  Bench bench{with_timeout(40)};
  bench.driver.next = {Mode::keep};
  Read read;
  bench.disk->submit(bench.context(), read.bio);
  pass(bench, 400);
  EXPECT_EQ(bench.driver.timeouts, 0);
  std::move(bench.driver.kept.front()).end_ok();
  bench.driver.kept.clear();
  bench.runtime.run();
  EXPECT_EQ(read.ends.count, 1);
}

// Goal: a request that is issued again has its whole timeout again.
TEST(Timeout, RestartsWithEachIssue) {
  Bench bench{with_timeout(100)};
  bench.driver.mode = Mode::publish;
  Read read;
  bench.disk->submit(bench.context(), read.bio);
  pass(bench, 90);
  const auto [hw, value] = bench.driver.published.front();
  bench.driver.published.clear();
  auto claim = hw->claim(value);
  ASSERT_TRUE(claim.has_value());
  std::move(*claim).requeue();
  pass(bench, 99);
  EXPECT_EQ(bench.driver.timeouts, 0);
  pass(bench, 60);
  EXPECT_EQ(bench.driver.timeouts, 1);
  bench.driver.reap(bench.data());
  bench.runtime.run();
}

TEST(Timeout, APrivateRequestMayHaveItsOwnTimeout) {
  Bench bench{with_timeout(1000)};
  bench.driver.mode = Mode::publish;
  auto idle = bench.disk->allocate_private(bench.context(), mq::Op::driver_in, false);
  bench.disk->execute_private(bench.context(), *std::move(idle), {}, 100);
  pass(bench, 126);
  EXPECT_EQ(bench.driver.timeouts, 1) << "at most a quarter late";
  bench.driver.reap(bench.data());
  bench.runtime.run();
}

TEST(Timeout, APrivateRequestMayHaveOneOnADiskWithout) {
  Bench bench{with_timeout(0)};
  bench.driver.mode = Mode::publish;
  Read read;
  bench.disk->submit(bench.context(), read.bio);
  auto idle = bench.disk->allocate_private(bench.context(), mq::Op::driver_in, false);
  bench.disk->execute_private(bench.context(), *std::move(idle), {}, 100);
  pass(bench, 126);
  EXPECT_EQ(bench.driver.timeouts, 1) << "the private request, at most a quarter late";
  bench.driver.reap(bench.data());
  bench.runtime.run();
}

TEST(Timeout, ZeroMeansNever) {
  Bench bench{with_timeout(0)};
  bench.driver.mode = Mode::publish;
  Read read;
  bench.disk->submit(bench.context(), read.bio);
  pass(bench, 500);
  EXPECT_EQ(bench.driver.timeouts, 0);
  EXPECT_FALSE(bench.runtime.next_timer_ns().has_value());
  bench.driver.reap(bench.data());
  bench.runtime.run();
}

}  // namespace
