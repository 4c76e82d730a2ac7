// SPDX-License-Identifier: BSL-1.0
//
// Claiming an I/O through a pin and a Cookie: try_claim and claim.

#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <utility>

#include "support/driver.hpp"

using blkown::Cookie;
using blkown::Generation;
using blkown::LookupError;
using blkown::LookupReason;
using blkown::QueueIndex;
using blkown::Status;
using blkown::Tag;
using support::ARef;
using support::Driver;

namespace {

Cookie changed(Cookie cookie, const std::function<void(Cookie&)>& change) {
  change(cookie);
  return cookie;
}

}  // namespace

TEST(TryClaim, MakesAPinTheClaim) {
  Driver<> driver;
  const Cookie cookie = driver.in_flight();
  ARef pin = driver.pin(cookie);
  auto claim = try_claim(std::move(pin), cookie);
  ASSERT_TRUE(claim.has_value());
  EXPECT_EQ(driver.state(), "2 claimed") << "the pin has become the claim";
  EXPECT_EQ(claim->cookie(), cookie);
  std::move(*claim).end_ok();
  EXPECT_EQ(driver.sink.count(), 1U);
}

// Goal: try_claim succeeds where try_from_shared is refused because other pins exist.
TEST(TryClaim, SucceedsBesideOtherPins) {
  Driver<> driver;
  const Cookie cookie = driver.in_flight();
  const ARef other = driver.pin(cookie);
  auto refused = support::Owned::try_from_shared(driver.pin(cookie));
  ASSERT_FALSE(refused.has_value());
  auto claim = try_claim(std::move(refused).error(), cookie);
  ASSERT_TRUE(claim.has_value());
  EXPECT_EQ(driver.state(), "3 claimed");
  std::move(*claim).end_ok();
  EXPECT_EQ(driver.state(), "2 finished");
}

TEST(TryClaim, MayBeReleased) {
  Driver<> driver;
  const Cookie cookie = driver.in_flight();
  try_claim(driver.pin(cookie), cookie).value().release();
  EXPECT_EQ(driver.state(), "1");
  driver.complete(cookie);
}

TEST(TryClaim, GivesThePinBackIfTheIoIsClaimed) {
  Driver<> driver;
  const Cookie cookie = driver.in_flight();
  ARef pin = driver.pin(cookie);
  auto claim = driver.claim(cookie);
  auto refused = try_claim(std::move(pin), cookie);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().tag(), Tag{0});
  EXPECT_EQ(driver.state(), "3 claimed");
  std::move(claim).end_ok();
  EXPECT_EQ(driver.state(), "2 finished") << "the returned pin is still counted";
}

TEST(TryClaim, GivesThePinBackIfTheIoHasEnded) {
  Driver<> driver;
  const Cookie cookie = driver.in_flight();
  ARef pin = driver.pin(cookie);
  driver.claim(cookie).end_ok();
  EXPECT_FALSE(try_claim(std::move(pin), cookie).has_value());
  EXPECT_EQ(driver.sink.count(), 1U) << "the returned pin was the last and is dropped here";
}

TEST(TryClaim, GivesThePinBackForAnyOtherCookie) {
  Driver<> driver;
  const Cookie cookie = driver.in_flight(3, 1);
  const Cookie others[] = {
      changed(cookie, [](Cookie& other) { other.tag = Tag{4}; }),
      changed(cookie, [](Cookie& other) { other.queue = {}; }),
      changed(cookie, [](Cookie& other) { ++other.generation.value; }),
      changed(cookie, [](Cookie& other) { --other.generation.value; }),
  };
  ARef pin = driver.pin(cookie);
  for (const Cookie& other : others) {
    auto refused = try_claim(std::move(pin), other);
    ASSERT_FALSE(refused.has_value());
    pin = std::move(refused).error();
    EXPECT_EQ(driver.state(3, 1), "2");
  }
  try_claim(std::move(pin), cookie).value().end_ok();
}

