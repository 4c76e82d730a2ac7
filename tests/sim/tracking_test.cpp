// SPDX-License-Identifier: BSL-1.0
//
// In a tracking build the findings of the kit name the holders of their request.

#include <gtest/gtest.h>

#include <blkown/dma/dma.hpp>
#include <blkown/sim/harness/invariant_checker.hpp>
#include <blkown/sim/kit.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "sim/broken/issue_before_publish.hpp"
#include "sim/broken/reference_dropped.hpp"
#include "sim/nvme_ring_driver.hpp"
#include "support/driver.hpp"
#include "support/holders.hpp"
#include "support/word_text.hpp"

namespace {

namespace sim = blkown::sim;
using blkown::QueueIndex;
using blkown::Tag;

static_assert(blkown::is_tracking);

support::Lines lines_of(const sim::Finding& finding) {
  support::Lines lines;
  for (const blkown::Place& place : finding.holders) lines.push_back(place.line());
  return lines;
}

TEST(TrackedFinding, ABrokenInvariantNamesTheHoldersOfItsRequest) {
  sim::Iommu iommu{{}};
  blkown::dma::Device<sim::Iommu> device{iommu};
  support::Driver<> driver;
  sim::History history;
  sim::InvariantChecker check{driver.set, device, iommu, history};
  auto idle = driver.idle(2, 1);
  const support::Line line = support::next_line();
  auto owned = std::move(idle).start();
  support::preset_word(owned.header(), "0 owned claimed");
  EXPECT_FALSE(check.after_event());
  EXPECT_EQ(check.finding().tag, Tag{2});
  EXPECT_EQ(lines_of(check.finding()), support::Lines{line});
  support::preset_word(owned.header(), "0 owned");
  std::move(owned).end_ok();
}

TEST(TrackedFinding, AReportNamesTheHoldersOfItsRequest) {
  static sim::Finding finding;
  support::Driver<> driver;  // first, because it sets a handler of its own
  const auto before =
      blkown::set_report_handler([](blkown::Report report, const blkown::Incident& incident) {
        finding = sim::detail::finding_of(to_string(report), remedy_of(report), incident);
      });
  const auto cookie = driver.in_flight(3, 1);
  const support::Line line = support::next_line();
  auto claim = driver.set.claim(QueueIndex{1}, cookie.value);
  {
    const auto dropped = std::move(*claim);
  }
  blkown::set_report_handler(before);
  EXPECT_EQ(finding.what.find("drop of Claim: a Claim was dropped without being ended"), 0U);
  EXPECT_EQ(finding.tag, Tag{3});
  EXPECT_EQ(lines_of(finding), support::Lines{line});
}

using RingDriver = nvme_ring::Driver;

/// The finding of a world of the broken driver D. The world cannot be destroyed in order.
template <class D>
const sim::Finding& finding_of_world() {
  using World = sim::NvmeWorld<RingDriver>;
  static World* kept = nullptr;
  kept = new World{{}, [](sim::NvmeHost<RingDriver>& host) { return std::make_unique<D>(host); }};
  EXPECT_FALSE(kept->run());
  return kept->finding();
}

bool is_held_in(const sim::Finding& finding, std::string_view file) {
  for (const blkown::Place& place : finding.holders) {
    if (std::string_view{place.file_name()}.ends_with(file)) return true;
  }
  return false;
}

TEST(TrackedFinding, AWorldNamesTheMappingOfARequestThatIsStillInFlight) {
  const sim::Finding& finding = finding_of_world<nvme_ring::broken::ReferenceDropped>();
  EXPECT_EQ(finding.what, "a request is in flight although its completion was accepted");
  EXPECT_TRUE(is_held_in(finding, "sim/nvme_ring_driver.hpp"));
}

TEST(TrackedFinding, AWorldNamesTheClaimOfARequestThatIsNotPublishedYet) {
  const sim::Finding& finding = finding_of_world<nvme_ring::broken::IssueBeforePublish>();
  EXPECT_EQ(finding.what, "the device got a command that no I/O in flight has");
  EXPECT_TRUE(finding.has_request);
  EXPECT_TRUE(is_held_in(finding, "sim/nvme_ring_driver.hpp"));
}

}  // namespace
