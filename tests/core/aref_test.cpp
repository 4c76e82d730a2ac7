// SPDX-License-Identifier: BSL-1.0
//
// ARef as a pin of a request. ARef of other objects is in refcounted_test.cpp.

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "support/driver.hpp"

using blkown::QueueIndex;
using blkown::Status;
using blkown::Tag;
using support::ARef;
using support::Driver;
using support::EndRecord;

namespace {

/// Data that is written before publication and constant while references exist.
struct Geometry {
  int sectors = 0;
};
using GeometryRequest = blkown::Request<Geometry>;

}  // namespace

template <>
inline constexpr bool blkown::shared_data<Geometry> = true;

namespace {

template <class R>
concept GivesData = requires(const blkown::ARef<R>& pin) { pin.data(); };
static_assert(GivesData<GeometryRequest> && !GivesData<support::Request>,
              "a pin reads only what was declared safe to share");

}  // namespace

TEST(ARef, NamesItsRequest) {
  Driver<> driver;
  const auto cookie = driver.in_flight(3, 1);
  {
    const ARef pin = driver.pin(cookie);
    EXPECT_EQ(pin.queue(), QueueIndex{1});
    EXPECT_EQ(pin.tag(), Tag{3});
    EXPECT_EQ(pin.generation(), cookie.generation);
    EXPECT_EQ(&pin.header(), &driver.header(3, 1));
  }
  driver.complete(cookie);
}

TEST(ARef, EachCopyIsAReference) {
  Driver<> driver;
  const auto cookie = driver.in_flight();
  {
    const ARef first = driver.pin(cookie);
    EXPECT_EQ(driver.state(), "2");
    const ARef second = first;
    EXPECT_EQ(driver.state(), "3");
    {
      const ARef third = second;
    }
    EXPECT_EQ(driver.state(), "3");
  }
  EXPECT_EQ(driver.state(), "1") << "dropping the last reference parks the I/O";
  driver.complete(cookie);
}

TEST(ARef, ParksUnderTheSameGeneration) {
  Driver<> driver;
  const auto cookie = driver.in_flight();
  {
    const ARef pin = driver.pin(cookie);
  }
  EXPECT_EQ(driver.generation(), cookie.generation.value);
  EXPECT_EQ(driver.sink.count(), 0U);
  driver.complete(cookie);
}

// Goal: a pin keeps the request's tag in use. The state and the generation may still change.
TEST(ARef, DoesNotFreezeTheGeneration) {
  Driver<> driver;
  const auto cookie = driver.in_flight();
  const ARef pin = driver.pin(cookie);
  const auto next = Driver<>::publish(driver.claim(cookie));
  EXPECT_EQ(pin.generation(), next.generation);
  EXPECT_NE(next.generation, cookie.generation);
  driver.claim(next).end_ok();
}

TEST(ARef, KeepsTheTagFromBeingUsedAgain) {
  Driver<> driver;
  const auto cookie = driver.in_flight(6);
  {
    const ARef pin = driver.pin(cookie);
    driver.claim(cookie).end_ok();
    EXPECT_FALSE(driver.set.allocate_tag(QueueIndex{0}, Tag{6}).has_value());
  }
  EXPECT_TRUE(driver.set.allocate_tag(QueueIndex{0}, Tag{6}).has_value());
}

TEST(ARef, CompletesTheEndWhenItIsTheLast) {
  Driver<> driver;
  auto claim = driver.claimed(2);
  std::vector<ARef> pins;
  for (int i = 0; i < 3; ++i) pins.push_back(claim.pin());
  std::move(claim).end(Status::target_error);
  while (!pins.empty()) {
    EXPECT_EQ(driver.sink.count(), 0U);
    EXPECT_EQ(driver.state(2), std::to_string(pins.size() + 1) + " finished");
    pins.pop_back();
  }
  ASSERT_EQ(driver.sink.count(), 1U);
  EXPECT_EQ(driver.sink.last(), (EndRecord{.queue = 0, .tag = 2, .status = Status::target_error}));
}

TEST(ARef, OfAnEndedRequestCanStillBeCopied) {
  Driver<> driver;
  auto claim = driver.claimed();
  ARef pin = claim.pin();
  std::move(claim).end_ok();
  {
    const ARef copy = pin;
    EXPECT_EQ(driver.state(), "3 finished");
    {
      const ARef taken = std::move(pin);
    }
    EXPECT_EQ(driver.state(), "2 finished");
    EXPECT_EQ(driver.sink.count(), 0U);
  }
  EXPECT_EQ(driver.sink.count(), 1U);
}