TEST(ClaimFromPin, TakesTheRightBesideThePin) {
  Driver<> driver;
  const Cookie cookie = driver.in_flight();
  std::optional<ARef> pin = driver.pin(cookie);
  auto claim = blkown::claim(*pin, cookie);
  ASSERT_TRUE(claim.has_value());
  EXPECT_EQ(driver.state(), "3 claimed");
  std::move(*claim).end(Status::timed_out);
  EXPECT_EQ(driver.sink.count(), 0U);
  pin.reset();
  EXPECT_EQ(driver.sink.last().status, Status::timed_out);
}

TEST(ClaimFromPin, MayBeReleased) {
  Driver<> driver;
  const Cookie cookie = driver.in_flight();
  {
    const ARef pin = driver.pin(cookie);
    blkown::claim(pin, cookie).value().release();
    EXPECT_EQ(driver.state(), "2");
  }
  driver.complete(cookie);
}

// Goal: a timeout handler that has (pin, cookie) cannot end the request's next publication.
TEST(ClaimFromPin, RefusesAnIoThatWasPublishedAgain) {
  Driver<> driver;
  const Cookie cookie = driver.in_flight();
  const ARef pin = driver.pin(cookie);
  const Cookie next = Driver<>::publish(driver.claim(cookie));
  const auto refused = blkown::claim(pin, cookie);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error(), (LookupError{.reason = LookupReason::stale_generation,
                                          .queue = {},
                                          .tag = Tag{0},
                                          .expected_generation = cookie.generation,
                                          .seen_generation = next.generation}));
  EXPECT_EQ(driver.state(), "2");
  blkown::claim(pin, next).value().end_ok();
}

// Goal: claim compares the whole generation, not only the bits that the layout carries.
TEST(ClaimFromPin, ComparesTheWholeGeneration) {
  auto config = support::two_queues_of_eight;
  config.layout = blkown::CookieLayout::nvme();
  Driver<> driver{config};
  const Cookie cookie = driver.in_flight();
  const ARef pin = driver.pin(cookie);
  const Cookie sixteen_later = changed(cookie, [](Cookie& other) { other.generation.value += 16; });
  const auto refused = blkown::claim(pin, sixteen_later);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().reason, LookupReason::stale_generation);
  EXPECT_FALSE(try_claim(ARef{pin}, sixteen_later).has_value());
  EXPECT_TRUE(driver.set.tag_to_rq(QueueIndex{0}, cookie.value).has_value());
  driver.complete(cookie);
}

TEST(ClaimFromPin, SaysWhyItRefuses) {
  Driver<> driver;
  const Cookie cookie = driver.in_flight(3, 1);
  const ARef pin = driver.pin(cookie);
  const auto reason = [&](const Cookie& other) {
    auto claim = blkown::claim(pin, other);
    return claim.has_value() ? LookupReason::none : claim.error().reason;
  };
  EXPECT_EQ(reason(changed(cookie, [](Cookie& other) { other.tag = Tag{4}; })),
            LookupReason::no_such_tag);
  EXPECT_EQ(reason(changed(cookie, [](Cookie& other) { other.queue = {}; })),
            LookupReason::wrong_queue);
  EXPECT_EQ(reason(changed(cookie,
                           [](Cookie& other) {
                             other.tag = Tag{4};
                             other.queue = {};
                           })),
            LookupReason::no_such_tag)
      << "the tag is tested first";
  EXPECT_EQ(reason(changed(cookie, [](Cookie& other) { ++other.generation.value; })),
            LookupReason::early);
  EXPECT_EQ(reason(changed(cookie, [](Cookie& other) { --other.generation.value; })),
            LookupReason::stale_generation);
  auto claim = driver.claim(cookie);
  EXPECT_EQ(reason(cookie), LookupReason::claimed);
  std::move(claim).end_ok();
  EXPECT_EQ(reason(cookie), LookupReason::claimed) << "ended, with the test's pin";
}
