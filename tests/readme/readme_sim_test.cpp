// SPDX-License-Identifier: BSL-1.0
//
// Goal: the device of the simulation's README completes every I/O, and its seed decides the order.

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

// The README's program has a main function, which another test runs.
#define main kit_main_of_readme
#include BLKOWN_README_PROGRAM
#undef main

namespace {

TEST(ReadmeSlowDevice, CompletesEveryIoInTheOrderOfItsSeed) {
  std::set<std::vector<std::size_t>> orders;
  for (std::uint64_t seed = 0; seed != 20; ++seed) {
    const std::vector<std::size_t> order = run_seed(seed);
    EXPECT_EQ(order, run_seed(seed));
    auto sorted = order;
    std::ranges::sort(sorted);
    EXPECT_EQ(sorted, (std::vector<std::size_t>{0, 1, 2, 3, 4, 5, 6, 7}));
    orders.insert(order);
  }
  EXPECT_GT(orders.size(), 10U);
}

}  // namespace
