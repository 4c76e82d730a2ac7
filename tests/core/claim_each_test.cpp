// SPDX-License-Identifier: BSL-1.0
//
// Goal: claim_each looks a batch of values up as claim looks up each, in order, and one refused
// value never stops the rest.
// Method: a batch with a refused value in its middle, for each LookupReason of a claim; visits that
// change the requests of later values.

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
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

using Found = std::expected<Claim, LookupError>;

/// What a batch's visits were given. An I/O that was found is ended.
struct Visits {
  std::vector<std::size_t> indexes;
  std::vector<std::uint64_t> claimed;  // the ids of the Claims
  std::vector<LookupError> refused;

  void operator()(std::size_t index, Found found) {
    indexes.push_back(index);
    if (!found.has_value()) {
      refused.push_back(found.error());
      return;
    }
    claimed.push_back(found->cookie().value);
    std::move(*found).end_ok();
  }
};

/// Two queues of 64, in a layout that has a bit which no field uses.
constexpr CookieLayout sparse{.width_bits = 64,
                              .queue = {.shift = 16, .bits = 4},
                              .tag = {.shift = 0, .bits = 8},
                              .generation = {.shift = 32, .bits = 8},
                              .user = {}};
constexpr blkown::TagSetConfig two_queues_of_64{
    .queue_count = 2, .depth = 64, .layout = sparse, .first_generation = Generation{100}};

class ClaimEach : public testing::Test {
 protected:
  static constexpr QueueIndex queue{0};

  /// The values of `count` I/Os in flight, from tag 0 on.
  [[nodiscard]] std::vector<std::uint64_t> in_flight(std::uint32_t count) {
    std::vector<std::uint64_t> values;
    for (std::uint32_t tag = 0; tag != count; ++tag) values.push_back(driver.in_flight(tag).value);
    return values;
  }

  /// A batch of three with `bad` in the middle, whose neighbours are in flight: expects that the
  /// neighbours end and that the error is that of a single lookup.
  void expect_refused_alone(std::uint64_t bad, LookupReason reason) {
    const LookupError single = driver.set.claim(queue, bad).error();
    ASSERT_EQ(single.reason, reason);
    const std::array values{driver.in_flight(20).value, bad, driver.in_flight(21).value};
    Visits visits;
    driver.set.claim_each(queue, values, visits);
    EXPECT_EQ(visits.indexes, (std::vector<std::size_t>{0, 1, 2}));
    EXPECT_EQ(visits.claimed, (std::vector{values[0], values[2]}));
    EXPECT_EQ(visits.refused, std::vector{single});
    EXPECT_EQ(driver.state(20), "0");
    EXPECT_EQ(driver.state(21), "0");
  }

  Driver<> driver{two_queues_of_64};
};

}  // namespace

TEST_F(ClaimEach, ClaimsEachValueInOrderForBatchesOfEveryLength) {
  for (std::uint32_t length = 0; length <= 40; ++length) {
    const auto values = in_flight(length);
    Visits visits;
    driver.set.claim_each(queue, values, visits);
    EXPECT_EQ(visits.claimed, values) << length;
    EXPECT_TRUE(visits.refused.empty());
    ASSERT_EQ(visits.indexes.size(), length);
    for (std::size_t i = 0; i != length; ++i) EXPECT_EQ(visits.indexes[i], i);
  }
  EXPECT_EQ(driver.set.in_flight(), 0U);
}

TEST_F(ClaimEach, GivesTheRightOfACompletion) {
  const std::array values{driver.in_flight().value};
  driver.set.claim_each(queue, values, [](std::size_t, Found found) {
    EXPECT_EQ(blkown::detail::HandleAccess::origin(*found),
              blkown::detail::ClaimOrigin::completion);
    std::move(*found).end_ok();
  });
}

TEST_F(ClaimEach, RefusesAnUnknownQueueInTheMiddle) {
  expect_refused_alone(sparse.encode(QueueIndex{2}, Tag{3}, Generation{1}),
                       LookupReason::no_such_queue);
}

