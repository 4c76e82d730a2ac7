// SPDX-License-Identifier: BSL-1.0
//
// Goal: each Violation and each Report has a test suite that raises it.
// Method: the suites of this executable are looked up by name. A new enumerator does not compile
// until it has a line in this file.

#include <gtest/gtest.h>

#include <blkown/check.hpp>
#include <cstddef>
#include <iterator>
#include <set>
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
    case blkown::Report::unbalanced_control: return "UnbalancedControl";
    case blkown::Report::long_wait: return "LongWait";
    case blkown::Report::unmap_failed: return "UnmapFailed";
  }
  return "";
}

/// The texts of a line of the default handlers, in the order of the enumerators.
struct Texts {
  const char* problem;
  const char* remedy;
};

constexpr Texts violation_texts[] = {
    {"a handle was used that holds no object",
     "do not use a handle that was moved, or consumed as by end() or publish()"},
    {"the request of an Idle is not idle: it was started twice, or the handle is forged",
     "start or end each Idle once; call from_raw once per into_raw"},
    {"the request of an Owned is not owned: it was ended twice, or the handle is forged",
     "end each Owned once; test a std::expected before its use; call from_raw once per into_raw"},
    {"the request of a Claim is not claimed: it was ended twice, or the handle is forged",
     "end each Claim once; test a std::expected before its use; call from_raw once per into_raw"},
    {"the request does not count this reference",
     "drop each ARef once; call from_raw once per into_raw"},
    {"the request has too many references", "drop the references that are not needed"},
    {"a Claim of an unpublished I/O was released", "publish, end or requeue it instead"},
    {"an I/O that ended with a status was restarted",
     "call into_idle() only where is_requeue() is true"},
    {"a tag was given back that is free", "release each Ended once"},
    {"the queue does not exist", "pass an index below the number of queues"},
    {"a TagCache was used with another TagSet or queue than its own",
     "use the TagCache that this TagSet made for this queue"},
    {"a TagSet was destroyed before its TagCaches", "destroy the TagCaches first"},
    {"a TagSet was destroyed while its requests are in use",
     "end every I/O, drop every handle and release every Ended first"},
    {"an object was destroyed or reused while it is in use",
     "wait until the object is no longer in use"},
    {"an object was used on another execution context than its own",
     "post the call to the object's own context"},
};
static_assert(std::size(violation_texts) == blkown::violation_count);

constexpr Texts report_texts[] = {
    {"a Claim was dropped without being ended",
     "end, requeue, publish or release each Claim"
     " (a tracking build names the line that claimed it)"},
    {"an Idle was dropped without being started",
     "start, fail or requeue each Idle (a tracking build names the line that allocated it)"},
    {"a mapping was dropped without proof that the device is done with it",
     "call unmap() with an EndProof, or drain the device"},
    {"a disk was thawed or unquiesced more often than it was frozen or quiesced",
     "undo each freeze with one thaw, and each quiesce with one unquiesce"},
    {"a call that waits has not returned in time",
     "look for the cause in what print_in_flight() shows"},
    {"a dma backend could not unmap memory, which stays mapped and allocated",
     "stop the device and drain it"},
};
static_assert(std::size(report_texts) == blkown::report_count);

bool has_tests(const std::string& suite) {
  const testing::UnitTest& all = *testing::UnitTest::GetInstance();
  for (int i = 0; i != all.total_test_suite_count(); ++i) {
    const testing::TestSuite& candidate = *all.GetTestSuite(i);
    if (candidate.name() == suite) return candidate.total_test_count() != 0;
  }
  return false;
}

template <class Enum, std::size_t count>
void expect_coverage(const Texts (&texts)[count]) {
  std::set<std::string> problems;
  for (std::size_t i = 0; i != count; ++i) {
    const auto candidate = static_cast<Enum>(i);
    EXPECT_TRUE(has_tests(suite_of(candidate))) << to_string(candidate);
    EXPECT_STREQ(to_string(candidate), texts[i].problem);
    EXPECT_STREQ(remedy_of(candidate), texts[i].remedy);
    problems.insert(to_string(candidate));
  }
  EXPECT_EQ(problems.size(), count) << "each has a text of its own";
}

TEST(Coverage, EveryViolationHasADeathTest) { expect_coverage<blkown::Violation>(violation_texts); }

TEST(Coverage, EveryReportHasATest) { expect_coverage<blkown::Report>(report_texts); }

}  // namespace
}  // namespace death
