// SPDX-License-Identifier: BSL-1.0
//
// CommandTable finds its commands and keeps their order: compared with a plain list.

#include <gtest/gtest.h>

#include <algorithm>
#include <blkown/sim/device/command_table.hpp>
#include <random>
#include <vector>

namespace {

using blkown::sim::detail::Command;
using blkown::sim::detail::CommandTable;

[[nodiscard]] Command command_of(std::uint64_t serial) {
  Command command;
  command.serial = serial;
  return command;
}

[[nodiscard]] std::vector<std::uint64_t> serials(CommandTable& table) {
  std::vector<std::uint64_t> all;
  EXPECT_EQ(table.find_first([&](const Command& command) {
    all.push_back(command.serial);
    return false;
  }),
            nullptr);
  return all;
}

TEST(CommandTable, ACopyFindsTheAddedCommand) {
  CommandTable table;
  const Command first = table.add(command_of(7));
  const Command second = table.add(command_of(8));
  table.find(first)->is_lost = true;
  EXPECT_TRUE(table.find(first)->is_lost);
  EXPECT_FALSE(table.find(second)->is_lost);
  EXPECT_EQ(table.find(second)->serial, 8U);
}

// Goal: an action that was planned for an aborted command does not reach the command that has its
// slot now.
TEST(CommandTable, ACopyOfAnErasedCommandFindsNothing) {
  CommandTable table;
  const Command gone = table.add(command_of(7));
  EXPECT_TRUE(table.erase(gone));
  EXPECT_EQ(table.find(gone), nullptr);
  EXPECT_FALSE(table.erase(gone));
  const Command next = table.add(command_of(8));
  ASSERT_EQ(next.slot, gone.slot);
  EXPECT_EQ(table.find(gone), nullptr);
  EXPECT_FALSE(table.erase(gone));
  EXPECT_EQ(table.size(), 1U);
  table.clear();
  EXPECT_EQ(table.find(next), nullptr);
  EXPECT_EQ(table.find(command_of(0)), nullptr) << "one that was never added";
}

TEST(CommandTable, AFoundCommandMayBeAddedAgain) {
  CommandTable table;
  const Command first = table.add(command_of(7));
  for (int i = 0; i != 100; ++i) ASSERT_EQ(table.add(*table.find(first)).serial, 7U);
  EXPECT_EQ(table.size(), 101U);
}

// Goal: a command that is added again, because its completion is delayed, comes last.
TEST(CommandTable, KeepsTheOrderOfAdding) {
  CommandTable table;
  std::vector<Command> plain;
  std::mt19937 random{7};
  std::size_t most = 0;
  for (std::uint64_t serial = 0; serial != 5000; ++serial) {
    if (plain.empty() || random() % 100 < 51) {
      plain.push_back(table.add(command_of(serial)));
    } else {
      const auto at = plain.begin() + static_cast<std::ptrdiff_t>(random() % plain.size());
      const Command found = *table.find(*at);
      ASSERT_EQ(found.serial, at->serial);
      ASSERT_TRUE(table.erase(*at));
      plain.erase(at);
      if (random() % 4 == 0) plain.push_back(table.add(found));
    }
    most = std::max(most, plain.size());
    ASSERT_EQ(table.size(), plain.size());
    std::vector<std::uint64_t> expected;
    for (const Command& command : plain) expected.push_back(command.serial);
    ASSERT_EQ(serials(table), expected);
  }
  EXPECT_GT(most, 50U);
}

}  // namespace
