// SPDX-License-Identifier: BSL-1.0
//
// The state of a list: who changes it has the list, and no mapping's number comes back.

#include <gtest/gtest.h>

#include <blkown/dma/detail/mapping_state.hpp>
#include <mutex>
#include <thread>
#include <vector>

namespace {

using blkown::Word;
using blkown::dma::detail::Epoch;
using blkown::dma::detail::MappingState;
using blkown::dma::detail::SpinLock;
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

TEST(MappingState, IsTakenOnceAndOnlyByItsNumber) {
  MappingState state;
  const Word first = state.prepare();
  EXPECT_FALSE(state.take(first, Value::active)) << "it is not active yet";
  state.activate(first);
  EXPECT_FALSE(state.take(first + 1, Value::active));
  EXPECT_FALSE(state.take(first, Value::quarantined));
  EXPECT_TRUE(state.take(first, Value::active));
  EXPECT_FALSE(state.take(first, Value::active));
  EXPECT_FALSE(state.quarantine(first)) << "whoever has taken it unmaps it";
  state.free(first);
  const Word second = state.prepare();
  state.activate(second);
  EXPECT_FALSE(state.take(first, Value::active)) << "a handle of the mapping before";
  EXPECT_FALSE(state.quarantine(first));
  EXPECT_EQ(state.look().value(), Value::active);
  EXPECT_EQ(state.look().serial(), second);
}

TEST(Epoch, EndsAreCounted) {
  Epoch epoch;
  const Word first = epoch.current();
  EXPECT_EQ(epoch.end(), first);
  EXPECT_EQ(epoch.current(), first + 1);
  EXPECT_EQ(epoch.end(), first + 1);
}

TEST(SpinLock, IsOneContextsAtATime) {
  SpinLock lock;
  int count = 0;  // plain: the lock orders it
  std::vector<std::thread> contexts;
  for (int i = 0; i != 2; ++i) {
    contexts.emplace_back([&] {
      for (int round = 0; round != 2000; ++round) {
        const std::lock_guard guard{lock};
        ++count;
      }
    });
  }
  for (std::thread& context : contexts) context.join();
  EXPECT_EQ(count, 4000);
}

}  // namespace
