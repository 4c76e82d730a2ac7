// SPDX-License-Identifier: BSL-1.0
#include <gtest/gtest.h>

#include <utility>

#include "support/driver.hpp"

using blkown::LookupReason;
using blkown::Report;
using blkown::Status;
using support::Driver;
using support::EndRecord;
using support::Idle;

TEST(Idle, NamesItsRequest) {
  Driver<> driver;
  Idle idle = driver.idle(3, 1);
  EXPECT_EQ(idle.queue(), blkown::QueueIndex{1});
  EXPECT_EQ(idle.tag(), blkown::Tag{3});
  EXPECT_EQ(&idle.header(), &driver.header(3, 1));
  std::move(idle).fail(Status::ok);
}

TEST(Idle, StartsAsOwnedUnderTheSameGenerationWithItsData) {
  Driver<> driver;
  Idle idle = driver.idle();
  idle.data().sectors = 8;
  EXPECT_EQ(driver.state(), "0");
  auto owned = std::move(idle).start();
  EXPECT_EQ(driver.state(), "0 owned");
  EXPECT_EQ(driver.generation(), 100U);
  EXPECT_EQ(owned.data().sectors, 8);
  std::move(owned).end_ok();
}

TEST(Idle, IsNotFoundByLookups) {
  Driver<> driver;
  Idle idle = driver.idle();
  const auto refused = driver.set.claim_any_generation(blkown::QueueIndex{0}, blkown::Tag{0});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().reason, LookupReason::idle);
  std::move(idle).fail(Status::ok);
}

TEST(Idle, FailsWithAnyStatusAndFreesItsTag) {
  Driver<> driver;
  for (std::size_t i = 0; i != blkown::status_count; ++i) {
    const auto status = static_cast<Status>(i);
    driver.idle(2).fail(status);
    EXPECT_EQ(driver.sink.last(), (EndRecord{.queue = 0, .tag = 2, .status = status}));
    EXPECT_EQ(driver.state(2), "0");
  }
  EXPECT_EQ(driver.reports.count(), 0U);
}

TEST(Idle, RequeuedIsHandedOverAgainUnderTheSameTag) {
  Driver<> driver;
  driver.idle(2).requeue();
  EXPECT_EQ(driver.sink.last(), (EndRecord{.queue = 0, .tag = 2, .is_requeue = true}));
  EXPECT_FALSE(driver.set.allocate_tag(blkown::QueueIndex{0}, blkown::Tag{2}).has_value())
      << "a requeue keeps the tag";
  Idle again = driver.sink.requeued.pop_front().value().into_idle();
  EXPECT_EQ(again.tag(), blkown::Tag{2});
  std::move(again).start().end_ok();
  EXPECT_EQ(driver.sink.count(), 2U);
}

// Goal: an I/O whose Idle the driver drops still ends for its submitter.
TEST(Idle, DroppedFailsTheIoAndReportsOnce) {
  Driver<> driver;
  {
    const Idle dropped = driver.idle(1);
  }
  ASSERT_EQ(driver.sink.count(), 1U);
  EXPECT_EQ(driver.sink.last(), (EndRecord{.queue = 0, .tag = 1, .status = Status::io_error}));
  ASSERT_EQ(driver.reports.count(), 1U);
  EXPECT_EQ(driver.reports.last().report, Report::idle_dropped);
  EXPECT_TRUE(driver.set.allocate_tag(blkown::QueueIndex{0}, blkown::Tag{1}).has_value())
      << "the tag is free";
}

TEST(Idle, MovedFromHoldsNothing) {
  Driver<> driver;
  {
    Idle from = driver.idle();
    Idle to = std::move(from);
    std::move(to).fail(Status::aborted);
  }
  EXPECT_EQ(driver.sink.count(), 1U);
  EXPECT_EQ(driver.reports.count(), 0U);
}

TEST(Idle, AssignedToFailsTheIoItHeld) {
  Driver<> driver;
  Idle idle = driver.idle(1);
  idle = driver.idle(2);
  ASSERT_EQ(driver.sink.count(), 1U);
  EXPECT_EQ(driver.sink.last(), (EndRecord{.queue = 0, .tag = 1, .status = Status::io_error}));
  EXPECT_EQ(driver.reports.count(), 1U);
  EXPECT_EQ(idle.tag(), blkown::Tag{2});
  std::move(idle).fail(Status::ok);
}

TEST(Idle, SurvivesAMoveToItself) {
  Driver<> driver;
  Idle idle = driver.idle();
  Idle& same = idle;
  idle = std::move(same);
  EXPECT_EQ(driver.sink.count(), 0U);
  std::move(idle).fail(Status::ok);
  EXPECT_EQ(driver.reports.count(), 0U);
}

TEST(Idle, SwapsWithAnother) {
  Driver<> driver;
  Idle first = driver.idle(1);
  Idle second = driver.idle(2);
  std::swap(first, second);
  EXPECT_EQ(first.tag(), blkown::Tag{2});
  EXPECT_EQ(second.tag(), blkown::Tag{1});
  EXPECT_EQ(driver.sink.count(), 0U);
  std::move(first).fail(Status::ok);
  std::move(second).fail(Status::ok);
}

TEST(Idle, CrossesACBoundary) {
  Driver<> driver;
  support::Request* const raw = driver.idle(4).into_raw();
  EXPECT_EQ(driver.sink.count(), 0U);
  Idle back = Idle::from_raw(raw);
  EXPECT_EQ(back.tag(), blkown::Tag{4});
  std::move(back).fail(Status::ok);
}
