// SPDX-License-Identifier: BSL-1.0
//
// The ownership word's transitions by references, by lookups and after a refused publish, for both
// widths.

#include <gtest/gtest.h>

#include "word_table.hpp"

using blkown::Generation;
using blkown::LookupReason;

template <class W>
class RefWordLookupOf : public WordTable<W> {};
TYPED_TEST_SUITE(RefWordLookupOf, Words);

// --- ARef ----------------------------------------------------------------------------------------

TYPED_TEST(RefWordLookupOf, ClonesAReferenceUpToTheLimit) {
  using enum blkown::detail::RefResult;
  this->template expect_table<blkown::detail::RefResult>(
      {.rows = {{"2", done, "3"},
                {"3", done, "4"},
                {"4", done, "5"},
                {"3 claimed", done, "4 claimed"},
                {"4 claimed", done, "5 claimed"},
                {"2 finished", done, "3 finished"},
                {"3 finished", done, "4 finished"},
                {"limit-1", done, "limit"},
                {"limit-1 claimed", done, "limit claimed"},
                {"limit", overflow, ""},
                {"limit claimed", overflow, ""},
                {"limit finished", overflow, ""},
                {"0", no_reference, ""},
                {"0 owned", no_reference, ""},
                {"1", no_reference, ""},
                {"1 finished", no_reference, ""}},
       .otherwise = no_reference,
       .impossible = {"2 claimed"}},
      [](auto& word, auto, auto& seen) { return word.add_ref(seen); });
}

TYPED_TEST(RefWordLookupOf, DropsAReferenceAndCompletesAnEndWithTheLast) {
  using enum blkown::detail::RefResult;
  this->template expect_table<blkown::detail::RefResult>(
      {.rows = {{"2", done, "1"},
                {"3", done, "2"},
                {"4", done, "3"},
                {"3 claimed", done, "2 claimed"},
                {"4 claimed", done, "3 claimed"},
                {"2 finished", completed, "0"},
                {"3 finished", done, "2 finished"},
                {"limit-1", done, "limit-2"},
                {"limit", done, "limit-1"},
                {"limit-1 claimed", done, "limit-2 claimed"},
                {"limit claimed", done, "limit-1 claimed"},
                {"limit finished", done, "limit-1 finished"},
                {"0", no_reference, ""},
                {"0 owned", no_reference, ""},
                {"1", no_reference, ""},
                {"1 finished", no_reference, ""},
                {"2 claimed", no_reference, ""}},
       .otherwise = no_reference},
      [](auto& word, auto, auto& seen) { return word.drop_ref(seen); });
}

TYPED_TEST(RefWordLookupOf, MakesTheOnlyReferenceOwned) {
  using enum blkown::detail::RefResult;
  this->template expect_table<blkown::detail::RefResult>(
      {.rows = {{"2", alone, "0 owned"},
                {"0", no_reference, "0"},
                {"0 owned", no_reference, "0 owned"},
                {"1", no_reference, "1"},
                {"1 finished", no_reference, "1 finished"}},
       .otherwise = refused,
       .impossible = {"2 claimed"}},
      [](auto& word, auto, auto& seen) { return word.try_from_shared(seen); });
}

TYPED_TEST(RefWordLookupOf, DropsAReferenceOrMakesTheLastOneOwned) {
  using enum blkown::detail::RefResult;
  this->template expect_table<blkown::detail::RefResult>(
      {.rows = {{"2", alone, "0 owned"},
                {"3", done, "2"},
                {"4", done, "3"},
                {"3 claimed", done, "2 claimed"},
                {"4 claimed", done, "3 claimed"},
                {"2 finished", completed, "0"},
                {"3 finished", done, "2 finished"},
                {"limit-1", done, "limit-2"},
                {"limit", done, "limit-1"},
                {"limit-1 claimed", done, "limit-2 claimed"},
                {"limit claimed", done, "limit-1 claimed"},
                {"limit finished", done, "limit-1 finished"}},
       .otherwise = no_reference,
       .impossible = {"2 claimed"}},
      [](auto& word, auto, auto& seen) { return word.drop_or_own(seen); });
}

// Goal: the reference becomes the Claim, so the operation succeeds at the count's limit too.
TYPED_TEST(RefWordLookupOf, ClaimsInPlaceOfAReference) {
  using enum LookupReason;
  this->expect_lookup(
      {.rows = {{"2", none, "2 claimed"},
                {"3", none, "3 claimed"},
                {"4", none, "4 claimed"},
                {"limit-1", none, "limit-1 claimed"},
                {"limit", none, "limit claimed"}},
       .otherwise = claimed,
       .impossible = {"1"}},
      [](auto& word, auto match, auto& seen) { return word.claim_with_ref(match, seen); });
}

