// SPDX-License-Identifier: BSL-1.0
#include <gtest/gtest.h>

#include <array>
#include <blkown/segment.hpp>
#include <cstddef>
#include <limits>

using blkown::Segment;

namespace {

class SegmentOfTen : public testing::Test {
 protected:
  std::array<std::byte, 10> memory_{};
  Segment whole_{memory_.data(), memory_.size()};
};

}  // namespace

TEST(Segment, WithoutMemoryIsEmpty) {
  constexpr Segment nothing;
  static_assert(nothing.empty());
  static_assert(nothing.end() == nullptr);
  static_assert(nothing.part(0, 1) == nothing);
  EXPECT_EQ(nothing.length_bytes, 0U);
}

TEST_F(SegmentOfTen, EndsBehindItsLastByte) {
  EXPECT_EQ(whole_.end(), memory_.data() + 10);
  EXPECT_FALSE(whole_.empty());
}

TEST_F(SegmentOfTen, GivesAPartInTheMiddle) {
  EXPECT_EQ(whole_.part(3, 4), (Segment{memory_.data() + 3, 4}));
}

TEST_F(SegmentOfTen, CutsAPartAtItsEnd) {
  EXPECT_EQ(whole_.part(7, 4), (Segment{memory_.data() + 7, 3}));
  EXPECT_EQ(whole_.part(0, 11), whole_);
}

// Goal: a length whose sum with the offset overflows is cut like any other length.
TEST_F(SegmentOfTen, CutsAPartOfAnyLength) {
  constexpr std::size_t most = std::numeric_limits<std::size_t>::max();
  EXPECT_EQ(whole_.part(1, most), (Segment{memory_.data() + 1, 9}));
}

// Goal: the remainder after a complete transfer is an empty segment, not a special case.
TEST_F(SegmentOfTen, GivesTheEmptySegmentAtItsEndForAnOffsetBeyondIt) {
  const Segment at_end{memory_.data() + 10, 0};
  EXPECT_EQ(whole_.part(10, 5), at_end);
  EXPECT_EQ(whole_.part(11, 5), at_end);
  EXPECT_EQ(whole_.part(std::numeric_limits<std::size_t>::max(), 5), at_end);
}
