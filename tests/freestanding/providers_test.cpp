// SPDX-License-Identifier: BSL-1.0
//
// Goal: three parts of one program may use different atomics (std::atomic, a counting one, a plain
// one for a single thread), and the linker does not confuse their functions.

#include <gtest/gtest.h>

#include <string>

// clang-format off: the atomic provider must be included first.
#include "support/counting_atomic.hpp"
#include <blkown/config.hpp>
// clang-format on

// clang-format off
#define DECLARE(way) namespace way { int use(); const char* abi(); }
// clang-format on
DECLARE(core_hosted)
DECLARE(core_counting)
DECLARE(core_plain)

namespace {

std::string abi_with(const std::string& atomic) {
  return "v1_w" + std::to_string(BLKOWN_WORD_BITS) + "_l64_" + atomic + "_stdio";
}

}  // namespace

TEST(Providers, AreNamedInTheNamespace) {
  EXPECT_EQ(core_hosted::abi(), BLKOWN_WORD_BITS == 64 ? "v1" : abi_with("std"));
  EXPECT_EQ(core_counting::abi(), abi_with("counting"));
  EXPECT_EQ(core_plain::abi(), abi_with("plain"));
}

TEST(Providers, EachDoesAllOfTheCoresWork) {
  EXPECT_EQ(core_hosted::use(), 0) << "the line of core.cpp";
  EXPECT_EQ(core_counting::use(), 0) << "the line of core.cpp";
  EXPECT_EQ(core_plain::use(), 0) << "the line of core.cpp";
}

// Goal: only the counting part counts. If the linker had merged functions, other parts would count.
TEST(Providers, DoNotMix) {
  const support::AtomicCounts none = support::atomic_counts;
  EXPECT_EQ(core_hosted::use(), 0);
  EXPECT_EQ(core_plain::use(), 0);
  EXPECT_EQ(support::atomic_counts, none);

  EXPECT_EQ(core_counting::use(), 0);
  const support::AtomicCounts once = support::atomic_counts;
  EXPECT_GT(once.loads, none.loads);
  EXPECT_GT(once.stores, none.stores);
  EXPECT_GT(once.rmws, none.rmws);

  EXPECT_EQ(core_counting::use(), 0);
  EXPECT_EQ(support::atomic_counts.rmws - once.rmws, once.rmws - none.rmws)
      << "equal work takes equally many operations";
}
