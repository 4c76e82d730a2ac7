// SPDX-License-Identifier: BSL-1.0
//
// Goal: each of the three lookups accepts the values of I/Os in flight and refuses all others with
// the first reason that applies.
// Method: for every two neighbours in LookupReason's order, a value to which both apply.

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "support/driver.hpp"

using blkown::Cookie;
using blkown::CookieLayout;
using blkown::Generation;
using blkown::LookupError;
using blkown::LookupReason;
using blkown::QueueIndex;
using blkown::Tag;
using support::ARef;
using support::Claim;
using support::Driver;

namespace {

/// 16 bits, one of them unused: a queue field of 4 bits for 3 queues, a tag field of 4 for 5 tags.
constexpr CookieLayout narrow{.width_bits = 16,
                              .queue = {.shift = 0, .bits = 4},
                              .tag = {.shift = 4, .bits = 4},
                              .generation = {.shift = 8, .bits = 4},
                              .user = {.shift = 13, .bits = 3}};
constexpr std::uint64_t stray_bit = 1U << 12;
constexpr std::uint32_t first_generation = 0x20;

constexpr blkown::TagSetConfig narrow_config{.queue_count = 3,
                                             .depth = 5,
                                             .layout = narrow,
                                             .first_generation = Generation{first_generation}};

class Lookup : public testing::Test {
 protected:
  static std::uint64_t value(std::uint32_t queue, std::uint32_t tag, std::uint32_t generation) {
    return narrow.encode(QueueIndex{queue}, Tag{tag}, Generation{generation});
  }

  static std::uint32_t first_of(std::uint32_t tag, std::uint32_t queue) {
    return support::generation_after(0, tag, queue, Generation{first_generation}).value;
  }

  /// The error of all three lookups, and of the claim that has tested its queue once. All must
  /// agree. The value must be refused.
  LookupError refused(std::uint32_t arrival, std::uint64_t wire_value) {
    const QueueIndex arrival_queue{arrival};
    const auto claim = driver_.set.claim(arrival_queue, wire_value);
    const auto pin = driver_.set.tag_to_rq(arrival_queue, wire_value);
    const auto owned = driver_.set.tag_to_owned(arrival_queue, wire_value);
    if (claim.has_value() || pin.has_value() || owned.has_value()) {
      ADD_FAILURE() << wire_value << " was accepted";
      return {};
    }
    EXPECT_EQ(claim.error(), pin.error());
    EXPECT_EQ(claim.error(), owned.error());
    if (arrival < driver_.set.queue_count()) {
      const blkown::detail::QueueClaims claims{driver_.set, arrival_queue};
      const auto queue_claim = claims.claim(wire_value, blkown::Place::current());
      EXPECT_EQ(queue_claim.has_value() ? LookupError{} : queue_claim.error(), claim.error());
    }
    return claim.error();
  }
  LookupReason reason(std::uint32_t arrival, std::uint64_t wire_value) {
    return refused(arrival, wire_value).reason;
  }

  Driver<> driver_{narrow_config};
};

}  // namespace

TEST_F(Lookup, NoSuchQueueWhereTheValueArrivedOrWhatItNames) {
  EXPECT_EQ(reason(3, value(0, 0, 0)), LookupReason::no_such_queue);
  EXPECT_EQ(reason(0, value(3, 0, 0)), LookupReason::no_such_queue);
  EXPECT_EQ(reason(~0U, value(0, 0, 0)), LookupReason::no_such_queue);
  EXPECT_EQ(reason(3, value(3, 0, 0)), LookupReason::no_such_queue);
}

TEST_F(Lookup, NoSuchQueueIsTestedBeforeTheTag) {
  EXPECT_EQ(reason(0, value(3, 9, 0)), LookupReason::no_such_queue);
  EXPECT_EQ(reason(0, value(15, 0, 0) | stray_bit), LookupReason::no_such_queue);
  EXPECT_EQ(reason(7, value(0, 9, 0) | stray_bit), LookupReason::no_such_queue);
}

TEST_F(Lookup, NoSuchTagAboveTheDepthOrWithAStrayBit) {
  const Cookie cookie = driver_.in_flight(4, 1);
  EXPECT_EQ(reason(1, value(1, 5, 0)), LookupReason::no_such_tag);
  EXPECT_EQ(reason(1, value(1, 15, 0)), LookupReason::no_such_tag);
  EXPECT_EQ(reason(1, cookie.value | stray_bit), LookupReason::no_such_tag);
  for (unsigned bit = 16; bit < 64; ++bit) {
    EXPECT_EQ(reason(1, cookie.value | std::uint64_t{1} << bit), LookupReason::no_such_tag) << bit;
  }
  driver_.complete(cookie);
}

