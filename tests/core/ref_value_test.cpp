// SPDX-License-Identifier: BSL-1.0
//
// RefValue, GenerationMatch and lookup_refusal for both widths. ref_word_test.cpp tests the word's
// transitions.

#include <gtest/gtest.h>

#include <bit>
#include <blkown/detail/ref_value.hpp>
#include <cstdint>

#include "support/word_text.hpp"

using blkown::Generation;
using blkown::LookupReason;
using blkown::detail::GenerationMatch;
using blkown::detail::RefValue;

template <class W>
class RefValueOf : public testing::Test {
 protected:
  using Value = RefValue<W>;
  using Match = GenerationMatch<W>;
  static constexpr std::uint32_t last_generation =
      static_cast<std::uint32_t>(Value::generation_mask >> Value::generation_bits);

  static Value at(const char* state, std::uint32_t generation = 7) {
    return support::value_of<W>(state, Generation{generation});
  }
};
using Words = testing::Types<std::uint64_t, std::uint32_t>;
TYPED_TEST_SUITE(RefValueOf, Words);

// Goal: the field widths are the documented ones, 32|3|29 and 16|3|13.
TEST(RefValue, HasTheDocumentedWidths) {
  EXPECT_EQ(RefValue<std::uint64_t>::generation_bits, 32U);
  EXPECT_EQ(RefValue<std::uint64_t>::count_bits, 29U);
  EXPECT_EQ(RefValue<std::uint64_t>::count_limit, std::uint64_t{1} << 28);
  EXPECT_EQ(RefValue<std::uint32_t>::generation_bits, 16U);
  EXPECT_EQ(RefValue<std::uint32_t>::count_bits, 13U);
  EXPECT_EQ(RefValue<std::uint32_t>::count_limit, 4096U);
}

TYPED_TEST(RefValueOf, FieldsFillTheWordWithoutOverlap) {
  using V = RefValue<TypeParam>;
  const TypeParam fields[] = {V::generation_mask, V::owned_flag, V::claimed_flag, V::finished_flag,
                              V::count_mask};
  TypeParam all = 0;
  for (const TypeParam field : fields) {
    EXPECT_EQ(all & field, 0U);
    all |= field;
  }
  EXPECT_EQ(static_cast<TypeParam>(~all), 0U);
  // ref_word.hpp's additions may carry out of the generation only because it is the highest field.
  EXPECT_EQ(std::countl_zero(V::generation_mask), 0);
  EXPECT_EQ(V::count_mask & 1U, 1U);
}

TYPED_TEST(RefValueOf, SaysWhatAClaimHasAndWhatAnEndWaitsFor) {
  struct Row {
    const char* state;
    bool held_by_claim, alone, end_awaits_pins;
  };
  for (const Row& row :
       {Row{"0", false, false, false}, Row{"0 owned", true, true, false},
        Row{"1", false, false, false}, Row{"2", false, false, false},
        Row{"1 claimed", false, false, false}, Row{"2 claimed", true, true, false},
        Row{"3 claimed", true, false, false}, Row{"1 finished", false, false, false},
        Row{"2 finished", false, false, true}, Row{"3 finished", false, false, true}}) {
    const auto value = this->at(row.state);
    EXPECT_EQ(value.held_by_claim(), row.held_by_claim) << row.state;
    EXPECT_EQ(value.end_awaits_pins(), row.end_awaits_pins) << row.state;
    EXPECT_EQ(value.held_by_claim() && value.alone(), row.alone) << row.state;
  }
}

TYPED_TEST(RefValueOf, GivesBackWhatWasPutIn) {
  const auto value = this->at("5 claimed", 9);
  EXPECT_EQ(value.count(), 5U);
  EXPECT_EQ(value.generation(), Generation{9});
  EXPECT_TRUE(value.claimed());
  EXPECT_FALSE(value.owned());
  EXPECT_FALSE(value.finished());
  EXPECT_TRUE(this->at("0 owned").owned());
  EXPECT_TRUE(this->at("1 finished").finished());
  EXPECT_EQ(value.state(), RefValue<TypeParam>::claimed_flag | 5U);
}

