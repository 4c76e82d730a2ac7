// SPDX-License-Identifier: BSL-1.0
//
// The violation handler, the report handler, and the fields of an Incident. tests/death has a test
// for each violation.

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <set>
#include <string>
#include <utility>

#include "support/driver.hpp"

using blkown::Incident;
using blkown::Place;
using blkown::Report;
using blkown::Violation;
using support::Driver;

namespace {

int reports = 0;
void count_report(Report, const Incident&) { ++reports; }
void ignore_violation(Violation, const Incident&) {}

/// Prints all fields of the incident to stderr and exits.
void tell_violation(Violation violation, const Incident& incident) {
  const char* const slash = std::strrchr(incident.place.file_name(), '/');
  std::fprintf(stderr, "%s|%s|%s:%u|%d %d|%u %u|%u %u%s%s%s|", to_string(violation),
               incident.operation, slash != nullptr ? slash + 1 : incident.place.file_name(),
               static_cast<unsigned>(incident.place.line()), incident.has_queue,
               incident.has_request, incident.queue.value, incident.tag.value,
               incident.state.generation.value, incident.state.count,
               incident.state.owned ? " owned" : "", incident.state.claimed ? " claimed" : "",
               incident.state.finished ? " finished" : "");
  _exit(17);
}

constexpr unsigned release_line = __LINE__ + 1;
void release(support::Claim claim) { std::move(claim).release(); }
void release_for(support::Claim claim, Place caller) { std::move(claim).release(caller); }

class CheckDeathTest : public testing::Test {
 protected:
  CheckDeathTest() { blkown::set_violation_handler(&tell_violation); }
  ~CheckDeathTest() override { blkown::set_violation_handler(&blkown::print_and_abort); }
};

}  // namespace

TEST(Check, HandlersAreReplacedAndGivenBack) {
  const blkown::ReportHandler report = blkown::set_report_handler(&count_report);
  EXPECT_EQ(report, &blkown::print_report) << "the default";
  EXPECT_EQ(blkown::set_report_handler(report), &count_report);

  const blkown::ViolationHandler violation = blkown::set_violation_handler(&ignore_violation);
  EXPECT_EQ(violation, &blkown::print_and_abort) << "the default";
  EXPECT_EQ(blkown::set_violation_handler(violation), &ignore_violation);
}

TEST(Check, ReportGoesToTheHandlerAndReturns) {
  Driver<> driver;
  reports = 0;
  const blkown::ReportHandler before = blkown::set_report_handler(&count_report);
  {
    const auto dropped = driver.idle();
  }
  EXPECT_EQ(reports, 1);
  blkown::set_report_handler(before);
}

// Goal: without a handler a report is dropped, and its I/O still ends.
TEST(Check, ReportWithoutHandlerIsDropped) {
  Driver<> driver;
  const blkown::ReportHandler before = blkown::set_report_handler(nullptr);
  {
    const auto dropped = driver.claimed();
  }
  blkown::set_report_handler(before);
  EXPECT_EQ(driver.sink.count(), 1U);
  EXPECT_EQ(driver.reports.count(), 0U);
}

TEST(Check, ReportOfADroppedClaimNamesTheRequestAndItsState) {
  Driver<> driver;
  {
    auto claim = driver.claimed(3, 1);
    const auto pin = claim.pin();
    const auto dropped = std::move(claim);
  }
  ASSERT_EQ(driver.reports.count(), 1U);
  const auto& [report, incident] = driver.reports.last();
  EXPECT_EQ(report, Report::claim_dropped);
  EXPECT_STREQ(incident.operation, "drop of Claim");
  EXPECT_EQ(incident.place.line(), 0U) << "a destructor has no caller";
  EXPECT_TRUE(incident.has_queue);
  EXPECT_TRUE(incident.has_request);
  EXPECT_EQ(incident.queue, blkown::QueueIndex{1});
  EXPECT_EQ(incident.tag, blkown::Tag{3});
  EXPECT_EQ(incident.state.generation, support::generation_after(1, 3, 1));
  EXPECT_EQ(incident.state.count, 3U);
  EXPECT_TRUE(incident.state.claimed);
  EXPECT_FALSE(incident.state.owned);
  EXPECT_FALSE(incident.state.finished);
}

