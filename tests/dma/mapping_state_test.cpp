// SPDX-License-Identifier: BSL-1.0
//
// Goal: only the caller whose call changes the state has the list, and each mapping of a list has a
// serial number of its own.

#include <gtest/gtest.h>

#include <blkown/dma/detail/mapping_state.hpp>
#include <set>

namespace {

using blkown::Word;
using blkown::dma::detail::MappingState;
using Value = MappingState::Value;

TEST(MappingState, GoesRoundWithANewNumberForEachMapping) {
  MappingState state;
  EXPECT_EQ(state.look().value(), Value::free);
  const Word first = state.prepare();
  EXPECT_EQ(state.look().value(), Value::prepared);
  state.activate(first);
  EXPECT_EQ(state.look().value(), Value::active);
  EXPECT_TRUE(state.quarantine(first));
  EXPECT_EQ(state.look().value(), Value::quarantined);
  EXPECT_TRUE(state.take(first, Value::quarantined));
  EXPECT_EQ(state.look().value(), Value::prepared);
  state.free(first);
  EXPECT_EQ(state.look().value(), Value::free);
  EXPECT_EQ(state.look().serial(), first);
  EXPECT_NE(state.prepare(), first);
}

TEST(MappingState, GivesNoNumberTwice) {
  MappingState state;
  std::set<Word> numbers;
  for (int i = 0; i != 1000; ++i) {
    const Word number = state.prepare();
    EXPECT_TRUE(numbers.insert(number).second) << i;
    state.free(number);
  }
}

TEST(MappingState, IsTakenOnceAndOnlyByItsNumber) {
  MappingState state;
  const Word first = state.prepare();
  EXPECT_FALSE(state.take(first, Value::active)) << "it is not active yet";
  state.activate(first);
  EXPECT_FALSE(state.take(first + 1, Value::active));
  EXPECT_FALSE(state.take(first, Value::quarantined));
  EXPECT_TRUE(state.take(first, Value::active));
  EXPECT_FALSE(state.take(first, Value::active));
  EXPECT_FALSE(state.quarantine(first)) << "it is taken";
  state.free(first);
  const Word second = state.prepare();
  state.activate(second);
  EXPECT_FALSE(state.take(first, Value::active)) << "a handle of the mapping before";
  EXPECT_FALSE(state.quarantine(first));
  EXPECT_EQ(state.look().value(), Value::active);
  EXPECT_EQ(state.look().serial(), second);
}

}  // namespace
