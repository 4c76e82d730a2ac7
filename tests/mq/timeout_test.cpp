// SPDX-License-Identifier: BSL-1.0
//
// Tests of timeouts: when the driver's hook is called, and its race with the completion.

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "mq/fake_driver.hpp"

namespace {

namespace mq = blkown::mq;
using blkown::Status;
using fake::Bench;
using fake::Ends;
using fake::PrivateEnd;
using fake::Read;
using fake::whole;
using Mode = fake::Driver::Mode;

mq::DiskConfig with_timeout(std::uint32_t timeout_ms) {
  return {.capacity_sectors = 1024, .timeout_ms = timeout_ms};
}

// Goal: the hook is called not early, and at most a quarter of the timeout late.
TEST(Timeout, CallsTheHookAfterTheTimeout) {
  Bench bench{with_timeout(100)};
  bench.driver.mode = Mode::publish;
  bench.pass_ms(37);
  Read read;
  bench.disk->submit(bench.context(), read.bio);
  bench.pass_ms(99);
  EXPECT_EQ(bench.driver.timeouts, 0);
  bench.pass_ms(51);
  EXPECT_EQ(bench.driver.timeouts, 1);
  bench.driver.reap(bench.data());
  bench.runtime.run();
  EXPECT_EQ(read.ends.statuses, std::vector{Status::ok}) << "a rearmed request may still complete";
}

// Goal: the end of the only bio in flight looks for what its callback has submitted.
TEST(Timeout, CallsTheHookForABioOfACallback) {
  Bench bench{with_timeout(100)};
  bench.driver.next = {Mode::end, Mode::end, Mode::publish};
  Read before, first, second;
  bench.disk->submit(bench.context(), before.bio);  // a context's first bio takes the long way
  first.ends.then = [&](mq::Bio&) { bench.disk->submit(bench.context(), second.bio); };
  bench.disk->submit(bench.context(), first.bio);
  bench.pass_ms(150);
  EXPECT_EQ(bench.driver.timeouts, 1);
  bench.driver.reap(bench.data());
  bench.runtime.run();
  EXPECT_EQ(second.ends.statuses, std::vector{Status::ok});
}

TEST(Timeout, CallsTheHookAgainIfRearmed) {
  Bench bench{with_timeout(100)};
  bench.driver.mode = Mode::publish;
  Read read;
  bench.disk->submit(bench.context(), read.bio);
  bench.pass_ms(600);
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
  bench.pass_ms(1000);
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
    bench.pass_ms(60);
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
  bench.pass_ms(400);
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
  bench.pass_ms(90);
  const auto [hw, value] = bench.driver.published.front();
  bench.driver.published.clear();
  auto claim = hw->claim(value);
  ASSERT_TRUE(claim.has_value());
  std::move(*claim).requeue();
  bench.pass_ms(99);
  EXPECT_EQ(bench.driver.timeouts, 0);
  bench.pass_ms(60);
  EXPECT_EQ(bench.driver.timeouts, 1);
  bench.driver.reap(bench.data());
  bench.runtime.run();
}

TEST(Timeout, APrivateRequestMayHaveItsOwnTimeout) {
  Bench bench{with_timeout(1000)};
  bench.driver.mode = Mode::publish;
  auto idle = bench.disk->allocate_private(bench.context(), mq::Op::driver_in, false);
  bench.disk->execute_private(bench.context(), *std::move(idle), {}, 100);
  bench.pass_ms(126);
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
  bench.pass_ms(126);
  EXPECT_EQ(bench.driver.timeouts, 1) << "the private request, at most a quarter late";
  bench.driver.reap(bench.data());
  bench.runtime.run();
}

// Goal: the next request with the tag of a private request that had its own timeout has the disk's
// timeout, whether it is a private one or a bio's.
TEST(Timeout, TheNextRequestWithATagHasTheDisksTimeout) {
  for (const bool is_private : {true, false}) {
    SCOPED_TRACE(is_private);
    Bench bench{{.capacity_sectors = 1024, .depth = 1, .timeout_ms = 1000}};
    bench.driver.mode = Mode::publish;
    PrivateEnd before, after;
    ASSERT_TRUE(execute_private(bench, 0, 1, before, 40));
    bench.driver.reap(bench.data());
    bench.runtime.run();
    ASSERT_EQ(before.count, 1);
    Read read;
    if (is_private) {
      ASSERT_TRUE(execute_private(bench, 0, 2, after));
    } else {
      bench.disk->submit(bench.context(), read.bio);
    }
    bench.pass_ms(999);
    EXPECT_EQ(bench.driver.timeouts, 0);
    bench.pass_ms(251);
    EXPECT_EQ(bench.driver.timeouts, 1) << "at most a quarter late";
    bench.driver.reap(bench.data());
    bench.runtime.run();
    EXPECT_EQ(before.count, 1) << "the callback is not that of the request before";
    EXPECT_EQ(after.count, is_private ? 1 : 0);
    EXPECT_EQ(read.ends.count, is_private ? 0 : 1);
  }
}

// Goal: what belongs to a private request is found by its tag and the queue of its tag. Two queues
// have the same tag, or share their tags, and then a hardware queue's index is not the tag's queue.
TEST(Timeout, APrivateRequestHasItsOwnTimeoutOnEachQueue) {
  for (const bool shared_tags : {false, true}) {
    SCOPED_TRACE(shared_tags);
    Bench bench{{.capacity_sectors = 1024,
                 .normal_queues = 2,
                 .depth = shared_tags ? 2U : 1U,
                 .shared_tags = shared_tags,
                 .timeout_ms = 1000},
                2};
    bench.driver.mode = Mode::publish;
    std::vector<std::uint32_t> asked;  // hardware queues
    bench.driver.on_timeout = [&](auto& hw, const auto&, const auto&) {
      asked.push_back(hw.index().value);
      return mq::TimeoutAction::handled;
    };
    PrivateEnd with_the_disks, with_its_own;
    ASSERT_TRUE(execute_private(bench, 0, 5, with_the_disks));
    ASSERT_TRUE(execute_private(bench, 1, 6, with_its_own, 40));
    bench.pass_ms(39);
    EXPECT_TRUE(asked.empty()) << "never early";
    bench.pass_ms(21);
    EXPECT_EQ(asked, std::vector{1U});
    bench.driver.reap(bench.data());
    bench.runtime.run();
    EXPECT_EQ(with_the_disks.count, 1);
    EXPECT_EQ(with_the_disks.number, 5);
    EXPECT_EQ(with_its_own.count, 1);
    EXPECT_EQ(with_its_own.number, 6);
  }
}

TEST(Timeout, ZeroMeansNever) {
  Bench bench{with_timeout(0)};
  bench.driver.mode = Mode::publish;
  Read read;
  bench.disk->submit(bench.context(), read.bio);
  bench.pass_ms(500);
  EXPECT_EQ(bench.driver.timeouts, 0);
  EXPECT_FALSE(bench.runtime.next_timer_ns().has_value());
  bench.driver.reap(bench.data());
  bench.runtime.run();
}

// Goal: a deadline belongs to a publication. A request that the hook claims and publishes again, on
// another path, to a device that stays mute, has its whole timeout again, each time.
// Method: the hook publishes and answers `handled`, which is about the publication that it was
// asked about.
TEST(Timeout, APublicationByTheHookHasItsOwnDeadline) {
  for (const auto answer : {mq::TimeoutAction::handled, mq::TimeoutAction::rearm}) {
    Bench bench{with_timeout(100)};
    bench.driver.mode = Mode::publish;
    std::vector<std::uint64_t> asked_ms;
    bench.driver.on_timeout = [&](auto& hw, const auto& pin, const auto& cookie) {
      asked_ms.push_back(bench.clock.now_ns / 1'000'000);
      auto claim = blkown::claim(pin, cookie);
      EXPECT_TRUE(claim.has_value()) << "the hook is asked about the present publication";
      if (claim.has_value()) {
        bench.driver.published.clear();
        std::move(*claim).publish(
            [&](blkown::Cookie next) { bench.driver.published.push_back({&hw, next.value}); });
      }
      return answer;
    };
    Read read;
    bench.disk->submit(bench.context(), read.bio);
    bench.pass_ms(1000);
    ASSERT_GE(asked_ms.size(), 6U);
    for (std::size_t i = 1; i != asked_ms.size(); ++i) {
      EXPECT_GE(asked_ms[i] - asked_ms[i - 1], 100U) << "never early";
      EXPECT_LE(asked_ms[i] - asked_ms[i - 1], 150U);
    }
    bench.driver.reap(bench.data());
    bench.runtime.run();
    EXPECT_EQ(read.ends.statuses, std::vector{Status::ok});
  }
}

/// Takes whole batches, and publishes every request.
struct BatchPublisher : fake::FullDriver {
  void queue_rqs(Hw& hw, QueueData&, mq::IdleList<Rq>& list) override {
    while (auto idle = list.pop_front()) publish(hw, *std::move(idle));
  }
  mq::TimeoutAction timeout(Hw&, const blkown::ARef<Rq>&, const blkown::Cookie&) override {
    ++timeouts;
    return mq::TimeoutAction::rearm;
  }
  int timeouts = 0;
};

#if BLKOWN_WORD_BITS == 32
// Goal: a request that queue_rqs or queue_rq takes has its whole timeout, although an earlier
// publication, which a scan has seen, had the same generation.
// Method: the generations of the 32-bit word wrap after 65,536 issues, which all fall between two
// scans. Those of the 64-bit word are too many to try.
void issue_after_all_generations(bool batched) {
  Bench<BatchPublisher> bench{{.capacity_sectors = 1024, .depth = 2, .timeout_ms = 100}};
  fake::Read first{0}, second{8};
  const auto issue = [&] {
    std::optional<BatchPublisher::Disk::Plug> plug;
    if (batched) plug.emplace(*bench.disk, bench.context());
    bench.disk->submit(bench.context(), first.bio);
    bench.disk->submit(bench.context(), second.bio);
  };
  const auto reap = [&] {
    auto& hw = bench.disk->hw_queue(blkown::QueueIndex{0});
    for (const std::uint64_t id : std::exchange(hw.data.published, {})) {
      auto claim = hw.claim(id);
      ASSERT_TRUE(claim.has_value());
      std::move(*claim).end_ok();
    }
    bench.runtime.run();
  };
  issue();
  bench.pass_ms(99);
  EXPECT_EQ(bench.driver.timeouts, 0);
  for (int i = 0; i != 65'536; ++i) {
    reap();
    issue();
  }
  bench.pass_ms(99);
  EXPECT_EQ(bench.driver.timeouts, 0) << "never early";
  bench.pass_ms(60);
  EXPECT_EQ(bench.driver.timeouts, 2);
  reap();
}
TEST(Timeout, ABatchAfterAllGenerationsHasItsOwnDeadline) { issue_after_all_generations(true); }
TEST(Timeout, AnIssueAfterAllGenerationsHasItsOwnDeadline) { issue_after_all_generations(false); }
#endif

// Goal: the hook is not called early for a request that the driver publishes again between two
// scans, in an interrupt.
// Method: each publication lives for 90 of 100 ms.
TEST(Timeout, APublicationBetweenTwoScansHasItsOwnDeadline) {
  Bench bench{with_timeout(100)};
  bench.driver.mode = Mode::publish;
  Read read;
  bench.disk->submit(bench.context(), read.bio);
  for (int i = 0; i != 10; ++i) {
    bench.pass_ms(90);
    const auto [hw, value] = bench.driver.published.front();
    bench.driver.published.clear();
    auto claim = hw->claim(value);
    ASSERT_TRUE(claim.has_value());
    std::move(*claim).publish([&, its = hw](blkown::Cookie next) {
      bench.driver.published.push_back({its, next.value});
    });
  }
  EXPECT_EQ(bench.driver.timeouts, 0);
  bench.pass_ms(151);
  EXPECT_EQ(bench.driver.timeouts, 1) << "the last one is mute";
  bench.driver.reap(bench.data());
  bench.runtime.run();
}

// Goal: a hook that takes long makes no other request's time begin early.
TEST(Timeout, ASlowHookDoesNotShortenTheTimeOfOthers) {
  Bench bench{with_timeout(100)};
  bench.driver.mode = Mode::publish;
  Read slow{0}, late{8};
  std::vector<std::pair<std::uint64_t, std::uint64_t>> asked;  // tag, milliseconds
  std::uint64_t late_ms = 0;
  bench.driver.on_timeout = [&](auto&, const auto& pin, const auto&) {
    asked.emplace_back(pin.tag().value, bench.clock.now_ns / 1'000'000);
    if (late_ms == 0) {
      bench.clock.pass_ms(70);  // the hook itself
      late_ms = bench.clock.now_ns / 1'000'000;
      std::move(bench.driver.kept.front()).publish([&](blkown::Cookie next) {
        bench.driver.published.push_back(
            {&bench.disk->hw_queue(blkown::QueueIndex{0}), next.value});
      });
      bench.driver.kept.clear();
    }
    return mq::TimeoutAction::handled;
  };
  bench.disk->submit(bench.context(), slow.bio);
  bench.driver.next = {Mode::keep};
  bench.disk->submit(bench.context(), late.bio);
  bench.pass_ms(400);
  ASSERT_EQ(asked.size(), 2U);
  EXPECT_NE(asked[1].first, asked[0].first);
  EXPECT_GE(asked[1].second, late_ms + 100) << "never early";
  bench.driver.reap(bench.data());
  bench.runtime.run();
}

// Goal: a part of a millisecond does not make the hook early.
// Method: the clock passes in different steps, and a request with a longer timeout is published
// between two scans for a shorter one.
TEST(Timeout, CountsPartsOfAMillisecond) {
  for (std::uint64_t step_ns = 310'000; step_ns < 1'300'000; step_ns += 70'000) {
    Bench bench{with_timeout(4)};
    bench.driver.mode = Mode::publish;
    std::uint64_t published_ns = 0;
    blkown::Tag longer;
    std::uint64_t asked_ns = 0;
    bench.driver.on_timeout = [&](auto&, const auto& pin, const auto&) {
      if (published_ns != 0 && pin.tag() == longer && asked_ns == 0) asked_ns = bench.clock.now_ns;
      return mq::TimeoutAction::rearm;
    };
    Read read;
    bench.disk->submit(bench.context(), read.bio);
    for (int i = 0; i != 60; ++i) {
      bench.clock.now_ns += step_ns;
      if (i == 7) {
        auto idle = bench.disk->allocate_private(bench.context(), mq::Op::driver_in, false);
        longer = idle->tag();
        bench.disk->execute_private(bench.context(), *std::move(idle), {}, 5);
        published_ns = bench.clock.now_ns;
      }
      bench.runtime.run();
    }
    EXPECT_GE(asked_ns - published_ns, 5'000'000U) << step_ns;
    bench.driver.reap(bench.data());
    bench.runtime.run();
  }
}

// Goal: a timeout that means never is not cut to twelve days.
// Method: the clock passes forty.
TEST(Timeout, TheLongestTimeoutOfAPrivateRequestIsKept) {
  Bench bench{with_timeout(0)};
  bench.driver.mode = Mode::publish;
  auto idle = bench.disk->allocate_private(bench.context(), mq::Op::driver_in, false);
  bench.disk->execute_private(bench.context(), *std::move(idle), {}, ~std::uint32_t{0});
  for (int day = 0; day != 40; ++day) {
    bench.clock.pass_ms(86'400'000);
    bench.runtime.run();
    EXPECT_EQ(bench.driver.timeouts, 0) << day;
  }
  bench.driver.reap(bench.data());
  bench.runtime.run();
}

// Goal: `handled` silences the publication for good, not for twelve days.
TEST(Timeout, CallsTheHookOnceInAYearIfHandled) {
  Bench bench{with_timeout(100)};
  bench.driver.mode = Mode::publish;
  bench.driver.on_timeout = [](auto&, auto&, auto&) { return mq::TimeoutAction::handled; };
  Read read;
  bench.disk->submit(bench.context(), read.bio);
  for (int day = 0; day != 365; ++day) {
    bench.pass_ms(200);
    bench.clock.pass_ms(86'400'000);
  }
  EXPECT_EQ(bench.driver.timeouts, 1);
  bench.driver.reap(bench.data());
  bench.runtime.run();
}

}  // namespace