TEST_F(Lookup, NoSuchTagIsTestedBeforeTheArrivalQueue) {
  EXPECT_EQ(reason(0, value(1, 5, 0)), LookupReason::no_such_tag);
  EXPECT_EQ(reason(0, value(1, 0, 0) | stray_bit), LookupReason::no_such_tag);
}

TEST_F(Lookup, WrongQueueForAnIoOfAnotherQueue) {
  const Cookie cookie = driver_.in_flight(4, 1);
  EXPECT_EQ(reason(0, cookie.value), LookupReason::wrong_queue);
  EXPECT_EQ(reason(2, cookie.value), LookupReason::wrong_queue);
  driver_.complete(cookie);
}

TEST_F(Lookup, WrongQueueIsTestedBeforeTheGeneration) {
  auto owned = driver_.owned(0, 1);
  EXPECT_EQ(reason(0, owned.next_cookie().value), LookupReason::wrong_queue);
  EXPECT_EQ(reason(0, value(1, 0, first_of(0, 1) - 3)), LookupReason::wrong_queue);
  std::move(owned).end_ok();
}

TEST_F(Lookup, EarlyForTheNextGenerationInEveryState) {
  const auto early = value(0, 0, first_generation + 1);
  auto idle = driver_.idle();
  EXPECT_EQ(reason(0, early), LookupReason::early) << "tested before idle";
  auto owned = std::move(idle).start();
  EXPECT_EQ(reason(0, early), LookupReason::early) << "tested before owned";
  Claim claim = std::move(owned).into_claim();
  {
    const ARef pin = claim.pin();
    EXPECT_EQ(reason(0, early), LookupReason::early) << "tested before claimed";
  }
  const Cookie cookie = Driver<>::publish(std::move(claim));
  EXPECT_EQ(reason(0, value(0, 0, first_generation + 2)), LookupReason::early);
  driver_.complete(cookie);
}

TEST_F(Lookup, StaleForEveryOtherGenerationInEveryState) {
  const auto expect_stale = [&](std::uint32_t current) {
    for (std::uint32_t distance = 2; distance < 16; ++distance) {
      EXPECT_EQ(reason(0, value(0, 0, current + distance)), LookupReason::stale_generation);
    }
  };
  auto idle = driver_.idle();
  expect_stale(first_generation);
  auto owned = std::move(idle).start();
  expect_stale(first_generation);
  Claim claim = std::move(owned).into_claim();
  {
    const ARef pin = claim.pin();
    expect_stale(first_generation);
  }
  const Cookie cookie = Driver<>::publish(std::move(claim));
  expect_stale(first_generation + 1);
  driver_.complete(cookie);
}

TEST_F(Lookup, OwnedWhileOneHandleHasIt) {
  const Cookie cookie = driver_.in_flight();
  Claim claim = driver_.claim(cookie);
  EXPECT_EQ(reason(0, cookie.value), LookupReason::owned);
  auto owned = support::take_value(std::move(claim).into_owned());
  EXPECT_EQ(reason(0, cookie.value), LookupReason::owned)
      << "owned, not idle, although the count is 0 too";
  std::move(owned).end_ok();
}

TEST_F(Lookup, IdleOnceItHasEndedAndBeforeItWasStarted) {
  const Cookie cookie = driver_.in_flight();
  driver_.complete(cookie);
  EXPECT_EQ(reason(0, cookie.value), LookupReason::idle);
  auto idle = driver_.idle();
  EXPECT_EQ(reason(0, cookie.value), LookupReason::idle);
  std::move(idle).fail(blkown::Status::ok);
  EXPECT_EQ(reason(0, value(0, 4, first_of(4, 0))), LookupReason::idle) << "never used";
}

TEST_F(Lookup, ClaimedByAPinnedClaimAndAfterItsEnd) {
  const Cookie cookie = driver_.in_flight();
  Claim claim = driver_.claim(cookie);
  std::optional<ARef> pin = claim.pin();
  EXPECT_EQ(reason(0, cookie.value), LookupReason::claimed);
  std::move(claim).end_ok();
  EXPECT_EQ(reason(0, cookie.value), LookupReason::claimed);
  pin.reset();
  EXPECT_EQ(reason(0, cookie.value), LookupReason::idle);
}

TEST_F(Lookup, SaturatedAtTheLimitAndClaimedBeforeIt) {
  const Cookie cookie = driver_.in_flight();
  for (const auto& [state, expected] : {std::pair{"limit", LookupReason::saturated},
                                        std::pair{"limit claimed", LookupReason::claimed},
                                        std::pair{"limit finished", LookupReason::claimed}}) {
    support::preset_word(driver_.header(), state);
    EXPECT_EQ(reason(0, cookie.value), expected) << state << "; tag_to_owned: before shared";
  }
  support::preset_word(driver_.header(), "1");
  driver_.complete(cookie);
}

