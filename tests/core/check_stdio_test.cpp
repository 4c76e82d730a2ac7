// SPDX-License-Identifier: BSL-1.0
//
// The line that the default handlers print.

#include <gtest/gtest.h>

#include <algorithm>
#include <blkown/check_stdio.hpp>
#include <cstdio>
#include <memory>
#include <string>

using blkown::Generation;
using blkown::Incident;
using blkown::Place;
using blkown::Tag;

namespace {

// #line makes the printed places independent of this file's path.
// clang-format off
#line 91 "drv.cc"
constexpr Place at_drv_91 = Place::current();
#line 1234567 "a/very/long/path/01234567890123456789012345678901234567890123456789/01234567890123456789012345678901234567890123456789/01234567890123456789012345678901234567890123456789/01234567890123456789012345678901234567890123456789/01234567890123456789012345678901234567890123456789/01234567890123456789012345678901234567890123456789/01234567890123456789012345678901234567890123456789/01234567890123456789012345678901234567890123456789/01234567890123456789012345678901234567890123456789/01234567890123456789012345678901234567890123456789/drv.cc"
constexpr Place far_away = Place::current();
#line 29 "check_stdio_test.cpp"
// clang-format on

std::string printed(const Incident& incident) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> out{std::tmpfile(), &std::fclose};
  blkown::print_incident(out.get(), "violation", "it went wrong", "mend it", incident);
  std::rewind(out.get());
  std::string text;
  for (int letter = std::fgetc(out.get()); letter != EOF; letter = std::fgetc(out.get())) {
    text += static_cast<char>(letter);
  }
  return text;
}

Incident about_a_request() {
  Incident incident;
  incident.operation = "Claim::release";
  incident.place = at_drv_91;
  incident.has_queue = true;
  incident.has_request = true;
  incident.queue = blkown::QueueIndex{0};
  incident.tag = Tag{5};
  incident.state = {.generation = Generation{17}, .count = 0, .owned = true};
  return incident;
}

}  // namespace

TEST(CheckStdio, PrintsWhatTheRemedyWhereAndWhich) {
  EXPECT_EQ(printed(about_a_request()),
            "blkown: violation: it went wrong: mend it\n"
            "blkown:   in Claim::release at drv.cc:91, "
            "queue 0 tag 5 generation 17 count 0 owned\n");
}

TEST(CheckStdio, PrintsEveryFlag) {
  Incident incident = about_a_request();
  incident.state = {
      .generation = Generation{~0U}, .count = 3, .owned = true, .claimed = true, .finished = true};
  EXPECT_EQ(printed(incident),
            "blkown: violation: it went wrong: mend it\n"
            "blkown:   in Claim::release at drv.cc:91, "
            "queue 0 tag 5 generation 4294967295 count 3 owned claimed finished\n");
}

TEST(CheckStdio, LeavesOutAPlaceThatIsNotKnown) {
  Incident incident = about_a_request();
  incident.place = Place{};
  incident.state.owned = false;
  EXPECT_EQ(printed(incident),
            "blkown: violation: it went wrong: mend it\n"
            "blkown:   in Claim::release, "
            "queue 0 tag 5 generation 17 count 0\n");
}

TEST(CheckStdio, NamesOnlyTheQueueWhereThereIsNoRequest) {
  Incident incident = about_a_request();
  incident.has_request = false;
  incident.queue = blkown::QueueIndex{3};
  EXPECT_EQ(printed(incident),
            "blkown: violation: it went wrong: mend it\n"
            "blkown:   in Claim::release at drv.cc:91, queue 3\n");
}

TEST(CheckStdio, NamesNeitherWhereThereIsNone) {
  Incident incident = about_a_request();
  incident.has_request = incident.has_queue = false;
  EXPECT_EQ(printed(incident),
            "blkown: violation: it went wrong: mend it\n"
            "blkown:   in Claim::release at drv.cc:91\n");
}