TYPED_TEST(RefValueOf, CutsAGenerationToTheField) {
  const auto value = RefValue<TypeParam>::idle_at(Generation{0x1234'5678});
  EXPECT_EQ(value.generation().value, sizeof(TypeParam) == 8 ? 0x1234'5678U : 0x5678U);
  EXPECT_EQ(value.state(), 0U);
}

TYPED_TEST(RefValueOf, KeepsTheGenerationWhenTheStateChanges) {
  const auto value = this->at("3 claimed", this->last_generation);
  EXPECT_EQ(value.with_state(RefValue<TypeParam>::owned_flag),
            this->at("0 owned", this->last_generation));
}

TYPED_TEST(RefValueOf, AdvancesTheGenerationByOne) {
  EXPECT_EQ(this->at("0 owned", 7).next_with_state(1), this->at("1", 8));
  EXPECT_EQ(this->at("3 claimed", 7).next_generation(), Generation{8});
}

TYPED_TEST(RefValueOf, WrapsTheGenerationWithinItsField) {
  EXPECT_EQ(this->at("0 owned", this->last_generation).next_with_state(2), this->at("2", 0));
  EXPECT_EQ(this->at("0", this->last_generation).next_generation(), Generation{0});
}

TYPED_TEST(RefValueOf, MatchOfNoBitsAcceptsEveryGeneration) {
  using M = GenerationMatch<TypeParam>;
  for (const M match : {M::any(), M::low_bits(Generation{3}, 0)}) {
    EXPECT_TRUE(match.accepts(this->at("1", 0)));
    EXPECT_TRUE(match.accepts(this->at("1", this->last_generation)));
  }
}

TYPED_TEST(RefValueOf, MatchComparesAsManyLowBitsAsToldAndNothingElse) {
  using M = GenerationMatch<TypeParam>;
  for (unsigned bits = 1; bits <= RefValue<TypeParam>::generation_bits; ++bits) {
    const M match = M::low_bits(Generation{0b1011}, bits);
    for (unsigned flipped = 0; flipped < RefValue<TypeParam>::generation_bits; ++flipped) {
      const std::uint32_t other = 0b1011U ^ (1U << flipped);
      EXPECT_EQ(match.accepts(this->at("6 claimed", other)), flipped >= bits) << bits << flipped;
    }
    EXPECT_TRUE(match.accepts(this->at("6 claimed", 0b1011)));
  }
}

TYPED_TEST(RefValueOf, ExactMatchComparesEveryBit) {
  using M = GenerationMatch<TypeParam>;
  EXPECT_EQ(M::exactly(Generation{5}).mask, RefValue<TypeParam>::generation_mask);
}

// Goal: a wrong generation is reported before any state, and early before stale.
TYPED_TEST(RefValueOf, RefusesByGenerationBeforeState) {
  using M = GenerationMatch<TypeParam>;
  for (const char* state : {"0", "0 owned", "1", "2", "3 claimed", "2 finished", "limit"}) {
    const auto value = this->at(state, 7);
    EXPECT_EQ(lookup_refusal(value, M::exactly(Generation{8})), LookupReason::early) << state;
    EXPECT_EQ(lookup_refusal(value, M::exactly(Generation{6})), LookupReason::stale_generation)
        << state;
    EXPECT_EQ(lookup_refusal(value, M::exactly(Generation{9})), LookupReason::stale_generation)
        << state;
  }
}

TYPED_TEST(RefValueOf, KnowsTheNextGenerationAcrossTheWrap) {
  using M = GenerationMatch<TypeParam>;
  EXPECT_EQ(lookup_refusal(this->at("1", this->last_generation), M::exactly(Generation{0})),
            LookupReason::early);
  EXPECT_EQ(lookup_refusal(this->at("1", 0), M::exactly(Generation{this->last_generation})),
            LookupReason::stale_generation);
  EXPECT_EQ(lookup_refusal(this->at("1", 15), M::low_bits(Generation{0}, 4)), LookupReason::early);
}

// Goal: each state has its reason. If several apply, the first in LookupReason's order is reported.
TYPED_TEST(RefValueOf, RefusesByStateInOrder) {
  const auto match = GenerationMatch<TypeParam>::exactly(Generation{7});
  const auto refusal = [&](const char* state) { return lookup_refusal(this->at(state), match); };
  EXPECT_EQ(refusal("0 owned"), LookupReason::owned);
  EXPECT_EQ(refusal("0"), LookupReason::idle);
  EXPECT_EQ(refusal("2 claimed"), LookupReason::claimed);
  EXPECT_EQ(refusal("3 claimed"), LookupReason::claimed);
  EXPECT_EQ(refusal("1 finished"), LookupReason::claimed);
  EXPECT_EQ(refusal("2 finished"), LookupReason::claimed);
  EXPECT_EQ(refusal("limit claimed"), LookupReason::claimed);
  EXPECT_EQ(refusal("limit finished"), LookupReason::claimed);
  EXPECT_EQ(refusal("limit"), LookupReason::saturated);
  EXPECT_EQ(refusal("limit-1"), LookupReason::none);
  EXPECT_EQ(refusal("1"), LookupReason::none);
  EXPECT_EQ(refusal("2"), LookupReason::none);
}
