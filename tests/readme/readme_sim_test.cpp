// SPDX-License-Identifier: BSL-1.0
//
// Goal: the program of the simulation's README runs its driver under the adversary and prints its
// help; its device completes every I/O, and its seed decides the order.

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#define main kit_main_of_readme
#include BLKOWN_README_PROGRAM
#undef main

namespace {

/// Runs the program with these arguments. Returns its exit status.
int run(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "readme_sim");
  // main has the type of C, and changes no argument.
  return kit_main_of_readme(static_cast<int>(arguments.size()),
                            const_cast<char**>(arguments.data()));
}

TEST(ReadmeProgram, PassesTenSeeds) {
  testing::internal::CaptureStdout();
  EXPECT_EQ(run({"--seeds", "10"}), 0);
  const std::string output = testing::internal::GetCapturedStdout();
  EXPECT_EQ(output.find("10 runs, 10000 I/Os ended, 9"), 0U) << output;
}

TEST(ReadmeProgram, ItsHelpIsASuccess) {
  testing::internal::CaptureStdout();
  EXPECT_EQ(run({"--help"}), 0);
  EXPECT_NE(testing::internal::GetCapturedStdout().find("--seeds"), std::string::npos);
}

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

/// The tests, or behind --as-program the README's program, for the test of its workflow.
int main(int argc, char** argv) {
  if (argc > 2 && std::string{argv[1]} == "--as-program") {
    return kit_main_of_readme(argc - 2, argv + 2);
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