TEST(CheckStdio, NamesTheSubjectAndTheCount) {
  Incident incident = Incident::of("destruction of mq::Disk", Place{})
                          .with(
                              "disk '{subject}' destroyed while {count|request is|requests are} "
                              "in flight",
                              "call remove() and wait for it");
  const std::string location = "blkown:   in destruction of mq::Disk\n";
  const std::string remedy = ": call remove() and wait for it\n";
  EXPECT_EQ(printed(incident.about("nbd0", 3)),
            "blkown: violation: disk 'nbd0' destroyed while 3 requests are in flight" + remedy +
                location);
  EXPECT_EQ(
      printed(incident.about("nbd0", 1)),
      "blkown: violation: disk 'nbd0' destroyed while 1 request is in flight" + remedy + location);
  EXPECT_EQ(printed(incident.about(nullptr)),
            "blkown: violation: disk '(unnamed)' destroyed while requests are in flight" + remedy +
                location);
  incident.problem = incident.remedy = nullptr;
  EXPECT_EQ(printed(incident.about("nbd0")),
            "blkown: violation: nbd0: it went wrong: mend it\n" + location);
}

TEST(CheckStdio, NamesTheUserOfTheSubject) {
  const Incident incident = Incident::of("x", Place{})
                                .with("{subject} destroyed while {user} uses it", "r")
                                .about("a pool");
  EXPECT_EQ(printed(incident.used_by("disk", "nbd0")),
            "blkown: violation: a pool destroyed while disk 'nbd0' uses it: r\nblkown:   in x\n");
  EXPECT_EQ(printed(incident.used_by("disk", "")),
            "blkown: violation: a pool destroyed while disk '(unnamed)' uses it: r\n"
            "blkown:   in x\n");
  EXPECT_EQ(printed(incident.used_by("a timer")),
            "blkown: violation: a pool destroyed while a timer uses it: r\nblkown:   in x\n");
  EXPECT_EQ(printed(incident.used_by(nullptr)),
            "blkown: violation: a pool destroyed while another object uses it: r\n"
            "blkown:   in x\n");
}

TEST(CheckStdio, TakesNoHalfPlaceholderForAWholeOne) {
  EXPECT_EQ(printed(Incident::of("x", Place{}).with("{subject {count|a|b", "r")),
            "blkown: violation: {subject {count|a|b: r\nblkown:   in x\n");
}

// Goal: a path that is too long is cut, and the text after it is still printed.
TEST(CheckStdio, CutsAPathThatIsTooLong) {
  Incident incident = about_a_request();
  incident.place = far_away;
  const std::string text = printed(incident);
  EXPECT_NE(text.find(" at a/very/long/path/"), std::string::npos);
  EXPECT_TRUE(text.ends_with(", queue 0 tag 5 generation 17 count 0 owned\n")) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
}

// Goal: a text that is too long ends inside its buffer.
TEST(CheckStdio, CutsATextAfter511Letters) {
  for (const std::size_t length : {511U, 512U, 513U, 2000U}) {
    const std::string problem(length, 'p');
    EXPECT_EQ(printed(Incident::of("x", Place{}).with(problem.c_str(), "r")),
              "blkown: violation: " + std::string(511, 'p') + "\nblkown:   in x\n");
  }
  const std::string almost(509, 'p');
  EXPECT_EQ(printed(Incident::of("x", Place{}).with(almost.c_str(), "r")),
            "blkown: violation: " + almost + ": \nblkown:   in x\n");
}

TEST(CheckStdio, DefaultReportHandlerPrintsToStderrAndReturns) {
  testing::internal::CaptureStderr();
  blkown::print_report(blkown::Report::claim_dropped, about_a_request());
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "blkown: report: a Claim was dropped without being ended: end, requeue, publish or "
            "release each Claim (a tracking build names the line that claimed it)\n"
            "blkown:   in Claim::release at drv.cc:91, "
            "queue 0 tag 5 generation 17 count 0 owned\n");
}

TEST(CheckStdioDeathTest, DefaultViolationHandlerPrintsToStderrAndAborts) {
  EXPECT_EXIT(blkown::print_and_abort(blkown::Violation::release_of_unpublished, about_a_request()),
              testing::KilledBySignal(SIGABRT),
              "blkown: violation: a Claim of an unpublished I/O was released: publish, end or "
              "requeue it instead\nblkown:   in Claim::release at drv.cc:91, queue 0 tag 5 "
              "generation 17 count 0 owned");
}
