// SPDX-License-Identifier: BSL-1.0
//
// Goal: the inputs that fuzzing found, and those that it found worth keeping, pass under every
// compiler.
//
// Method: runs the function of the target on each file of its corpus, and on random bytes from a
// fixed seed. To replay a red case:   <target>_replay FILE...
//
// Invariants: those of the target.

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "fuzz_case.hpp"

namespace fuzz {
namespace {

[[nodiscard]] std::vector<std::uint8_t> read(const std::filesystem::path& path) {
  std::ifstream file{path, std::ios::binary};
  if (!file) {
    std::fprintf(stderr, "%s: cannot be read\n", path.c_str());
    std::exit(2);
  }
  const std::istreambuf_iterator<char> begin{file};
  return {begin, std::istreambuf_iterator<char>{}};
}

TEST(Replay, EveryFileOfTheCorpusAgreesWithTheReference) {
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator{BLKOWN_FUZZ_CORPUS}) {
    ++files;
    EXPECT_EQ(run_case(read(entry.path())), "") << entry.path();
  }
  EXPECT_NE(files, 0U) << "no corpus in " << BLKOWN_FUZZ_CORPUS;
}

/// xorshift64* (Vigna 2016): the same bytes with every standard library.
class FixedRandom {
 public:
  [[nodiscard]] std::uint64_t next() noexcept {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545'f491'4f6c'dd1dU;
  }

 private:
  std::uint64_t state_ = 0x9e37'79b9'7f4a'7c15U;
};

TEST(Replay, RandomBytesAgreeWithTheReference) {
  FixedRandom random;
  std::vector<std::uint8_t> bytes;
  for (unsigned i = 0; i != 4000; ++i) {
    bytes.resize(random.next() % 400);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random.next() >> 32);
    ASSERT_EQ(run_case(bytes), "") << "input number " << i;
  }
}

}  // namespace
}  // namespace fuzz

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  if (argc == 1) return RUN_ALL_TESTS();
  int wrong_files = 0;
  for (int i = 1; i != argc; ++i) {
    const std::string wrong = fuzz::run_case(fuzz::read(argv[i]));
    std::printf("%s: %s\n", argv[i], wrong.empty() ? "agrees" : wrong.c_str());
    wrong_files += wrong.empty() ? 0 : 1;
  }
  return wrong_files == 0 ? 0 : 1;
}