TYPED_TEST(RefWordLookupOf, ClaimsBesideAReference) {
  using enum LookupReason;
  this->expect_lookup(
      {.rows = {{"2", none, "3 claimed"},
                {"3", none, "4 claimed"},
                {"4", none, "5 claimed"},
                {"limit-1", none, "limit claimed"}},
       .otherwise = claimed,
       .impossible = {"1"}},
      [](auto& word, auto match, auto& seen) { return word.claim_beside_ref(match, seen); });
}

// --- lookups -------------------------------------------------------------------------------------

TYPED_TEST(RefWordLookupOf, LooksUpAReference) {
  using enum LookupReason;
  this->expect_lookup(
      {.rows = {{"1", none, "2"},
                {"2", none, "3"},
                {"3", none, "4"},
                {"4", none, "5"},
                {"limit-1", none, "limit"}},
       .otherwise = claimed},
      [](auto& word, auto match, auto& seen) { return word.tag_to_rq(match, seen); });
}

// Goal: `shared` is the last reason, after `saturated`.
TYPED_TEST(RefWordLookupOf, LooksUpTheUniqueHandle) {
  using enum LookupReason;
  this->expect_lookup(
      {.rows = {{"1", none, "0 owned"},
                {"2", shared, "2"},
                {"3", shared, "3"},
                {"4", shared, "4"},
                {"limit-1", shared, "limit-1"}},
       .otherwise = claimed},
      [](auto& word, auto match, auto& seen) { return word.tag_to_owned(match, seen); });
}

TYPED_TEST(RefWordLookupOf, LooksUpTheClaim) {
  using enum LookupReason;
  this->expect_lookup({.rows = {{"1", none, "0 owned"},
                                {"2", none, "3 claimed"},
                                {"3", none, "4 claimed"},
                                {"4", none, "5 claimed"},
                                {"limit-1", none, "limit claimed"}},
                       .otherwise = claimed},
                      [](auto& word, auto match, auto& seen) { return word.claim(match, seen); });
}

// Goal: with fewer generation bits than the word has, only those bits are compared.
TYPED_TEST(RefWordLookupOf, LooksUpByAsManyGenerationBitsAsTheLayoutHas) {
  using Bits = blkown::detail::GenerationMatch<TypeParam>;
  blkown::detail::RefWord<TypeParam> word{this->value("1", 0x37)};
  blkown::detail::RefValue<TypeParam> seen;
  EXPECT_EQ(word.tag_to_rq(Bits::low_bits(Generation{0x6}, 4), seen),
            LookupReason::stale_generation);
  EXPECT_EQ(word.tag_to_rq(Bits::low_bits(Generation{0x8}, 4), seen), LookupReason::early);
  EXPECT_EQ(word.tag_to_rq(Bits::low_bits(Generation{0x7}, 4), seen), LookupReason::none);
  EXPECT_EQ(word.tag_to_rq(Bits::any(), seen), LookupReason::none);
  EXPECT_EQ(word.peek(), this->value("3", 0x37));
}

// --- a refused publish ---------------------------------------------------------------------------

// Goal: the operation succeeds beyond the count's limit, because a generation has one publisher.
TYPED_TEST(RefWordLookupOf, TakesARefusedPublicationBackAtAnyCount) {
  this->template expect_table<bool>(
      {.rows = {{"1", true, "0 owned"},
                {"2", true, "3 claimed"},
                {"3", true, "4 claimed"},
                {"4", true, "5 claimed"},
                {"limit-1", true, "limit claimed"},
                {"limit", true, "limit+1 claimed"}},
       .otherwise = false},
      [](auto& word, auto match, auto& seen) {
        return word.take_back(blkown::detail::RefValue<TypeParam>{match.wanted}.generation(), seen);
      });
}

// Goal: the whole generation is compared, whatever the layout.
TYPED_TEST(RefWordLookupOf, TakesNoOtherPublicationBack) {
  for (unsigned bit = 0; bit < blkown::detail::RefValue<TypeParam>::generation_bits; ++bit) {
    blkown::detail::RefWord<TypeParam> word{this->value("1", 7)};
    blkown::detail::RefValue<TypeParam> seen;
    EXPECT_FALSE(word.take_back(Generation{7U ^ (1U << bit)}, seen)) << bit;
    EXPECT_EQ(word.peek(), this->value("1", 7)) << bit;
  }
}
