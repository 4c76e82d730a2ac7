// SPDX-License-Identifier: BSL-1.0
//
// Claim as a handle. claim_from_pin_test.cpp tests claiming through a pin, publish_test.cpp
// publishing.

#include <gtest/gtest.h>

#include <optional>
#include <utility>

#include "support/driver.hpp"

using blkown::LookupReason;
using blkown::QueueIndex;
using blkown::Report;
using blkown::Status;
using blkown::Tag;
using support::ARef;
using support::Claim;
using support::Driver;
using support::EndRecord;

TEST(Claim, NamesItsRequestAndHoldsItsData) {
  Driver<> driver;
  const auto cookie = driver.in_flight(3, 1);
  Claim claim = driver.claim(cookie);
  claim.data().sectors = 4;
  EXPECT_EQ(claim.queue(), QueueIndex{1});
  EXPECT_EQ(claim.tag(), Tag{3});
  EXPECT_EQ(&claim.header(), &driver.header(3, 1));
  EXPECT_EQ(claim.cookie(), cookie);
  EXPECT_EQ(claim.next_cookie().generation.value, cookie.generation.value + 1);
  EXPECT_EQ(claim.data().sectors, 4);
  std::move(claim).end_ok();
}

// Goal: of two completions of one publication, exactly one gets the Claim.
TEST(Claim, IsGivenOnce) {
  Driver<> driver;
  const auto cookie = driver.in_flight();
  Claim claim = driver.claim(cookie);
  EXPECT_EQ(driver.refusal(cookie), LookupReason::owned);
  std::move(claim).end_ok();
  EXPECT_EQ(driver.refusal(cookie), LookupReason::idle);
  EXPECT_EQ(driver.sink.count(), 1U);
}

TEST(Claim, OfAPinnedRequestIsGivenOnce) {
  Driver<> driver;
  const auto cookie = driver.in_flight();
  {
    const ARef pin = driver.pin(cookie);
    Claim claim = driver.claim(cookie);
    EXPECT_EQ(driver.state(), "3 claimed");
    EXPECT_EQ(driver.refusal(cookie), LookupReason::claimed);
    std::move(claim).end_ok();
    EXPECT_EQ(driver.refusal(cookie), LookupReason::claimed) << "ended, still pinned";
  }
  EXPECT_EQ(driver.refusal(cookie), LookupReason::idle);
}

TEST(Claim, PinsItsRequest) {
  Driver<> driver;
  Claim claim = driver.owned().into_claim();
  {
    const ARef first = claim.pin();
    EXPECT_EQ(driver.state(), "3 claimed");
    const ARef second = claim.pin();
    EXPECT_EQ(driver.state(), "4 claimed");
    EXPECT_EQ(driver.generation(), 100U) << "a pin does not advance the generation";
  }
  EXPECT_EQ(driver.state(), "2 claimed");
  const ARef again = claim.pin();
  EXPECT_EQ(driver.state(), "3 claimed");
  std::move(claim).end_ok();
}

// Goal: before publication no lookup finds the I/O, with or without pins.
TEST(Claim, OfAnUnpublishedIoIsNotFoundByLookups) {
  Driver<> driver;
  Claim claim = driver.owned().into_claim();
  EXPECT_EQ(driver.refusal(claim.next_cookie()), LookupReason::early);
  const ARef pin = claim.pin();
  EXPECT_EQ(driver.refusal(claim.next_cookie()), LookupReason::early);
  EXPECT_EQ(driver.refusal(claim.cookie()), LookupReason::claimed);
  std::move(claim).end_ok();
}

TEST(Claim, EndsAtOnceWithAnyStatusWhenItIsAlone) {
  Driver<> driver;
  for (std::size_t i = 0; i != blkown::status_count; ++i) {
    const auto status = static_cast<Status>(i);
    driver.claimed(2).end(status);
    EXPECT_EQ(driver.sink.count(), static_cast<std::size_t>(i) + 1);
    EXPECT_EQ(driver.sink.last(), (EndRecord{.queue = 0, .tag = 2, .status = status}));
    EXPECT_EQ(driver.state(2), "0");
  }
  driver.claimed(2).end_ok();
  EXPECT_EQ(driver.sink.last(), (EndRecord{.queue = 0, .tag = 2, .status = Status::ok}));
}

TEST(Claim, EndsAtOnceWhenItsPinsAreGone) {
  Driver<> driver;
  Claim claim = driver.claimed();
  {
    const ARef pin = claim.pin();
  }
  EXPECT_EQ(driver.state(), "2 claimed");
  std::move(claim).end_ok();
  EXPECT_EQ(driver.state(), "0");
  EXPECT_EQ(driver.sink.count(), 1U);
}

