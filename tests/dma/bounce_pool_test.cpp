// SPDX-License-Identifier: BSL-1.0
//
// Goal: a slot belongs to one mapping at a time.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <blkown/dma/bounce_pool.hpp>
#include <set>
#include <thread>
#include <vector>

namespace {

namespace dma = blkown::dma;

struct Slots {
  explicit Slots(std::size_t bytes = 256) : pool{std::span{memory}.first(bytes), 64} {}
  alignas(16) std::array<std::byte, 256> memory{};
  dma::BouncePool pool;
};

TEST(BouncePool, HasAsManySlotsAsFitWhole) {
  Slots four;
  EXPECT_EQ(four.pool.free_slots(), 4U);
  EXPECT_EQ(four.pool.slot_count(), 4U);
  EXPECT_EQ(four.pool.slot_bytes(), 64U);
  Slots three{255};
  EXPECT_EQ(three.pool.free_slots(), 3U) << "the last slot would end beyond the memory";
  Slots none{63};
  EXPECT_EQ(none.pool.free_slots(), 0U);
  EXPECT_EQ(none.pool.take(), nullptr);
}

TEST(BouncePool, GivesEachSlotToOneUntilItComesBack) {
  Slots slots;
  std::set<std::byte*> taken;
  for (int i = 0; i != 4; ++i) {
    std::byte* const slot = slots.pool.take();
    ASSERT_NE(slot, nullptr);
    EXPECT_EQ((slot - slots.memory.data()) % 64, 0);
    EXPECT_TRUE(taken.insert(slot).second) << "given twice";
    std::fill_n(slot, 64, std::byte{0xFF});
  }
  EXPECT_EQ(slots.pool.free_slots(), 0U);
  EXPECT_EQ(slots.pool.slot_count(), 4U);
  EXPECT_EQ(slots.pool.take(), nullptr);
  std::byte* const back = *taken.begin();
  slots.pool.give(back);
  EXPECT_EQ(slots.pool.free_slots(), 1U);
  EXPECT_EQ(slots.pool.take(), back);
}

// Goal: a mapping that keeps its offset in the page gives back the address inside the slot.
TEST(BouncePool, TakesASlotBackByAnyOfItsBytes) {
  Slots slots;
  std::array<std::byte*, 4> taken{};
  for (std::byte*& slot : taken) slot = slots.pool.take();
  for (const std::size_t offset : {1U, 31U, 32U, 63U}) {
    for (std::byte* const slot : taken) {
      slots.pool.give(slot + offset);
      EXPECT_EQ(slots.pool.take(), slot) << "offset " << offset;
    }
  }
  for (std::byte* const slot : taken) slots.pool.give(slot);
}

// Goal: two contexts never have the same slot.
// Method: both write plain memory into their slots and read it back, also under ThreadSanitizer.
TEST(BouncePool, IsAnyContexts) {
  Slots slots;
  std::vector<std::thread> contexts;
  for (int mark = 1; mark != 3; ++mark) {
    contexts.emplace_back([&slots, mark] {
      for (int i = 0; i != 2000; ++i) {
        std::byte* const slot = slots.pool.take();
        if (slot == nullptr) continue;
        std::fill_n(slot, 64, static_cast<std::byte>(mark));
        EXPECT_EQ(std::count(slot, slot + 64, static_cast<std::byte>(mark)), 64);
        slots.pool.give(slot);
      }
    });
  }
  for (std::thread& context : contexts) context.join();
  EXPECT_EQ(slots.pool.free_slots(), 4U);
}

}  // namespace
