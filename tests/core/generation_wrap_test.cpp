// SPDX-License-Identifier: BSL-1.0
//
// Goal: with g generation bits a lookup refuses a stale cookie unless a multiple of 2^g
// publications of its tag lie between.
// Method: for each layout, late cookies on both sides of the wrap of its generation field.

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "support/driver.hpp"

using blkown::Cookie;
using blkown::CookieLayout;
using blkown::Generation;
using blkown::LookupReason;
using support::Driver;

namespace {

constexpr CookieLayout with_generation_bits(std::uint8_t bits) {
  return {.width_bits = 64,
          .queue = {},
          .tag = {.shift = 0, .bits = 4},
          .generation = {.shift = 8, .bits = bits},
          .user = {}};
}

struct Named {
  const char* name;
  CookieLayout layout;
};

std::vector<Named> layouts() {
  return {{"Nvme", CookieLayout::nvme()},           {"Nbd", CookieLayout::nbd()},
          {"IoUring", CookieLayout::io_uring()},    {"NoGeneration", with_generation_bits(0)},
          {"OneBit", with_generation_bits(1)},      {"TwoBits", with_generation_bits(2)},
          {"FifteenBits", with_generation_bits(15)}};
}

blkown::TagSetConfig one_queue(const CookieLayout& layout, std::uint32_t first_generation) {
  return {.queue_count = 1,
          .depth = 4,
          .layout = layout,
          .first_generation = Generation{first_generation}};
}

class GenerationWrap : public testing::TestWithParam<Named> {
 protected:
  static constexpr std::uint64_t word_generations = std::uint64_t{1} << (BLKOWN_WORD_BITS / 2);

  [[nodiscard]] std::uint64_t field_generations() const {
    return std::uint64_t{1} << GetParam().layout.generation.bits;
  }
  /// A lookup's result for a cookie that `distance` publications of its tag have followed.
  [[nodiscard]] LookupReason expected(std::uint64_t distance) const {
    if (distance % field_generations() == 0) return LookupReason::none;
    const bool is_next = (distance + 1) % field_generations() == 0;
    return is_next ? LookupReason::early : LookupReason::stale_generation;
  }
  /// Advances the generation as `count` published and ended I/Os would.
  static void let_pass(const Driver<>& driver, std::uint64_t count) {
    auto& header = const_cast<blkown::RequestHeader&>(driver.header());
    const std::uint64_t now = driver.generation() + count;
    blkown::detail::HeaderAccess::word(header).set_first_generation(
        Generation{static_cast<std::uint32_t>(now % word_generations)});
  }
};

}  // namespace

INSTANTIATE_TEST_SUITE_P(Layouts, GenerationWrap, testing::ValuesIn(layouts()),
                         [](const auto& named) { return std::string{named.param.name}; });

// Method: real publications in sequence, from below the wrap of the word's generation to beyond it.
TEST_P(GenerationWrap, EachOfTheNextPublicationsKnowsTheOldCookieOrRefusesIt) {
  const std::uint32_t first = static_cast<std::uint32_t>(word_generations - 21);
  Driver<> driver{one_queue(GetParam().layout, first)};
  const Cookie old = driver.in_flight();
  driver.complete(old);
  for (std::uint64_t distance = 1; distance <= 40; ++distance) {
    const Cookie current = driver.in_flight();
    const LookupReason reason = driver.refusal(old);
    EXPECT_EQ(reason, expected(distance)) << distance << " publications later";
    if (reason != LookupReason::none) driver.complete(current);
  }
}

// Method: the distances around multiples of 2^g, as far as the word's generation is wide enough.
TEST_P(GenerationWrap, OnlyAMultipleOfTheFieldsRangeHidesAStaleCookie) {
  const std::uint64_t range = field_generations();
  for (const std::uint64_t multiple : {1U, 2U, 3U}) {
    for (const std::int64_t beside : {-2, -1, 0, 1, 2}) {
      const auto distance =
          static_cast<std::uint64_t>(static_cast<std::int64_t>(multiple * range) + beside);
      if (static_cast<std::int64_t>(distance) < 1) continue;
      Driver<> driver{one_queue(GetParam().layout, 5)};
      const Cookie old = driver.in_flight();
      driver.complete(old);
      let_pass(driver, distance - 1);
      const Cookie current = driver.in_flight();
      const LookupReason reason = driver.refusal(old);
      EXPECT_EQ(reason, expected(distance)) << distance << " publications later";
      if (reason != LookupReason::none) driver.complete(current);
    }
  }
}

// Goal: the next publication's cookie is refused as early. A layout without generation bits accepts
// this cookie.
TEST_P(GenerationWrap, NextCookieIsEarlyUntilItIsPublished) {
  for (const std::uint32_t first : {0U, static_cast<std::uint32_t>(word_generations - 2),
                                    static_cast<std::uint32_t>(word_generations - 1)}) {
    Driver<> driver{one_queue(GetParam().layout, first)};
    auto owned = driver.owned();
    const Cookie next = owned.next_cookie();
    const bool no_generation = GetParam().layout.generation.bits == 0;
    EXPECT_EQ(driver.refusal(next), no_generation ? LookupReason::owned : LookupReason::early);
    EXPECT_EQ(Driver<>::publish(std::move(owned)), next);
    EXPECT_EQ(driver.refusal(next), LookupReason::none);
  }
}

// Goal: with one bit the next and the previous generation are equal, and both are refused as early.
TEST(GenerationWrapOfOneBit, CannotTellEarlyFromStale) {
  Driver<> driver{one_queue(with_generation_bits(1), 0)};
  const Cookie first = driver.in_flight();
  driver.complete(first);
  auto second = driver.owned();
  EXPECT_EQ(driver.refusal(second.next_cookie()), LookupReason::early);
  const Cookie current = Driver<>::publish(std::move(second));
  EXPECT_EQ(driver.refusal(first), LookupReason::early);
  driver.complete(current);
}

// Goal: without generation bits every cookie of a tag reaches the tag's current I/O, as documented.
TEST(GenerationWrapOfNoBits, AcceptsEveryCookieOfATagInFlight) {
  Driver<> driver{one_queue(with_generation_bits(0), 0)};
  const Cookie first = driver.in_flight();
  driver.complete(first);
  const Cookie second = driver.in_flight();
  EXPECT_EQ(first.value, second.value);
  EXPECT_NE(first.generation, second.generation);
  EXPECT_EQ(driver.refusal(first), LookupReason::none);
}
