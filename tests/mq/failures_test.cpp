// SPDX-License-Identifier: BSL-1.0
//
// Goal: known failures of block layers and drivers do not occur on this block layer.
// Method: one test for each row on the block layer in the table of tests/README.md. Each test
// repeats the events that led to the failure.

#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "mq/fake_driver.hpp"

namespace {

namespace mq = blkown::mq;
using blkown::LookupReason;
using blkown::Status;
using fake::Bench;
using fake::Ends;
using fake::Read;
using fake::whole;
using Mode = fake::Driver::Mode;
using Rq = fake::Driver::Rq;

// Linux nbd, 2019: the timeout and the reply both complete a request.
TEST(BlockLayerFailures, NbdTimeoutAndReplyBothComplete) {
  Bench bench{{.capacity_sectors = 1024, .timeout_ms = 40}};
  bench.driver.mode = Mode::publish;
  bench.driver.on_timeout = [](auto&, const auto& pin, const auto& cookie) {
    auto claim = blkown::claim(pin, cookie);
    if (claim.has_value()) std::move(*claim).end(Status::timed_out);
    return mq::TimeoutAction::handled;
  };
  Read read;
  bench.disk->submit(bench.context(), read.bio);
  for (int i = 0; i != 60; ++i) {
    bench.clock.pass_ms(1);
    bench.runtime.run();
  }
  bench.driver.reap(bench.data());
  bench.runtime.run();
  EXPECT_EQ(read.ends.statuses, std::vector{Status::timed_out});
}

// Linux blk-mq, 2022: a timeout fires before queue_rq has finished, and the request is queued
// twice. On this block layer a scan looks only at the requests of its own context, so a scan of
// another context during a queue_rq finds nothing.
TEST(BlockLayerFailures, BlkMqTimeoutFiresBeforeQueueRqHasFinished) {
  struct Slow : fake::Driver {
    Answer queue_rq(Hw& hw, QueueData&, blkown::Idle<Rq> idle, bool) override {
      std::move(idle).start().publish(
          [&](const blkown::Cookie& cookie) { published.push_back({&hw, cookie.value}); });
      if (before_return) before_return();
      return Answer::accepted();
    }
    std::function<void()> before_return;
  };
  Bench<Slow> bench{{.capacity_sectors = 8, .timeout_ms = 100}, 2};
  std::vector<std::uint64_t> asked_for;
  bench.driver.on_timeout = [&](auto&, const auto&, const auto& cookie) {
    asked_for.push_back(cookie.value);
    return mq::TimeoutAction::handled;
  };
  Read other{0}, slow{1};
  bench.disk->submit(bench.context(1), other.bio);
  bench.driver.before_return = [&] {
    for (int i = 0; i != 20; ++i) {
      bench.clock.pass_ms(25);
      bench.context(1).run();
    }
  };
  bench.disk->submit(bench.context(0), slow.bio);
  bench.runtime.run();
  const std::uint64_t other_value = bench.driver.published[0].second;
  EXPECT_EQ(asked_for, std::vector{other_value}) << "the slow one's time has not begun";
  bench.driver.reap(bench.data());
  bench.runtime.run();
  EXPECT_EQ(other.ends.count, 1);
  EXPECT_EQ(slow.ends.count, 1);
}

// Linux blk-mq, 2020: iterating over the tags finds stale and freed requests.
TEST(BlockLayerFailures, BlkMqIterationFindsStaleEntries) {
  Bench bench;
  bench.driver.next = {Mode::end, Mode::publish, Mode::keep};
  Read ended, out, owned;
  for (Read* read : {&ended, &out, &owned}) bench.disk->submit(bench.context(), read->bio);
  std::vector<std::uint64_t> seen;
  bench.disk->hw_queue(blkown::QueueIndex{0})
      .for_each_in_flight([&](const blkown::ARef<Rq>&, const blkown::Cookie& cookie) {
        seen.push_back(cookie.value);
      });
  EXPECT_EQ(seen, std::vector{bench.driver.published.front().second});
  std::move(bench.driver.kept.front()).end_ok();
  bench.driver.kept.clear();
  bench.driver.reap(bench.data());
  bench.runtime.run();
}

// Linux nbd, 2021: teardown and the receiving thread complete the same request.
TEST(BlockLayerFailures, NbdTeardownAndReceiverBothComplete) {
  Bench bench;
  bench.driver.mode = Mode::publish;
  Read read;
  bench.disk->submit(bench.context(), read.bio);
  bench.disk->fail_in_flight(Status::offline);
  bench.driver.reap(bench.data());
  bench.runtime.run();
  EXPECT_EQ(read.ends.statuses, std::vector{Status::offline});
  EXPECT_EQ(bench.disk->counters().rejected(LookupReason::idle), 1U);
}

// Linux nbd, 2023: a request is requeued after its header was sent, and the reply to the first
// issue arrives.
TEST(BlockLayerFailures, NbdReplyToTheIssueBeforeARequeue) {
  Bench bench;
  bench.driver.mode = Mode::publish;
  Read read;
  bench.disk->submit(bench.context(), read.bio);
  auto& hw = bench.disk->hw_queue(blkown::QueueIndex{0});
  const std::uint64_t first = bench.driver.published.front().second;
  bench.driver.published.clear();
  std::move(*hw.claim(first)).requeue();
  bench.runtime.run();
  ASSERT_EQ(bench.driver.published.size(), 1U) << "issued again";
  auto reply = hw.claim(first);
  ASSERT_FALSE(reply.has_value());
  EXPECT_EQ(reply.error().reason, LookupReason::stale_generation);
  bench.driver.reap(bench.data());
  bench.runtime.run();
  EXPECT_EQ(read.ends.statuses, std::vector{Status::ok});
}

// Linux's Rust block layer: queue_rq ends a request and then returns an error for it, so the
// request ends twice. On this block layer a rejection needs the handle, which the end has taken.
TEST(BlockLayerFailures, RustQueueRqEndsAndReturnsAnError) {
  Bench bench;
  std::optional idle = bench.disk->allocate_private(bench.context(), mq::Op::driver_in, false);
  std::vector<blkown::Owned<Rq>> kept;  // hides the moved-from handle from static analysis
  kept.push_back(std::move(*idle).start());
  std::move(kept.front()).end_ok();
  EXPECT_DEATH(
      static_cast<void>(fake::Driver::Answer::rejected(std::move(kept.front()), Status::io_error)),
      "a handle was used that holds no object");
  bench.runtime.run();
  EXPECT_EQ(bench.disk->counters().ended_requests, 1U);
}

// Linux's Rust block layer: a request that the driver drops without starting it leaks.
TEST(BlockLayerFailures, RustUnstartedRequestLeaks) {
  struct Dropping : fake::Driver {
    Answer queue_rq(Hw&, QueueData&, blkown::Idle<Rq> idle, bool) override {
      const auto dropped = std::move(idle);
      return Answer::accepted();
    }
  };
  static int reports = 0;
  reports = 0;
  const auto before =
      blkown::set_report_handler([](blkown::Report, const blkown::Incident&) { ++reports; });
  mq::LoopRuntime runtime;
  Dropping driver;
  auto disk = *Dropping::Disk::create({.capacity_sectors = 8}, driver, runtime);
  Read read;
  disk->submit(runtime.context(0), read.bio);
  EXPECT_EQ(read.ends.statuses, std::vector{Status::io_error});
  EXPECT_EQ(reports, 1);
  blkown::set_report_handler(before);
  mq::Event gone;
  mq::Control control{
      {[](void* its, mq::Control&) { static_cast<mq::Event*>(its)->set(); }, &gone}};
  disk->remove(control);
  EXPECT_TRUE(runtime.wait_for(gone));
}

// Linux's Rust block layer: a dismissed timer stays armed without a reference, and fires for the
// next request with the same tag.
TEST(BlockLayerFailures, RustDismissedTimerFiresOnARecycledRequest) {
  Bench bench{{.capacity_sectors = 1024, .depth = 1}};
  bench.driver.next = {Mode::keep, Mode::publish};
  int fired = 0;
  Read first, second;
  bench.disk->submit(bench.context(), first.bio);
  {
    auto claim = std::move(bench.driver.kept.front()).into_claim();
    bench.driver.kept.clear();
    mq::Timer<blkown::ARef<Rq>> timer{
        [](void* count, blkown::ARef<Rq>&&) { ++*static_cast<int*>(count); }, &fired};
    timer.arm(bench.context(), 1'000'000, claim.pin());
    std::move(claim).end_ok();
    bench.runtime.run();
    EXPECT_EQ(first.ends.count, 0) << "the timer's pin keeps the tag";
  }  // dismissed: the timer drops its pin, and the I/O ends
  bench.runtime.run();
  EXPECT_EQ(first.ends.count, 1);
  bench.disk->submit(bench.context(), second.bio);
  bench.clock.pass_ms(10);
  bench.runtime.run();
  EXPECT_EQ(fired, 0);
  bench.driver.reap(bench.data());
  bench.runtime.run();
  EXPECT_EQ(second.ends.count, 1);
}

// ublksrv: a per-tag buffer is used again while DMA to it runs. On this block layer a mapping's pin
// keeps the tag after the end.
TEST(BlockLayerFailures, UblksrvTagIsUsedAgainUnderDma) {
  Bench bench{{.capacity_sectors = 1024, .depth = 1}};
  bench.driver.next = {Mode::keep};
  Read first, second;
  bench.disk->submit(bench.context(), first.bio);
  auto claim = std::move(bench.driver.kept.front()).into_claim();
  bench.driver.kept.clear();
  std::optional mapping{claim.pin()};
  std::move(claim).end_ok();
  bench.disk->submit(bench.context(), second.bio);
  bench.runtime.run();
  EXPECT_EQ(first.ends.count, 0);
  EXPECT_EQ(bench.driver.calls, 1) << "the tag is not free";
  mapping.reset();
  bench.runtime.run();
  EXPECT_EQ(first.ends.count, 1);
  EXPECT_EQ(second.ends.count, 1);
}

// ubiblk: a completion that cannot be delivered is dropped, and the guest hangs.
TEST(BlockLayerFailures, UbiblkDroppedCompletionHangsTheGuest) {
  const auto before = blkown::set_report_handler(nullptr);
  Bench bench;
  bench.driver.mode = Mode::publish;
  Read read;
  bench.disk->submit(bench.context(), read.bio);
  {
    const auto dropped =
        bench.disk->hw_queue(blkown::QueueIndex{0}).claim(bench.driver.published.front().second);
    EXPECT_TRUE(dropped.has_value());
  }
  bench.driver.published.clear();
  bench.runtime.run();
  EXPECT_EQ(read.ends.statuses, std::vector{Status::io_error});
  blkown::set_report_handler(before);
}

}  // namespace
