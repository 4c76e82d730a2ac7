// SPDX-License-Identifier: BSL-1.0
//
// Goal: each Violation and each Report has a test suite that raises it.
// Method: the suites of this executable are looked up by name. A new enumerator does not compile
// until it has a line in this file.

#include <gtest/gtest.h>

#include <blkown/check.hpp>
#include <cstddef>
#include <set>
#include <string>

namespace death {
namespace {

/// The suite that raises a violation or a report, and the texts that must be printed.
struct Expected {
  const char* suite = "";
  const char* problem = "";
  const char* remedy = "";
};

Expected expected_of(blkown::Violation violation) {
  switch (violation) {
    case blkown::Violation::use_of_moved_from:
      return {"UseOfMovedFromDeathTest", "a handle was used that holds no object",
              "use the handle that the object was moved to"};
    case blkown::Violation::not_idle:
      return {"NotIdleDeathTest",
              "the request of an Idle is not idle: it was started twice, or the handle is forged",
              "start or end each Idle once; call from_raw once per into_raw"};
    case blkown::Violation::not_owned:
      return {"NotOwnedDeathTest",
              "the request of an Owned is not owned: it was ended twice, or the handle is forged",
              "end each Owned once; call from_raw once per into_raw"};
    case blkown::Violation::not_claimed:
      return {"NotClaimedDeathTest",
              "the request of a Claim is not claimed: it was ended twice, or the handle is forged",
              "end each Claim once; call from_raw once per into_raw"};
    case blkown::Violation::no_reference:
      return {"NoReferenceDeathTest", "the request does not count this reference",
              "drop each ARef once; call from_raw once per into_raw"};
    case blkown::Violation::reference_overflow:
      return {"ReferenceOverflowDeathTest", "the request has too many references",
              "drop the references that are not needed"};
    case blkown::Violation::release_of_unpublished:
      return {"ReleaseOfUnpublishedDeathTest", "a Claim of an unpublished I/O was released",
              "publish, end or requeue it instead"};
    case blkown::Violation::restart_of_ended:
      return {"RestartOfEndedDeathTest", "an I/O that ended with a status was restarted",
              "call into_idle() only where is_requeue() is true"};
    case blkown::Violation::tag_not_taken:
      return {"TagNotTakenDeathTest", "a tag was given back that is free",
              "release each Ended once"};
    case blkown::Violation::no_such_queue:
      return {"NoSuchQueueDeathTest", "the queue does not exist",
              "pass an index below the number of queues"};
    case blkown::Violation::tag_cache_of_other:
      return {"TagCacheOfOtherDeathTest",
              "a TagCache was used with another TagSet or queue than its own",
              "use the TagCache that this TagSet made for this queue"};
    case blkown::Violation::tag_cache_alive:
      return {"TagCacheAliveDeathTest", "a TagSet was destroyed before its TagCaches",
              "destroy the TagCaches first"};
    case blkown::Violation::request_alive:
      return {"RequestAliveDeathTest", "a TagSet was destroyed while its requests are in use",
              "end every I/O, drop every handle and release every Ended first"};
    case blkown::Violation::object_in_use:
      return {"ObjectInUseDeathTest", "an object was destroyed or reused while it is in use",
              "wait until the object is no longer in use"};
    case blkown::Violation::wrong_context:
      return {"WrongContextDeathTest",
              "an object was used on another execution context than its own",
              "post the call to the object's own context"};
  }
  return {};
}

Expected expected_of(blkown::Report report) {
  switch (report) {
    case blkown::Report::claim_dropped:
      return {"ClaimDropped", "a Claim was dropped without being ended",
              "end, requeue, publish or release each Claim"};
    case blkown::Report::idle_dropped:
      return {"IdleDropped", "an Idle was dropped without being started",
              "start, fail or requeue each Idle"};
    case blkown::Report::mapping_dropped:
      return {"MappingDropped",
              "a mapping was dropped without proof that the device is done with it",
              "call unmap() with an EndProof, or drain the device"};
  }
  return {};
}

bool has_tests(const std::string& suite) {
  const testing::UnitTest& all = *testing::UnitTest::GetInstance();
  for (int i = 0; i != all.total_test_suite_count(); ++i) {
    const testing::TestSuite& candidate = *all.GetTestSuite(i);
    if (candidate.name() == suite) return candidate.total_test_count() != 0;
  }
  return false;
}

template <class Enum>
void expect_coverage(std::size_t count) {
  std::set<std::string> problems;
  for (std::size_t i = 0; i != count; ++i) {
    const auto candidate = static_cast<Enum>(i);
    const Expected expected = expected_of(candidate);
    EXPECT_TRUE(has_tests(expected.suite)) << to_string(candidate);
    EXPECT_STREQ(to_string(candidate), expected.problem);
    EXPECT_STREQ(remedy_of(candidate), expected.remedy);
    problems.insert(to_string(candidate));
  }
  EXPECT_EQ(problems.size(), count) << "no two have the same text";
}

TEST(Coverage, EveryViolationHasADeathTest) {
  expect_coverage<blkown::Violation>(blkown::violation_count);
}

TEST(Coverage, EveryReportHasATest) { expect_coverage<blkown::Report>(blkown::report_count); }

}  // namespace
}  // namespace death