TEST_F(ClaimEach, RefusesAnUnknownTagInTheMiddle) {
  expect_refused_alone(sparse.encode(queue, Tag{64}, Generation{1}), LookupReason::no_such_tag);
  expect_refused_alone(sparse.encode(queue, Tag{255}, Generation{1}), LookupReason::no_such_tag);
  expect_refused_alone(~std::uint64_t{0} & ~sparse.queue.mask(), LookupReason::no_such_tag);
  const Cookie cookie = driver.in_flight(3);
  expect_refused_alone(cookie.value | std::uint64_t{1} << 8, LookupReason::no_such_tag);
  driver.complete(cookie);
}

TEST_F(ClaimEach, RefusesAValueOfAnotherQueueInTheMiddle) {
  const Cookie cookie = driver.in_flight(3, 1);
  expect_refused_alone(cookie.value, LookupReason::wrong_queue);
  driver.complete(cookie);
}

TEST_F(ClaimEach, RefusesAnEarlyAndAStaleGenerationInTheMiddle) {
  support::Owned owned = driver.owned(3);
  const Cookie next = owned.next_cookie();
  expect_refused_alone(next.value, LookupReason::early);
  expect_refused_alone(sparse.encode(queue, Tag{3}, Generation{next.generation.value - 3}),
                       LookupReason::stale_generation);
  std::move(owned).end_ok();
}

TEST_F(ClaimEach, RefusesAnOwnedAndAnIdleRequestInTheMiddle) {
  const Cookie cookie = driver.in_flight(3);
  Claim claim = driver.claim(cookie);
  expect_refused_alone(cookie.value, LookupReason::owned);
  std::move(claim).end_ok();
  expect_refused_alone(cookie.value, LookupReason::idle);
}

TEST_F(ClaimEach, RefusesAClaimedAndASaturatedRequestInTheMiddle) {
  const Cookie cookie = driver.in_flight(3);
  {
    Claim claim = driver.claim(cookie);
    const ARef pin = claim.pin();
    expect_refused_alone(cookie.value, LookupReason::claimed);
    std::move(claim).release();
  }
  support::preset_word(driver.header(3), "limit");
  expect_refused_alone(cookie.value, LookupReason::saturated);
  support::preset_word(driver.header(3), "1");
  driver.complete(cookie);
}

TEST_F(ClaimEach, RefusesEveryValueOfAnUnknownArrivalQueue) {
  const auto values = in_flight(12);
  for (const std::uint32_t arrival : {2U, ~0U}) {
    Visits visits;
    driver.set.claim_each(QueueIndex{arrival}, values, visits);
    EXPECT_TRUE(visits.claimed.empty());
    ASSERT_EQ(visits.refused.size(), values.size());
    for (const LookupError& error : visits.refused) {
      EXPECT_EQ(error.reason, LookupReason::no_such_queue);
      EXPECT_EQ(error.queue, QueueIndex{arrival});
    }
  }
  Visits visits;
  driver.set.claim_each(queue, values, visits);
  EXPECT_EQ(visits.claimed, values);
}

TEST_F(ClaimEach, TakesTheArrivalQueueFromTheValuesWithoutAnother) {
  const std::array values{driver.in_flight(1, 1).value, driver.in_flight(1, 0).value,
                          sparse.encode(QueueIndex{2}, Tag{1}, Generation{1}),
                          sparse.encode(QueueIndex{1}, Tag{64}, Generation{1}),
                          driver.in_flight(2, 1).value};
  Visits visits;
  driver.set.claim_each(values, visits);
  EXPECT_EQ(visits.claimed, (std::vector{values[0], values[1], values[4]}));
  ASSERT_EQ(visits.refused.size(), 2U);
  EXPECT_EQ(visits.refused[0], driver.set.claim(QueueIndex{2}, values[2]).error());
  EXPECT_EQ(visits.refused[1], driver.set.claim(QueueIndex{1}, values[3]).error());
}

