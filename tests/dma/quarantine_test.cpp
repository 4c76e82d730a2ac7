// SPDX-License-Identifier: BSL-1.0
//
// Goal: each reason of a quarantine has a name. device_test.cpp tests which mappings go into
// quarantine.

#include <gtest/gtest.h>

#include <blkown/dma/quarantine.hpp>

namespace {

namespace dma = blkown::dma;

TEST(Quarantine, EachReasonHasAName) {
  EXPECT_STREQ(to_string(dma::QuarantineReason::dropped), "dropped");
  EXPECT_STREQ(to_string(dma::QuarantineReason::leaked), "leaked");
  EXPECT_STREQ(to_string(dma::QuarantineReason::unmap_failed), "unmap_failed");
  EXPECT_STREQ(to_string(static_cast<dma::QuarantineReason>(77)), "unknown reason");
}

}  // namespace
