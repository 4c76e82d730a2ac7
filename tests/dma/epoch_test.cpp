// SPDX-License-Identifier: BSL-1.0
//
// Goal: each end of an epoch returns the ended epoch's number and begins the next one.

#include <gtest/gtest.h>

#include <blkown/dma/detail/epoch.hpp>

namespace {

using blkown::Word;
using blkown::dma::detail::Epoch;

TEST(Epoch, EndsAreCounted) {
  Epoch epoch;
  const Word first = epoch.current();
  EXPECT_EQ(epoch.end(), first);
  EXPECT_EQ(epoch.current(), first + 1);
  EXPECT_EQ(epoch.end(), first + 1);
}

}  // namespace