// Goal: the end is delivered once, when the last pin is dropped, in that pin's context.
TEST(Claim, EndedWithPinsCompletesWhenTheLastPinGoes) {
  Driver<> driver;
  Claim claim = driver.claimed(5);
  std::optional<ARef> first = claim.pin();
  std::optional<ARef> last = claim.pin();
  std::move(claim).end(Status::timed_out);
  EXPECT_EQ(driver.sink.count(), 0U);
  first.reset();
  EXPECT_EQ(driver.sink.count(), 0U);
  last.reset();
  ASSERT_EQ(driver.sink.count(), 1U);
  EXPECT_EQ(driver.sink.last(), (EndRecord{.queue = 0, .tag = 5, .status = Status::timed_out}));
  EXPECT_EQ(driver.state(5), "0");
  EXPECT_EQ(driver.reports.count(), 0U);
}

TEST(Claim, RequeuedAloneRevokesItsCookieAtOnce) {
  Driver<> driver;
  const auto cookie = driver.in_flight(5);
  driver.claim(cookie).requeue();
  EXPECT_EQ(driver.sink.last(), (EndRecord{.queue = 0, .tag = 5, .is_requeue = true}));
  EXPECT_EQ(driver.refusal(cookie), LookupReason::idle);
  auto again = driver.sink.requeued.pop_front().value().into_idle().start();
  EXPECT_EQ(driver.refusal(cookie), LookupReason::owned);
  const auto next = Driver<>::publish(std::move(again));
  EXPECT_EQ(driver.refusal(cookie), LookupReason::stale_generation);
  driver.complete(next);
}

TEST(Claim, RequeuedWithPinsIsHandedBackWhenTheLastPinGoes) {
  Driver<> driver;
  Claim claim = driver.claimed(5);
  std::optional<ARef> pin = claim.pin();
  std::move(claim).requeue();
  EXPECT_EQ(driver.state(5), "2 finished");
  EXPECT_EQ(driver.sink.count(), 0U);
  pin.reset();
  ASSERT_EQ(driver.sink.count(), 1U);
  EXPECT_EQ(driver.sink.last(), (EndRecord{.queue = 0, .tag = 5, .is_requeue = true}));
  driver.sink.requeued.pop_front().value().into_idle().fail(Status::ok);
}

TEST(Claim, DroppedEndsWithIoErrorAndReportsOnce) {
  Driver<> driver;
  {
    const Claim dropped = driver.claimed(3);
  }
  ASSERT_EQ(driver.sink.count(), 1U);
  EXPECT_EQ(driver.sink.last(), (EndRecord{.queue = 0, .tag = 3, .status = Status::io_error}));
  ASSERT_EQ(driver.reports.count(), 1U);
  EXPECT_EQ(driver.reports.last().report, Report::claim_dropped);
}

TEST(Claim, DroppedWithPinsReportsAtOnceAndCompletesWithTheLastPin) {
  Driver<> driver;
  std::optional<ARef> pin;
  {
    Claim dropped = driver.claimed(3);
    pin = dropped.pin();
  }
  EXPECT_EQ(driver.reports.count(), 1U);
  EXPECT_EQ(driver.sink.count(), 0U);
  pin.reset();
  ASSERT_EQ(driver.sink.count(), 1U);
  EXPECT_EQ(driver.sink.last().status, Status::io_error);
  EXPECT_EQ(driver.reports.count(), 1U);
}

// Goal: a command may have several completions: after a release the next one is accepted with the
// same cookie.
TEST(Claim, ReleasedIsClaimedAgainUnderTheSameCookie) {
  Driver<> driver;
  const auto cookie = driver.in_flight();
  for (int completion = 0; completion < 3; ++completion) {
    Claim claim = driver.claim(cookie);
    ++claim.data().sectors;
    std::move(claim).release();
    EXPECT_EQ(driver.state(), "1");
  }
  Claim last = driver.claim(cookie);
  EXPECT_EQ(last.data().sectors, 3);
  EXPECT_EQ(last.cookie(), cookie);
  std::move(last).end_ok();
  EXPECT_EQ(driver.sink.count(), 1U);
}

TEST(Claim, ReleasedWithPinsLeavesThemTheRequest) {
  Driver<> driver;
  const auto cookie = driver.in_flight();
  Claim claim = driver.claim(cookie);
  std::optional<ARef> pin = claim.pin();
  std::move(claim).release();
  EXPECT_EQ(driver.state(), "2");
  EXPECT_EQ(driver.generation(), cookie.generation.value);
  pin.reset();
  EXPECT_EQ(driver.state(), "1");
  driver.complete(cookie);
}

