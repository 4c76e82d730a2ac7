// SPDX-License-Identifier: BSL-1.0
//
// Schedule returns actions in order: compared with a plain list that is searched.

#include <gtest/gtest.h>

#include <algorithm>
#include <blkown/sim/device/schedule.hpp>
#include <cstdint>
#include <random>
#include <vector>

namespace {

using blkown::sim::detail::BasicSchedule;

TEST(Schedule, IsInOrderOfTimeAndThenOfPlanning) {
  struct Plan {
    std::uint64_t due_ns;
    std::uint64_t serial;
  };
  BasicSchedule<std::uint64_t> agenda;
  std::vector<Plan> plain;  // in the order of planning
  std::mt19937 random{7};
  std::uint64_t now_ns = 0;
  std::size_t taken = 0;
  std::size_t most = 0;
  for (std::uint64_t serial = 0; serial != 5000; ++serial) {
    if (random() % 2 == 0) {
      const std::uint64_t due_ns = now_ns + random() % 200;
      agenda.add(serial, due_ns);
      plain.push_back({due_ns, serial});
    } else {
      now_ns += random() % 2;
    }
    most = std::max(most, plain.size());
    const auto next = std::ranges::min_element(plain, {}, &Plan::due_ns);  // the first of them
    ASSERT_EQ(agenda.next_ns().has_value(), next != plain.end());
    if (next == plain.end()) continue;
    ASSERT_EQ(agenda.next_ns(), next->due_ns);
    const auto action = agenda.take_due(now_ns);
    ASSERT_EQ(action.has_value(), next->due_ns <= now_ns);
    if (!action.has_value()) continue;
    ASSERT_EQ(*action, next->serial);
    plain.erase(next);
    ++taken;
  }
  EXPECT_GT(taken, 1000U);
  EXPECT_GT(most, 30U);
  agenda.clear();
  EXPECT_FALSE(agenda.next_ns().has_value());
  EXPECT_FALSE(agenda.take_due(~std::uint64_t{0}).has_value());
}

}  // namespace
