// SPDX-License-Identifier: BSL-1.0
//
// The first generation of a TagSet.

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <set>
#include <vector>

#include "support/driver.hpp"

using support::Driver;

namespace {

std::uint32_t first_generation_of(support::TagSet& set) {
  auto owned = set.allocate_tag(blkown::QueueIndex{0}, blkown::Tag{0}).value().start();
  const std::uint32_t generation = owned.cookie().generation.value;
  std::move(owned).end_ok();
  return generation;
}

}  // namespace

TEST(FirstGeneration, IsTheOneThatWasGiven) {
  Driver<> driver;
  EXPECT_EQ(driver.owned().cookie().generation, blkown::Generation{100});
  driver.set.tag_to_owned_any_generation(blkown::QueueIndex{0}, blkown::Tag{0}).value().end_ok();
}

TEST(FirstGeneration, IsCutToTheWordsWidth) {
  auto config = support::two_queues_of_eight;
  config.first_generation = blkown::Generation{0x1234'5678};
  Driver<> driver{config};
  EXPECT_EQ(first_generation_of(driver.set), BLKOWN_WORD_BITS == 64 ? 0x1234'5678U : 0x5678U);
}

// Goal: the TagSets of successive attaches of a device begin at different generations.
// Method: 64 TagSets exist at the same time, at different addresses. At least 48 generations must
// be distinct. Among 64 random 16-bit numbers, 17 duplicates have a probability below 10^-40.
TEST(FirstGeneration, DiffersFromTagSetToTagSet) {
  auto config = support::two_queues_of_eight;
  config.first_generation.reset();
  std::vector<support::TagSet> sets;
  std::set<std::uint32_t> generations;
  std::uint32_t ones = 0;
  std::uint32_t zeros = 0;
  for (int i = 0; i < 64; ++i) {
    sets.push_back(
        support::TagSet::create(config, blkown::EndSink<support::Request>::freeing()).value());
    const std::uint32_t generation = first_generation_of(sets.back());
    generations.insert(generation);
    ones |= generation;
    zeros |= ~generation;
  }
  EXPECT_GE(generations.size(), 48U);
  // Each bit takes both values. 64 random bits are all equal with a probability of 2^-63.
  EXPECT_EQ(std::popcount(ones), BLKOWN_WORD_BITS / 2);
  EXPECT_GE(std::popcount(zeros), BLKOWN_WORD_BITS / 2);
}

TEST(FirstGeneration, ATagSetCanBeginSoThatARequestBeginsAtAGeneration) {
  for (const std::uint32_t wanted : {0U, 100U, ~std::uint32_t{0}}) {
    const blkown::QueueIndex queue{3};
    const blkown::Tag tag{5};
    const blkown::Generation begin =
        blkown::detail::begin_for(blkown::Generation{wanted}, queue, tag);
    EXPECT_EQ(blkown::detail::first_generation_of(begin, queue, tag).value, wanted);
  }
}

// Goal: the given generation is that of queue 0 and tag 0; the others differ (wrong_bit_test.cpp).
TEST(FirstGeneration, DiffersFromRequestToRequest) {
  Driver<> driver;
  std::set<std::uint32_t> generations;
  for (std::uint32_t queue = 0; queue != 2; ++queue) {
    for (std::uint32_t tag = 0; tag != 8; ++tag) {
      auto owned = driver.owned(tag, queue);
      generations.insert(owned.cookie().generation.value);
      std::move(owned).end_ok();
    }
  }
  EXPECT_EQ(generations.size(), 16U);
}
