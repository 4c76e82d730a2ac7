// SPDX-License-Identifier: BSL-1.0
//
// Goal: no Violation is without a suite that raises it, and no Report without one that meets it.
// Method: the suites of this executable are asked for by name. A new enumerator does not compile
// until it has its line here.

#include <gtest/gtest.h>

#include <blkown/check.hpp>
#include <cstring>
#include <string>

namespace death {
namespace {

const char* suite_of(blkown::Violation violation) {
  switch (violation) {
    case blkown::Violation::use_of_moved_from: return "UseOfMovedFromDeathTest";
    case blkown::Violation::not_idle: return "NotIdleDeathTest";
    case blkown::Violation::not_owned: return "NotOwnedDeathTest";
    case blkown::Violation::not_claimed: return "NotClaimedDeathTest";
    case blkown::Violation::no_reference: return "NoReferenceDeathTest";
    case blkown::Violation::reference_overflow: return "ReferenceOverflowDeathTest";
    case blkown::Violation::release_of_unpublished: return "ReleaseOfUnpublishedDeathTest";
    case blkown::Violation::restart_of_ended: return "RestartOfEndedDeathTest";
    case blkown::Violation::tag_not_taken: return "TagNotTakenDeathTest";
    case blkown::Violation::no_such_queue: return "NoSuchQueueDeathTest";
    case blkown::Violation::tag_cache_of_other: return "TagCacheOfOtherDeathTest";
    case blkown::Violation::tag_cache_alive: return "TagCacheAliveDeathTest";
    case blkown::Violation::request_alive: return "RequestAliveDeathTest";
    case blkown::Violation::object_in_use: return "ObjectInUseDeathTest";
    case blkown::Violation::wrong_context: return "WrongContextDeathTest";
  }
  return "";
}

const char* suite_of(blkown::Report report) {
  switch (report) {
    case blkown::Report::claim_dropped: return "ClaimDropped";
    case blkown::Report::idle_dropped: return "IdleDropped";
    case blkown::Report::mapping_dropped: return "MappingDropped";
  }
  return "";
}

bool has_tests(const std::string& suite) {
  const testing::UnitTest& all = *testing::UnitTest::GetInstance();
  for (int i = 0; i != all.total_test_suite_count(); ++i) {
    const testing::TestSuite& candidate = *all.GetTestSuite(i);
    if (candidate.name() == suite) return candidate.total_test_count() != 0;
  }
  return false;
}

/// Counts the enumerators from 0 on that have a text, and asks for each one's suite.
template <class Enum>
int covered(const char* no_text) {
  int count = 0;
  for (;; ++count) {
    const auto candidate = static_cast<Enum>(count);
    if (std::strcmp(to_string(candidate), no_text) == 0) return count;
    EXPECT_TRUE(has_tests(suite_of(candidate))) << to_string(candidate);
  }
}

TEST(Coverage, EveryViolationHasADeathTest) {
  EXPECT_EQ(covered<blkown::Violation>("unknown violation"), 15);
}

TEST(Coverage, EveryReportHasATest) { EXPECT_EQ(covered<blkown::Report>("unknown report"), 3); }

}  // namespace
}  // namespace death