TEST_F(ClaimEach, RefusesTheSecondOfTwoEqualValues) {
  const auto value = driver.in_flight(5).value;
  const std::array values{value, value, driver.in_flight(6).value, value};
  std::optional<Claim> kept;
  std::vector<LookupReason> reasons;
  driver.set.claim_each(queue, values, [&](std::size_t index, Found found) {
    if (!found.has_value()) {
      reasons.push_back(found.error().reason);
      if (index == 1) std::move(*kept).end_ok();
    } else if (index == 0) {
      kept.emplace(std::move(*found));
    } else {
      std::move(*found).end_ok();
    }
  });
  EXPECT_EQ(reasons, (std::vector{LookupReason::owned, LookupReason::idle}))
      << "while the first Claim exists, and after its end";
  EXPECT_EQ(driver.sink.count(), 2U);
}

TEST_F(ClaimEach, FindsWhatAVisitPublishesAgain) {
  const Cookie first = driver.in_flight(5);
  const auto again = sparse.encode(queue, Tag{5}, Generation{first.generation.value + 1});
  // The second value is early until the first visit publishes; the third is then stale.
  const std::array values{first.value, again, first.value};
  std::vector<LookupReason> reasons;
  driver.set.claim_each(queue, values, [&](std::size_t index, Found found) {
    if (!found.has_value()) {
      reasons.push_back(found.error().reason);
    } else if (index == 0) {
      EXPECT_EQ(Driver<>::publish(std::move(*found)).value, again);
    } else {
      reasons.push_back(LookupReason::none);
      std::move(*found).end_ok();
    }
  });
  EXPECT_EQ(reasons, (std::vector{LookupReason::none, LookupReason::stale_generation}));
}

TEST_F(ClaimEach, RefusesWhatAVisitHasClaimedOrEndedItself) {
  const auto values = in_flight(20);
  std::vector<std::size_t> refused;
  std::optional<Claim> kept;
  driver.set.claim_each(queue, values, [&](std::size_t index, Found found) {
    if (!found.has_value()) {
      refused.push_back(index);
      return;
    }
    std::move(*found).end_ok();
    if (index != 0) return;
    kept.emplace(support::take_value(driver.set.claim(queue, values[1])));
    driver.set.claim(queue, values[19]).value().end_ok();
    // A batch within a visit.
    Visits inner;
    driver.set.claim_each(queue, std::span{values}.subspan(3, 2), inner);
    EXPECT_EQ(inner.claimed, (std::vector{values[3], values[4]}));
  });
  EXPECT_EQ(refused, (std::vector<std::size_t>{1, 3, 4, 19}));
  std::move(*kept).end_ok();
  EXPECT_EQ(driver.sink.count(), 20U);
}

// Goal: a value is looked up whole at its turn: nothing that was read of it earlier decides.
TEST_F(ClaimEach, LooksUpAValueAsItIsAtItsTurn) {
  auto values = in_flight(10);
  const auto other = driver.in_flight(40).value;
  const auto replaced = values[9];
  Visits visits;
  driver.set.claim_each(queue, values, [&](std::size_t index, Found found) {
    if (index == 8) values[9] = other;
    visits(index, std::move(found));
  });
  EXPECT_EQ(visits.claimed.back(), other);
  EXPECT_EQ(driver.state(9), "1");
  driver.set.claim(queue, replaced).value().end_ok();
}

TEST_F(ClaimEach, TakesAVisitThatOnlyMoves) {
  const std::array values{driver.in_flight().value};
  struct MoveOnly {
    std::optional<Claim>* kept;
    void operator()(std::size_t, Found&& found) && = delete;
    void operator()(std::size_t, Found&& found) & { kept->emplace(std::move(*found)); }
  };
  std::optional<Claim> kept;
  driver.set.claim_each(queue, values, MoveOnly{&kept});
  ASSERT_TRUE(kept.has_value());
  std::move(*kept).end_ok();
}