TEST(Check, ReportOfADroppedIdleNamesTheRequestAndItsState) {
  Driver<> driver;
  {
    const auto dropped = driver.idle(5, 1);
  }
  ASSERT_EQ(driver.reports.count(), 1U);
  const auto& [report, incident] = driver.reports.last();
  EXPECT_EQ(report, Report::idle_dropped);
  EXPECT_STREQ(incident.operation, "drop of Idle");
  EXPECT_EQ(incident.queue, blkown::QueueIndex{1});
  EXPECT_EQ(incident.tag, blkown::Tag{5});
  EXPECT_EQ(incident.state.generation, support::generation_after(0, 5, 1));
  EXPECT_EQ(incident.state.count, 0U);
}

template <class Enum>
std::set<std::string> texts_of(std::size_t count) {
  std::set<std::string> texts;
  for (std::size_t i = 0; i != count; ++i) texts.insert(to_string(static_cast<Enum>(i)));
  return texts;
}

template <class Enum>
std::set<std::string> remedies_of(std::size_t count) {
  std::set<std::string> remedies;
  for (std::size_t i = 0; i != count; ++i) remedies.insert(remedy_of(static_cast<Enum>(i)));
  return remedies;
}

TEST(Check, EachViolationAndReportHasATextOfItsOwn) {
  EXPECT_EQ(texts_of<Violation>(blkown::violation_count).size(), blkown::violation_count);
  EXPECT_STREQ(to_string(static_cast<Violation>(200)), "unknown violation");
  EXPECT_EQ(texts_of<Report>(blkown::report_count).size(), blkown::report_count);
  EXPECT_STREQ(to_string(static_cast<Report>(200)), "unknown report");
}

// A count that is one too low or too high is noticed.
static_assert(blkown::detail::counts_enumerators<Report>(blkown::report_count));
static_assert(!blkown::detail::counts_enumerators<Report>(blkown::report_count - 1));
static_assert(!blkown::detail::counts_enumerators<Report>(blkown::report_count + 1));

TEST(Check, EachViolationAndReportHasARemedyOfItsOwn) {
  EXPECT_EQ(remedies_of<Violation>(blkown::violation_count).size(), blkown::violation_count);
  EXPECT_STREQ(remedy_of(static_cast<Violation>(200)), "no remedy is known");
  EXPECT_EQ(remedies_of<Report>(blkown::report_count).size(), blkown::report_count);
  EXPECT_STREQ(remedy_of(static_cast<Report>(200)), "no remedy is known");
}

// Goal: a violation names the caller's line, the request, and the state that was refused.
TEST_F(CheckDeathTest, ViolationNamesItsCallerTheRequestAndItsState) {
  Driver<> driver;
  auto claim = driver.owned(5, 1).into_claim();
  std::string expected =
      "a Claim of an unpublished I/O was released.Claim::release.check_test.cpp:";
  expected += std::to_string(release_line);
  expected += ".1 1.1 5." + std::to_string(support::generation_after(0, 5, 1).value) + " 0 owned";
  EXPECT_EXIT(release(std::move(claim)), testing::ExitedWithCode(17), expected);
  std::move(claim).end_ok();
}

// Goal: a wrapper can pass its own caller's place on.
TEST_F(CheckDeathTest, ViolationNamesThePlaceThatWasPassedOn) {
  Driver<> driver;
  auto claim = driver.owned().into_claim();
  const Place here = Place::current();
  std::string expected = "check_test.cpp:";
  expected += std::to_string(here.line());
  EXPECT_EXIT(release_for(std::move(claim), here), testing::ExitedWithCode(17), expected);
  std::move(claim).end_ok();
}

TEST_F(CheckDeathTest, ViolationAboutNoRequestSaysSo) {
  Driver<> driver;
  EXPECT_EXIT(static_cast<void>(driver.set.tag_cache(blkown::QueueIndex{2})),
              testing::ExitedWithCode(17),
              "the queue does not exist.TagSet::tag_cache.check_test.cpp:[0-9]+.1 0.2 0.0 0");
}

TEST_F(CheckDeathTest, ViolationWhoseHandlerReturnsNeverReturnsToItsCaller) {
  Driver<> driver;
  blkown::set_violation_handler(&ignore_violation);
  EXPECT_DEATH(
      {
        static_cast<void>(driver.set.tag_cache(blkown::QueueIndex{2}));
        _exit(0);
      },
      "");
}

TEST_F(CheckDeathTest, ViolationWithoutHandlerNeverReturnsToItsCaller) {
  Driver<> driver;
  blkown::set_violation_handler(nullptr);
  EXPECT_DEATH(
      {
        static_cast<void>(driver.set.tag_cache(blkown::QueueIndex{2}));
        _exit(0);
      },
      "");
}