TEST(Claim, ReleasedAfterItsPinsAreGoneParks) {
  Driver<> driver;
  const auto cookie = driver.in_flight();
  Claim claim = driver.claim(cookie);
  {
    const ARef pin = claim.pin();
  }
  std::move(claim).release();
  EXPECT_EQ(driver.state(), "1");
  driver.complete(cookie);
}

TEST(Claim, BecomesOwnedWhenItIsAlone) {
  Driver<> driver;
  Claim claim = driver.claimed();
  {
    const ARef pin = claim.pin();
  }
  auto owned = std::move(claim).into_owned();
  ASSERT_TRUE(owned.has_value());
  EXPECT_EQ(driver.state(), "0 owned");
  EXPECT_EQ(driver.generation(), 101U);
  std::move(*owned).end_ok();
  EXPECT_EQ(driver.reports.count(), 0U);
}

// Goal: a refused into_owned returns the same Claim, which may still be released.
TEST(Claim, ComesBackFromIntoOwnedWhileItIsPinned) {
  Driver<> driver;
  const auto cookie = driver.in_flight();
  Claim claim = driver.claim(cookie);
  std::optional<ARef> pin = claim.pin();
  auto refused = std::move(claim).into_owned();
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(driver.state(), "3 claimed");
  std::move(refused).error().release();
  EXPECT_EQ(driver.state(), "2");
  pin.reset();
  driver.complete(cookie);
}

TEST(Claim, ThatBecameOwnedMayNotBeReleasedAnyMore) {
  Driver<> driver;
  Claim claim = support::take_value(driver.claimed().into_owned()).into_claim();
  EXPECT_DEATH(std::move(claim).release(), "a Claim of an unpublished I/O was released");
  std::move(claim).end_ok();
}

TEST(Claim, MovedFromHoldsNothing) {
  Driver<> driver;
  {
    Claim from = driver.claimed();
    Claim to = std::move(from);
    std::move(to).end_ok();
  }
  EXPECT_EQ(driver.sink.count(), 1U);
  EXPECT_EQ(driver.reports.count(), 0U);
}

TEST(Claim, AssignedToEndsTheIoItHeld) {
  Driver<> driver;
  Claim claim = driver.claimed(1);
  claim = driver.claimed(2);
  ASSERT_EQ(driver.sink.count(), 1U);
  EXPECT_EQ(driver.sink.last(), (EndRecord{.queue = 0, .tag = 1, .status = Status::io_error}));
  EXPECT_EQ(driver.reports.count(), 1U);
  EXPECT_EQ(claim.tag(), Tag{2});
  std::move(claim).end_ok();
}

TEST(Claim, SurvivesAMoveToItself) {
  Driver<> driver;
  Claim claim = driver.claimed();
  Claim& same = claim;
  claim = std::move(same);
  EXPECT_EQ(driver.state(), "0 owned");
  std::move(claim).end_ok();
  EXPECT_EQ(driver.reports.count(), 0U);
}

// Goal: a move and a swap carry along whether the Claim may be released.
TEST(Claim, SwapsWithAnother) {
  Driver<> driver;
  const auto cookie = driver.in_flight(1);
  Claim looked_up = driver.claim(cookie);
  Claim unpublished = driver.owned(2).into_claim();
  std::swap(looked_up, unpublished);
  EXPECT_EQ(looked_up.tag(), Tag{2});
  EXPECT_EQ(unpublished.tag(), Tag{1});
  std::move(unpublished).release();
  EXPECT_DEATH(std::move(looked_up).release(), "a Claim of an unpublished I/O was released");
  std::move(looked_up).end_ok();
  driver.complete(cookie);
}

TEST(Claim, CrossesACBoundaryAndMayStillBeReleased) {
  Driver<> driver;
  const auto cookie = driver.in_flight(4);
  void* const raw = driver.claim(cookie).into_raw();
  EXPECT_EQ(driver.state(4), "0 owned");
  Claim back = Claim::from_raw(raw);
  EXPECT_EQ(back.tag(), Tag{4});
  std::move(back).release();
  driver.complete(cookie);
}

TEST(Claim, CrossesACBoundaryAndMayStillNotBeReleased) {
  Driver<> driver;
  Claim claim = Claim::from_raw(driver.owned(4).into_claim().into_raw());
  EXPECT_DEATH(std::move(claim).release(), "a Claim of an unpublished I/O was released");
  std::move(claim).end_ok();
}
