// SPDX-License-Identifier: BSL-1.0
//
// Goal: the first three lines of a report name the place and what is broken, the request, and the
// fault.

#include <gtest/gtest.h>

#include <blkown/sim/harness/history.hpp>
#include <blkown/sim/runner/report.hpp>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

namespace sim = blkown::sim;

std::string report_of(const sim::Finding& finding, const sim::History& history) {
  char* text = nullptr;
  std::size_t size = 0;
  std::FILE* const file = open_memstream(&text, &size);
  sim::print_report(file, finding, history, 5);
  std::fclose(file);
  std::string copy{text, size};
  std::free(text);
  return copy;
}

struct Reported : testing::Test {
  static constexpr blkown::QueueIndex queue{1};
  static constexpr blkown::Tag tag{3};

  Reported() {
    history.begin_event(sim::Activity::of_request("submit", queue, tag), 1'000);
    history.describe(queue, tag, {.operation = "write", .sector = 20, .length_sectors = 4});
    history.add(queue, tag, false, {}, true, {.generation = blkown::Generation{7}, .count = 2});
  }
  [[nodiscard]] sim::Finding finding() const {
    return {.what = "it is broken",
            .has_request = true,
            .queue = queue,
            .tag = tag,
            .place = history.place(queue, tag)};
  }

  sim::History history;
};

TEST_F(Reported, WithoutFaults) {
  EXPECT_EQ(report_of(finding(), history),
            "seed 5, event 1, in submit of queue 1, tag 3: it is broken\n"
            "  request: queue 1, tag 3, cookie 0x7003 (generation 7, tag 3):"
            " write of sectors 20 to 23; 2, generation 7\n"
            "  fault: no fault was injected\n"
            "history of queue 1, tag 3:\n"
            "  event 1 at 1 us, submit: free -> 2, generation 7\n");
}

TEST_F(Reported, WithTheFaultOfTheRequestBeforeTheLatestOfAll) {
  history.strike({sim::FaultKind::late, 2}, queue, tag);
  history.begin_event("controller", 2'000);
  history.strike({sim::FaultKind::reset, 0});
  history.strike({sim::FaultKind::stale, 9}, blkown::QueueIndex{0}, blkown::Tag{2});
  EXPECT_NE(report_of(finding(), history)
                .find("\n  fault: late@2 in event 1, at this request; the latest of all:"
                      " stale@9 in event 2 (queue 0, tag 2), reset@0 in event 2\n"),
            std::string::npos)
      << report_of(finding(), history);
}

TEST_F(Reported, WithAllFaultsOfTheIo) {
  history.strike({sim::FaultKind::unmap_failure, 2}, queue, tag);
  history.begin_event("controller", 2'000);
  history.strike({sim::FaultKind::forged, 4}, queue, tag);
  EXPECT_NE(report_of(finding(), history)
                .find("  fault: forged@4 in event 2, unmap_failure@2 in event 1,"
                      " at this request\n"),
            std::string::npos)
      << report_of(finding(), history);
}

TEST_F(Reported, WithAFaultOfAnEarlierIo) {
  history.strike({sim::FaultKind::duplicate, 2}, queue, tag);
  history.add(queue, tag, true, {.count = 2}, false, {});
  history.begin_event("submit", 2'000);
  history.add(queue, tag, false, {}, true, {.generation = blkown::Generation{8}, .count = 2});
  EXPECT_NE(report_of(finding(), history)
                .find("  fault: duplicate@2 in event 1, at this request's earlier I/O\n"),
            std::string::npos)
      << report_of(finding(), history);
}

TEST_F(Reported, WithFaultsOfOtherRequests) {
  history.strike({sim::FaultKind::lost, 1}, queue, blkown::Tag{4});
  EXPECT_NE(report_of(finding(), history)
                .find("  fault: none struck at this request; the latest of all:"
                      " lost@1 in event 1 (queue 1, tag 4)\n"),
            std::string::npos)
      << report_of(finding(), history);
}

TEST_F(Reported, WithACommandWhoseTagHasAnotherIoNow) {
  sim::Finding its = finding();
  its.cookie = 0x2003;
  its.io = {.operation = "write", .sector = 8, .length_sectors = 1, .is_fua = true};
  EXPECT_NE(report_of(its, history)
                .find("  request: queue 1, tag 3, cookie 0x2003 (generation 2, tag 3):"
                      " write of sector 8 with FUA; now 2, generation 7\n"),
            std::string::npos)
      << report_of(its, history);
}

TEST_F(Reported, WithoutARequest) {
  sim::Finding its{.what = "it is broken", .place = "stop"};
  its.details = {"2 pages are mapped"};
  EXPECT_EQ(report_of(its, history),
            "seed 5, event 1, in stop: it is broken\n"
            "  request: none, the finding is not about one request\n"
            "  fault: no fault was injected\n"
            "  2 pages are mapped\n");
  its.cookie = 0x1FFF;
  EXPECT_NE(
      report_of(its, history).find("  request: none has cookie 0x1fff (generation 1, tag 4095)"),
      std::string::npos);
}

TEST_F(Reported, WithTheCallerAndTheHolders) {
  sim::Finding its = finding();
  its.caller = blkown::Place::current();
  its.holders = {blkown::Place::current()};
  const std::string text = report_of(its, history);
  EXPECT_NE(text.find("\n  called at "), std::string::npos) << text;
  EXPECT_NE(text.find("\n  held since "), std::string::npos) << text;
}

}  // namespace