TEST_F(Lookup, SharedForTheUniqueHandleOnly) {
  const Cookie cookie = driver_.in_flight();
  {
    const ARef pin = driver_.pin(cookie);
    const auto owned = driver_.set.tag_to_owned(QueueIndex{0}, cookie.value);
    ASSERT_FALSE(owned.has_value());
    EXPECT_EQ(owned.error(), (LookupError{.reason = LookupReason::shared,
                                          .queue = QueueIndex{0},
                                          .tag = Tag{0},
                                          .expected_generation = Generation{1},
                                          .seen_generation = cookie.generation}));
    EXPECT_EQ(driver_.state(), "2");
  }
  auto owned = driver_.set.tag_to_owned(QueueIndex{0}, cookie.value);
  ASSERT_TRUE(owned.has_value());
  std::move(*owned).end_ok();
}

#if BLKOWN_WORD_BITS == 32
// Goal: the limit with real references: a count of 4096 is 4095 references.
TEST_F(Lookup, SaturatedByRealReferences) {
  const Cookie cookie = driver_.in_flight();
  std::vector<ARef> pins;
  while (pins.size() < 4095) pins.push_back(driver_.pin(cookie));
  EXPECT_EQ(driver_.state(), "4096");
  EXPECT_EQ(reason(0, cookie.value), LookupReason::saturated);
  EXPECT_EQ(blkown::claim(pins.front(), cookie).error().reason, LookupReason::saturated);

  // An existing reference can still become the Claim.
  ARef last = std::move(pins.back());
  pins.pop_back();
  Claim claim = try_claim(std::move(last), cookie).value();
  EXPECT_EQ(driver_.state(), "4096 claimed");
  std::move(claim).end_ok();
  pins.clear();
  EXPECT_EQ(driver_.sink.count(), 1U);
}
#endif

TEST_F(Lookup, FindsOneBelowTheLimit) {
  const Cookie cookie = driver_.in_flight();
  support::preset_word(driver_.header(), "limit-1");
  EXPECT_TRUE(driver_.set.tag_to_rq(QueueIndex{0}, cookie.value).has_value());
  support::preset_word(driver_.header(), "1");
  driver_.complete(cookie);
}

TEST_F(Lookup, ErrorCarriesWhatALogNeeds) {
  const Cookie cookie = driver_.in_flight(2, 1);
  EXPECT_EQ(refused(1, value(1, 2, cookie.generation.value + 5)),
            (LookupError{.reason = LookupReason::stale_generation,
                         .queue = QueueIndex{1},
                         .tag = Tag{2},
                         .expected_generation = Generation{(cookie.generation.value + 5) % 16},
                         .seen_generation = cookie.generation}))
      << "expected has the layout's bits, seen the whole generation";
  EXPECT_EQ(refused(0, cookie.value),
            (LookupError{.reason = LookupReason::wrong_queue,
                         .queue = QueueIndex{0},
                         .tag = Tag{2},
                         .expected_generation = Generation{cookie.generation.value % 16},
                         .seen_generation = Generation{0}}))
      << "the arrival queue; no request was read";
  EXPECT_EQ(refused(9, value(1, 14, 7)), (LookupError{.reason = LookupReason::no_such_queue,
                                                      .queue = QueueIndex{9},
                                                      .tag = Tag{14},
                                                      .expected_generation = Generation{7},
                                                      .seen_generation = Generation{0}}));
  driver_.complete(cookie);
}

TEST_F(Lookup, IgnoresUserBits) {
  for (std::uint64_t user = 0; user < 8; ++user) {
    const Cookie cookie = driver_.in_flight();
    const std::uint64_t marked = narrow.with_user(cookie.value, user);
    auto claim = driver_.set.claim(QueueIndex{0}, marked);
    ASSERT_TRUE(claim.has_value());
    EXPECT_EQ(claim->cookie().value, cookie.value) << "the cookie has no user bits";
    std::move(*claim).end_ok();
  }
}

// Goal: of all 16-bit values, exactly the cookies of I/Os in flight are accepted.
TEST_F(Lookup, AcceptsExactlyTheCookiesInFlight) {
  std::map<std::uint64_t, Cookie> live;
  for (const auto& [queue, tag] : {std::pair{0U, 0U}, {0U, 4U}, {1U, 2U}, {2U, 0U}, {2U, 4U}}) {
    for (std::uint32_t io = 0; io < queue + tag; ++io)
      driver_.complete(driver_.in_flight(tag, queue));
    const Cookie cookie = driver_.in_flight(tag, queue);
    live[cookie.value] = cookie;
  }
  auto idle = driver_.idle(1, 0);
  auto owned = driver_.owned(1, 1);
  std::uint32_t accepted = 0;
  for (QueueIndex arrival; arrival.value < 4; ++arrival.value) {
    for (std::uint64_t wire_value = 0; wire_value < 65536; ++wire_value) {
      const auto pin = driver_.set.tag_to_rq(arrival, wire_value);
      const auto expected = live.find(narrow.with_user(wire_value, 0));
      const bool is_live = expected != live.end() && expected->second.queue == arrival;
      ASSERT_EQ(pin.has_value(), is_live) << wire_value << " on " << arrival.value;
      if (!pin.has_value()) continue;
      ++accepted;
      EXPECT_EQ(pin->tag(), expected->second.tag);
      EXPECT_EQ(pin->queue(), arrival);
    }
  }
  EXPECT_EQ(accepted, live.size() * 8) << "with each value of the user bits";
  for (const auto& [wire_value, cookie] : live) driver_.complete(cookie);
  std::move(idle).fail(blkown::Status::ok);
  std::move(owned).end_ok();
}