TEST(ARef, ReadsDataThatMayBeShared) {
  Driver<GeometryRequest> driver;
  auto owned = driver.owned();
  owned.data().sectors = 2048;
  const auto cookie = driver.publish(std::move(owned));
  {
    const auto pin = driver.pin(cookie);
    EXPECT_EQ(pin.data().sectors, 2048);
    static_assert(std::is_same_v<decltype(pin.data()), const Geometry&>);
  }
  driver.complete(cookie);
}

TEST(ARef, MovedFromHoldsNothing) {
  Driver<> driver;
  const auto cookie = driver.in_flight();
  {
    ARef from = driver.pin(cookie);
    const ARef to = std::move(from);
    EXPECT_EQ(driver.state(), "2");
  }
  EXPECT_EQ(driver.state(), "1");
  driver.complete(cookie);
}

TEST(ARef, AssignedToLetsGoOfTheRequestItHeld) {
  Driver<> driver;
  const auto first = driver.in_flight(1);
  const auto second = driver.in_flight(2);
  {
    const ARef source = driver.pin(second);
    ARef pin = driver.pin(first);
    pin = source;
    EXPECT_EQ(driver.state(1), "1");
    EXPECT_EQ(driver.state(2), "3");
    pin = driver.pin(first);
    EXPECT_EQ(driver.state(1), "2");
    EXPECT_EQ(driver.state(2), "2");
  }
  driver.complete(first);
  driver.complete(second);
}

// Goal: assigning over the last pin of an ended request completes the end.
TEST(ARef, AssignedToCompletesTheEndThatWaitedForIt) {
  Driver<> driver;
  const auto other = driver.in_flight(2);
  auto claim = driver.claimed(1);
  {
    ARef pin = claim.pin();
    std::move(claim).end_ok();
    pin = driver.pin(other);
    ASSERT_EQ(driver.sink.count(), 1U);
    EXPECT_EQ(driver.sink.last().tag, 1U);
  }
  driver.complete(other);
}

TEST(ARef, SurvivesAnAssignmentToItself) {
  Driver<> driver;
  const auto cookie = driver.in_flight();
  {
    ARef pin = driver.pin(cookie);
    ARef& same = pin;
    pin = same;
    EXPECT_EQ(driver.state(), "2");
    pin = std::move(same);
    EXPECT_EQ(driver.state(), "2");
    EXPECT_EQ(pin.tag(), Tag{0});
  }
  EXPECT_EQ(driver.state(), "1");
  driver.complete(cookie);
}

TEST(ARef, SwapsWithAnother) {
  Driver<> driver;
  const auto one = driver.in_flight(1);
  const auto two = driver.in_flight(2);
  {
    ARef first = driver.pin(one);
    ARef second = driver.pin(two);
    std::swap(first, second);
    EXPECT_EQ(first.tag(), Tag{2});
    EXPECT_EQ(second.tag(), Tag{1});
    EXPECT_EQ(driver.state(1), "2");
    EXPECT_EQ(driver.state(2), "2");
  }
  driver.complete(one);
  driver.complete(two);
}

TEST(ARef, CrossesACBoundaryWithItsReference) {
  Driver<> driver;
  const auto cookie = driver.in_flight(4);
  ARef pin = driver.pin(cookie);
  support::Request* const raw = std::move(pin).into_raw();
  EXPECT_EQ(driver.state(4), "2");
  {
    const ARef back = ARef::from_raw(raw);
    EXPECT_EQ(back.tag(), Tag{4});
    EXPECT_EQ(driver.state(4), "2");
  }
  EXPECT_EQ(driver.state(4), "1");
  driver.complete(cookie);
}

// Goal: visit_holders compiles in every build. tracking_test.cpp tests its results.
TEST(ARef, VisitsItsHoldersInATrackingBuildOnly) {
  Driver<> driver;
  const auto cookie = driver.in_flight();
  {
    const ARef first = driver.pin(cookie);
    const ARef second = first;
    int count = 0;
    blkown::visit_holders(second.header(), [&](const blkown::Place&) { ++count; });
    EXPECT_EQ(count, blkown::is_tracking ? 2 : 0);
    EXPECT_EQ(sizeof(ARef) == sizeof(void*), !blkown::is_tracking);
  }
  driver.complete(cookie);
}
