// SPDX-License-Identifier: BSL-1.0
#ifndef BLKOWN_WORD_BITS
#define WORD_IS_THE_DEFAULT
#endif

#include <gtest/gtest.h>

#include <atomic>
#include <blkown/config.hpp>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>

#define TEXT_OF(macro) TEXT_OF_EXPANDED(macro)
#define TEXT_OF_EXPANDED(text) #text

// Goal: parts of a program with different choices do not link to each other's types.
TEST(Config, NamesEveryChoiceThatIsNotTheDefaultInTheNamespace) {
  const bool is_default = BLKOWN_WORD_BITS == 64 && BLKOWN_CACHE_LINE_BYTES == 64 &&
                          BLKOWN_TRACKING == 0 && BLKOWN_POISON == 0;
  const std::string long_form =
      "v1_w" + std::to_string(BLKOWN_WORD_BITS) + "_l" + std::to_string(BLKOWN_CACHE_LINE_BYTES) +
      "_std_stdio" + (BLKOWN_TRACKING ? "_tracking" : "") + (BLKOWN_POISON ? "_poison" : "");
  const std::string expected = is_default ? "v1" : long_form;
  EXPECT_EQ(TEXT_OF(BLKOWN_ABI), expected);
}

TEST(Config, ReachesTheNamespaceWithoutNamingIt) {
  EXPECT_TRUE((std::is_same_v<blkown::Word, blkown::BLKOWN_ABI::Word>));
}

TEST(Config, GivesTheWordTheWidthThatWasChosen) {
  EXPECT_EQ(std::numeric_limits<blkown::Word>::digits, BLKOWN_WORD_BITS);
  EXPECT_TRUE(std::is_unsigned_v<blkown::Word>);
}

TEST(Config, TakesStandardAtomicsUnlessToldOtherwise) {
  EXPECT_TRUE((std::is_same_v<blkown::Atomic<blkown::Word>, std::atomic<blkown::Word>>));
}

TEST(Config, KnowsTheCacheLine) {
  EXPECT_EQ(blkown::cache_line_bytes, std::size_t{BLKOWN_CACHE_LINE_BYTES});
}

#ifdef WORD_IS_THE_DEFAULT
TEST(Config, TakesTheWidestLockFreeWordUnlessToldOtherwise) {
  EXPECT_EQ(BLKOWN_WORD_BITS, std::atomic<std::uint64_t>::is_always_lock_free ? 64 : 32);
}
#endif
