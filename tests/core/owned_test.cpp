// SPDX-License-Identifier: BSL-1.0
//
// Owned, and the operations that make an Owned of references. publish_test.cpp tests publishing.

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "support/driver.hpp"

using blkown::LookupReason;
using blkown::QueueIndex;
using blkown::Status;
using blkown::Tag;
using support::ARef;
using support::Driver;
using support::EndRecord;
using support::Owned;

TEST(Owned, NamesItsRequestAndHoldsItsData) {
  Driver<> driver;
  Owned owned = driver.owned(3, 1);
  owned.data().sectors = 16;
  EXPECT_EQ(owned.queue(), QueueIndex{1});
  EXPECT_EQ(owned.tag(), Tag{3});
  EXPECT_EQ(&owned.header(), &driver.header(3, 1));
  EXPECT_EQ(owned.data().sectors, 16);
  std::move(owned).end_ok();
}

TEST(Owned, KnowsItsCookieAndTheNext) {
  Driver<> driver;
  Owned owned = driver.owned(3, 1);
  EXPECT_EQ(owned.cookie().generation, support::generation_after(0, 3, 1));
  const blkown::Cookie next = owned.next_cookie();
  EXPECT_EQ(next.generation, support::generation_after(1, 3, 1));
  EXPECT_EQ(next.tag, Tag{3});
  EXPECT_EQ(next.queue, blkown::QueueIndex{1});
  EXPECT_EQ(next.value, driver.set.layout().encode(QueueIndex{1}, Tag{3}, next.generation));
  EXPECT_EQ(Driver<>::publish(std::move(owned)), next);
  driver.complete(next);
}

TEST(Owned, IsNotFoundByLookups) {
  Driver<> driver;
  Owned owned = driver.owned();
  EXPECT_EQ(driver.refusal(owned.cookie()), LookupReason::owned);
  std::move(owned).end_ok();
}

TEST(Owned, EndsOnceWithAnyStatus) {
  Driver<> driver;
  for (std::size_t i = 0; i != blkown::status_count; ++i) {
    const auto status = static_cast<Status>(i);
    driver.owned(2).end(status);
    EXPECT_EQ(driver.sink.count(), static_cast<std::size_t>(i) + 1);
    EXPECT_EQ(driver.sink.last(), (EndRecord{.queue = 0, .tag = 2, .status = status}));
    EXPECT_EQ(driver.state(2), "0");
    EXPECT_EQ(driver.generation(2), support::generation_after(0, 2, 0).value)
        << "an end does not advance the generation";
  }
  driver.owned(2).end_ok();
  EXPECT_EQ(driver.sink.last(), (EndRecord{.queue = 0, .tag = 2, .status = Status::ok}));
}

TEST(Owned, RequeuedIsStartedAgain) {
  Driver<> driver;
  driver.owned(2).requeue();
  EXPECT_EQ(driver.state(2), "0");
  EXPECT_EQ(driver.sink.last(), (EndRecord{.queue = 0, .tag = 2, .is_requeue = true}));
  driver.sink.requeued.pop_front().value().into_idle().start().end(Status::no_space);
  EXPECT_EQ(driver.sink.last(), (EndRecord{.queue = 0, .tag = 2, .status = Status::no_space}));
}

// Goal: a dropped Owned leaves the I/O in flight, as in the kernel, but its old id is refused.
TEST(Owned, DroppedParksUnderANewGeneration) {
  Driver<> driver;
  blkown::Cookie never_published;
  {
    const Owned dropped = driver.owned();
    never_published = dropped.cookie();
  }
  EXPECT_EQ(driver.state(), "1");
  EXPECT_EQ(driver.generation(), 101U);
  EXPECT_EQ(driver.sink.count(), 0U);
  EXPECT_EQ(driver.reports.count(), 0U);
  EXPECT_EQ(driver.refusal(never_published), LookupReason::stale_generation);
  driver.set.claim_any_generation(QueueIndex{0}, Tag{0}).value().end(Status::timed_out);
}

TEST(Owned, ParkDoesWhatADropDoes) {
  Driver<> driver;
  driver.owned().park();
  EXPECT_EQ(driver.state(), "1");
  EXPECT_EQ(driver.generation(), 101U);
  driver.set.claim_any_generation(QueueIndex{0}, Tag{0}).value().end_ok();
}

// Goal: after an Owned was taken back and dropped, a completion with the old cookie is refused.
TEST(Owned, TakenBackAndDroppedIsNotFoundByItsOldCookie) {
  Driver<> driver;
  const blkown::Cookie cookie = driver.in_flight();
  {
    const Owned dropped = driver.set.tag_to_owned(QueueIndex{0}, cookie.value).value();
  }
  EXPECT_EQ(driver.refusal(cookie), LookupReason::stale_generation);
  driver.set.claim_any_generation(QueueIndex{0}, Tag{0}).value().end_ok();
}

TEST(Owned, BecomesAClaimWithoutTouchingTheWord) {
  Driver<> driver;
  auto claim = driver.owned().into_claim();
  EXPECT_EQ(driver.state(), "0 owned");
  EXPECT_EQ(driver.generation(), 100U);
  std::move(claim).end_ok();
}

TEST(Owned, SharedIsVisibleUnderTheNextGenerationWithOneReference) {
  Driver<> driver;
  Owned owned = driver.owned();
  const blkown::Cookie next = owned.next_cookie();
  const ARef pin = std::move(owned).into_shared();
  EXPECT_EQ(driver.state(), "2");
  EXPECT_EQ(pin.generation(), next.generation);
  EXPECT_TRUE(driver.set.tag_to_rq(QueueIndex{0}, next.value).has_value());
  EXPECT_EQ(driver.refusal(next), LookupReason::none);
}

