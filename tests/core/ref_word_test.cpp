// SPDX-License-Identifier: BSL-1.0
//
// The ownership word's transitions by Idle, Owned and Claim, for both widths.
// ref_word_lookup_test.cpp tests references and lookups, tests/model the interleavings of threads.

#include <gtest/gtest.h>

#include "word_table.hpp"

using blkown::Generation;

template <class W>
class RefWordOf : public WordTable<W> {};
TYPED_TEST_SUITE(RefWordOf, Words);

// --- Idle and Owned ------------------------------------------------------------------------------

TYPED_TEST(RefWordOf, BeginsIdleAtGenerationZero) {
  const blkown::detail::RefWord<TypeParam> word;
  EXPECT_EQ(word.peek().bits, 0U);
}

TYPED_TEST(RefWordOf, TakesItsFirstGenerationAndStaysIdle) {
  blkown::detail::RefWord<TypeParam> word;
  word.set_first_generation(Generation{0xABCD'1234});
  EXPECT_EQ(word.peek(), blkown::detail::RefValue<TypeParam>::idle_at(Generation{0xABCD'1234}));
  EXPECT_EQ(word.peek().state(), 0U);
}

TYPED_TEST(RefWordOf, StartsOnlyWhatIsIdle) {
  this->template expect_table<bool>({.rows = {{"0", true, "0 owned"}}, .otherwise = false},
                                    [](auto& word, auto, auto& seen) { return word.start(seen); });
}

TYPED_TEST(RefWordOf, SharesOnlyWhatIsOwnedUnderTheNextGeneration) {
  this->template expect_table<bool>(
      {.rows = {{"0 owned", true, "2"}}, .otherwise = false, .generation = Step::advances},
      [](auto& word, auto, auto& seen) { return word.into_shared(seen); });
}

TYPED_TEST(RefWordOf, ParksOnlyWhatIsOwnedUnderTheNextGeneration) {
  this->template expect_table<bool>(
      {.rows = {{"0 owned", true, "1"}}, .otherwise = false, .generation = Step::advances},
      [](auto& word, auto, auto& seen) { return word.park_owned(seen); });
}

TYPED_TEST(RefWordOf, EndsOnlyAnOwnedUnderTheSameGeneration) {
  this->template expect_table<bool>(
      {.rows = {{"0 owned", true, "0"}}, .otherwise = false},
      [](auto& word, auto, auto& seen) { return word.end_owned(seen); });
}

// --- tables --------------------------------------------------------------------------------------

TYPED_TEST(RefWordOf, PinsWhatHasEndedWhileAnotherPinIsLeft) {
  this->template expect_table<bool>(
      {.rows = {{"2 finished", true, "3 finished"}, {"3 finished", true, "4 finished"}},
       .otherwise = false},
      [](auto& word, auto, auto& seen) { return word.pin_ended(seen); });
}

// --- Claim ---------------------------------------------------------------------------------------

TYPED_TEST(RefWordOf, PinsWhatIsClaimedUpToTheLimit) {
  using enum blkown::detail::ClaimResult;
  this->template expect_table<blkown::detail::ClaimResult>(
      {.rows = {{"0 owned", done, "3 claimed"},
                {"2 claimed", done, "3 claimed"},
                {"3 claimed", done, "4 claimed"},
                {"4 claimed", done, "5 claimed"},
                {"limit-1 claimed", done, "limit claimed"},
                {"limit claimed", overflow, ""}},
       .otherwise = not_claimed},
      [](auto& word, auto, auto& seen) { return word.claim_pin(seen); });
}

// Goal: with pins, one addition clears `claimed`, drops the Claim's count and advances the
// generation, across its wrap too.
TYPED_TEST(RefWordOf, PublishesAClaimUnderTheNextGenerationAndKeepsItsPins) {
  using enum blkown::detail::ClaimResult;
  this->template expect_table<blkown::detail::ClaimResult>(
      {.rows = {{"0 owned", done, "1"},
                {"2 claimed", done, "1"},
                {"3 claimed", done, "2"},
                {"4 claimed", done, "3"},
                {"limit-1 claimed", done, "limit-2"},
                {"limit claimed", done, "limit-1"}},
       .otherwise = not_claimed,
       .generation = Step::advances},
      [](auto& word, auto, auto& seen) { return word.publish_claim(seen); });
}

TYPED_TEST(RefWordOf, ReleasesAClaimUnderTheSameGenerationAndKeepsItsPins) {
  using enum blkown::detail::ClaimResult;
  this->template expect_table<blkown::detail::ClaimResult>(
      {.rows = {{"0 owned", done, "1"},
                {"2 claimed", done, "1"},
                {"3 claimed", done, "2"},
                {"4 claimed", done, "3"},
                {"limit-1 claimed", done, "limit-2"},
                {"limit claimed", done, "limit-1"}},
       .otherwise = not_claimed},
      [](auto& word, auto, auto& seen) { return word.release_claim(seen); });
}

TYPED_TEST(RefWordOf, MakesAClaimOwnedUnlessItIsPinned) {
  using enum blkown::detail::ClaimResult;
  this->template expect_table<blkown::detail::ClaimResult>(
      {.rows = {{"0 owned", done, "0 owned"},
                {"2 claimed", done, "0 owned"},
                {"3 claimed", pinned, "3 claimed"},
                {"4 claimed", pinned, "4 claimed"},
                {"limit-1 claimed", pinned, "limit-1 claimed"},
                {"limit claimed", pinned, "limit claimed"}},
       .otherwise = not_claimed},
      [](auto& word, auto, auto& seen) { return word.claim_into_owned(seen); });
}

TYPED_TEST(RefWordOf, EndsAClaimAtOnceOrLeavesItToTheLastPin) {
  using enum blkown::detail::ClaimResult;
  this->template expect_table<blkown::detail::ClaimResult>(
      {.rows = {{"0 owned", completed, "0"},
                {"2 claimed", completed, "0"},
                {"3 claimed", pinned, "2 finished"},
                {"4 claimed", pinned, "3 finished"},
                {"limit-1 claimed", pinned, "limit-2 finished"},
                {"limit claimed", pinned, "limit-1 finished"}},
       .otherwise = not_claimed},
      [](auto& word, auto, auto& seen) { return word.end_claim(seen); });
}
