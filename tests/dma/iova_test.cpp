// SPDX-License-Identifier: BSL-1.0
//
// Goal: the meaning of each direction, and the limits of a backend that sets none.

#include <gtest/gtest.h>

#include <blkown/dma/iova.hpp>
#include <string>

namespace {

namespace dma = blkown::dma;
using dma::Direction;

TEST(Iova, ADirectionSaysWhichWayTheBytesGo) {
  EXPECT_TRUE(dma::device_reads(Direction::to_device));
  EXPECT_FALSE(dma::device_writes(Direction::to_device));
  EXPECT_FALSE(dma::device_reads(Direction::from_device));
  EXPECT_TRUE(dma::device_writes(Direction::from_device));
  EXPECT_TRUE(dma::device_reads(Direction::bidirectional));
  EXPECT_TRUE(dma::device_writes(Direction::bidirectional));
}

TEST(Iova, ADirectionHasAName) {
  EXPECT_STREQ(to_string(Direction::to_device), "to_device");
  EXPECT_STREQ(to_string(Direction::from_device), "from_device");
  EXPECT_STREQ(to_string(Direction::bidirectional), "bidirectional");
  EXPECT_STREQ(to_string(static_cast<Direction>(77)), "unknown direction");
}

// Goal: by default there is no limit on addresses.
TEST(Iova, LimitsOnAddressesAreOptIn) {
  constexpr dma::DeviceLimits limits;
  EXPECT_EQ(limits.boundary_mask, ~std::uint64_t{0});
  EXPECT_EQ(limits.address_mask, ~std::uint64_t{0});
  EXPECT_EQ(limits.virt_boundary_mask, 0U);
  EXPECT_EQ(limits.min_align_mask, 0U);
  EXPECT_GT(limits.max_segments, 0U);
  EXPECT_GT(limits.max_segment_bytes, 0U);
}

static_assert(sizeof(dma::IovaSegment) == 16, "an element is an address and a length");

}  // namespace