TEST(Owned, ComesBackFromTheOnlyReference) {
  Driver<> driver;
  ARef pin = driver.owned(1).into_shared();
  auto owned = Owned::try_from_shared(std::move(pin));
  ASSERT_TRUE(owned.has_value());
  EXPECT_EQ(driver.state(1), "0 owned");
  EXPECT_EQ(driver.generation(1), support::generation_after(1, 1, 0).value)
      << "taking the request back does not advance the generation";
  std::move(*owned).end_ok();
  EXPECT_EQ(driver.sink.count(), 1U);
}

TEST(Owned, IsRefusedWhileAnotherReferenceExists) {
  Driver<> driver;
  ARef pin = driver.owned(1).into_shared();
  {
    const ARef other = pin;
    auto refused = Owned::try_from_shared(std::move(pin));
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().tag(), Tag{1});
    EXPECT_EQ(driver.state(1), "3") << "nothing has changed";
    pin = std::move(refused).error();
  }
  EXPECT_EQ(driver.state(1), "2");
  Owned::try_from_shared(std::move(pin)).value().end_ok();
}

TEST(Owned, IsRefusedWhileTheRequestIsClaimed) {
  Driver<> driver;
  auto claim = driver.claimed();
  auto refused = Owned::try_from_shared(claim.pin());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(driver.state(), "3 claimed");
  std::move(claim).end_ok();
}

TEST(Owned, IsRefusedWhenTheRequestHasEnded) {
  Driver<> driver;
  auto claim = driver.claimed();
  ARef pin = claim.pin();
  std::move(claim).end(Status::medium_error);
  {
    auto refused = Owned::try_from_shared(std::move(pin));
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(driver.state(), "2 finished");
    EXPECT_EQ(driver.sink.count(), 0U);
  }
  EXPECT_EQ(driver.sink.last(), (EndRecord{.queue = 0, .tag = 0, .status = Status::medium_error}));
}

TEST(DropOrOwn, GivesTheRequestToTheLast) {
  Driver<> driver;
  std::vector<ARef> pins;
  pins.push_back(driver.owned().into_shared());
  while (pins.size() < 5) pins.push_back(pins.front());
  while (pins.size() > 1) {
    ARef pin = std::move(pins.back());
    pins.pop_back();
    EXPECT_FALSE(drop_or_own(std::move(pin)).has_value());
    EXPECT_EQ(driver.state(), std::to_string(pins.size() + 1));
  }
  ARef last = std::move(pins.front());
  auto owned = drop_or_own(std::move(last));
  ASSERT_TRUE(owned.has_value());
  EXPECT_EQ(driver.state(), "0 owned");
  std::move(*owned).end_ok();
}

TEST(DropOrOwn, CompletesAnEndThatWaitedForTheLastPin) {
  Driver<> driver;
  auto claim = driver.claimed(4);
  ARef first = claim.pin();
  ARef second = claim.pin();
  std::move(claim).end(Status::timed_out);
  EXPECT_EQ(driver.state(4), "3 finished");
  EXPECT_FALSE(drop_or_own(std::move(first)).has_value());
  EXPECT_EQ(driver.sink.count(), 0U);
  EXPECT_FALSE(drop_or_own(std::move(second)).has_value());
  ASSERT_EQ(driver.sink.count(), 1U);
  EXPECT_EQ(driver.sink.last(), (EndRecord{.queue = 0, .tag = 4, .status = Status::timed_out}));
  EXPECT_EQ(driver.state(4), "0");
}

// Goal: while a Claim exists, drop_or_own of a pin does not make an Owned.
TEST(DropOrOwn, DropsBesideAClaim) {
  Driver<> driver;
  auto claim = driver.claimed();
  EXPECT_FALSE(drop_or_own(claim.pin()).has_value());
  EXPECT_EQ(driver.state(), "2 claimed");
  std::move(claim).end_ok();
}

TEST(Owned, AssignedToParksTheRequestItHeld) {
  Driver<> driver;
  Owned owned = driver.owned(1);
  owned = driver.owned(2);
  EXPECT_EQ(driver.state(1), "1");
  EXPECT_EQ(driver.state(2), "0 owned");
  EXPECT_EQ(owned.tag(), Tag{2});
  std::move(owned).end_ok();
  driver.set.claim_any_generation(QueueIndex{0}, Tag{1}).value().end_ok();
}

TEST(Owned, SurvivesAMoveToItself) {
  Driver<> driver;
  Owned owned = driver.owned();
  Owned& same = owned;
  owned = std::move(same);
  EXPECT_EQ(driver.state(), "0 owned");
  std::move(owned).end_ok();
}

TEST(Owned, SwapsWithAnother) {
  Driver<> driver;
  Owned first = driver.owned(1);
  Owned second = driver.owned(2);
  std::swap(first, second);
  EXPECT_EQ(first.tag(), Tag{2});
  EXPECT_EQ(driver.state(1), "0 owned");
  EXPECT_EQ(driver.state(2), "0 owned");
  std::move(first).end_ok();
  std::move(second).end_ok();
}

TEST(Owned, CrossesACBoundary) {
  Driver<> driver;
  support::Request* const raw = driver.owned(4).into_raw();
  EXPECT_EQ(driver.state(4), "0 owned");
  Owned back = Owned::from_raw(raw);
  EXPECT_EQ(back.tag(), Tag{4});
  std::move(back).end_ok();
}