// Goal: without a queue field, a lookup uses the queue on which the value arrived.
TEST(LookupWithoutQueueField, TakesTheQueueFromWhereTheValueArrived) {
  auto nvme = support::two_queues_of_eight;
  nvme.layout = CookieLayout::nvme();
  Driver<> driver{nvme};
  const Cookie cookie = driver.in_flight(3, 1);
  EXPECT_EQ(driver.set.claim(QueueIndex{0}, cookie.value).error().reason,
            LookupReason::stale_generation)
      << "that queue's tag begins at another generation";
  EXPECT_EQ(driver.set.claim(QueueIndex{2}, cookie.value).error().reason,
            LookupReason::no_such_queue);
  auto claim = driver.set.claim(QueueIndex{1}, cookie.value);
  ASSERT_TRUE(claim.has_value());
  EXPECT_EQ(claim->queue(), QueueIndex{1});
  std::move(*claim).end_ok();
}

TEST(LookupWithoutQueueField, NeverTakesAllOnesForACookie) {
  auto nvme = support::two_queues_of_eight;
  nvme.layout = CookieLayout::nvme();
  nvme.depth = 4095;
  nvme.first_generation = Generation{14};
  Driver<> driver{nvme};
  for (std::uint32_t tag : {0U, 4094U}) EXPECT_NE(driver.in_flight(tag).value, 0xFFFFU);
  EXPECT_EQ(driver.set.claim(QueueIndex{0}, 0xFFFF).error().reason, LookupReason::no_such_tag);
  for (std::uint32_t tag : {0U, 4094U})
    driver.set.claim_any_generation(QueueIndex{0}, Tag{tag}).value().end_ok();
}

// Goal: without a generation a late completion reaches the tag's current I/O, as documented.
TEST(LookupByTag, ReachesWhateverIoHasTheTag) {
  Driver<> driver;
  static_cast<void>(driver.in_flight(3, 1));
  driver.set.claim_any_generation(QueueIndex{1}, Tag{3}).value().end_ok();
  static_cast<void>(driver.in_flight(3, 1));
  {
    const auto pin = driver.set.tag_to_rq_any_generation(QueueIndex{1}, Tag{3});
    ASSERT_TRUE(pin.has_value());
    EXPECT_EQ(driver.state(3, 1), "2");
    EXPECT_EQ(driver.set.tag_to_owned_any_generation(QueueIndex{1}, Tag{3}).error().reason,
              LookupReason::shared);
  }
  auto owned = driver.set.tag_to_owned_any_generation(QueueIndex{1}, Tag{3});
  ASSERT_TRUE(owned.has_value());
  std::move(*owned).end_ok();
}

TEST(LookupByTag, RefusesWhatDoesNotExistOrIsNotInFlight) {
  Driver<> driver;
  EXPECT_EQ(driver.set.claim_any_generation(QueueIndex{2}, Tag{0}).error().reason,
            LookupReason::no_such_queue);
  EXPECT_EQ(driver.set.claim_any_generation(QueueIndex{2}, Tag{8}).error().reason,
            LookupReason::no_such_queue);
  EXPECT_EQ(driver.set.tag_to_rq_any_generation(QueueIndex{1}, Tag{8}).error().reason,
            LookupReason::no_such_tag);
  EXPECT_EQ(driver.set.tag_to_owned_any_generation(QueueIndex{1}, Tag{~0U}).error().reason,
            LookupReason::no_such_tag);
  EXPECT_EQ(driver.set.claim_any_generation(QueueIndex{1}, Tag{7}).error(),
            (LookupError{.reason = LookupReason::idle,
                         .queue = QueueIndex{1},
                         .tag = Tag{7},
                         .expected_generation = {},
                         .seen_generation = support::generation_after(0, 7, 1)}));
  auto owned = driver.owned(7, 1);
  EXPECT_EQ(driver.set.claim_any_generation(QueueIndex{1}, Tag{7}).error().reason,
            LookupReason::owned);
  std::move(owned).end_ok();
}
