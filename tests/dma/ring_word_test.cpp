// SPDX-License-Identifier: BSL-1.0
//
// Goal: a thread that reads the new word of a ring entry sees the entry's fields.
// Method: the fields are plain memory, so ThreadSanitizer reports a missing order.

#include <gtest/gtest.h>

#include <blkown/dma/ring_word.hpp>
#include <cstdint>
#include <thread>

namespace {

namespace dma = blkown::dma;

TEST(RingWord, OrdersTheRestOfTheEntry) {
  struct Entry {
    std::uint32_t command = 0;
    alignas(4) std::uint32_t phase = 0;
  } entry;
  alignas(4) std::uint32_t head = 0;
  constexpr std::uint32_t rounds = 2000;
  std::thread device{[&] {
    for (std::uint32_t round = 1; round <= rounds; ++round) {
      while (dma::load_acquire(head) != round - 1) std::this_thread::yield();
      entry.command = round * 3;
      dma::store_release(entry.phase, round);
    }
  }};
  for (std::uint32_t round = 1; round <= rounds; ++round) {
    while (dma::load_acquire(entry.phase) != round) std::this_thread::yield();
    EXPECT_EQ(entry.command, round * 3);
    dma::store_release(head, round);
  }
  device.join();
}

}  // namespace
