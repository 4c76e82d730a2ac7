// SPDX-License-Identifier: BSL-1.0
//
// Goal: a dropped Claim or Idle is reported once, with all fields of the Incident, and its I/O ends
// once with io_error, so that its tag can be allocated again.
// Method: reports are recorded. After each, the end sink's list and the tag are checked.

#include <string>
#include <vector>

#include "support/recording.hpp"
#include "violation_test.hpp"

namespace death {
namespace {

/// A report's fields in the format of a violation's line.
std::string text_of(const support::ReportLog::Entry& entry) {
  const blkown::Incident& incident = entry.incident;
  const blkown::RequestState& state = incident.state;
  return std::string{to_string(entry.report)} + ": " + incident.operation +
         (incident.place.line() == 0 ? "" : " at a place") +
         (incident.has_queue && incident.has_request ? "" : " without request") + ", queue " +
         std::to_string(incident.queue.value) + " tag " + std::to_string(incident.tag.value) +
         " generation " + std::to_string(state.generation.value) + " count " +
         std::to_string(state.count) + (state.owned ? " owned" : "") +
         (state.claimed ? " claimed" : "") + (state.finished ? " finished" : "");
}

class ReportTest : public testing::Test {
 protected:
  [[nodiscard]] std::vector<std::string> reports() const {
    std::vector<std::string> texts;
    for (const auto& entry : log.entries()) texts.push_back(text_of(entry));
    return texts;
  }
  /// Checks that one I/O ended with io_error and that its tag can be allocated again.
  void expect_one_end_and_the_tag_free() {
    auto ended = device.list.pop_front();
    ASSERT_TRUE(ended.has_value());
    EXPECT_EQ(ended->queue(), Device::queue);
    EXPECT_EQ(ended->tag(), Device::tag);
    EXPECT_EQ(ended->status(), blkown::Status::io_error);
    EXPECT_FALSE(ended->is_requeue());
    EXPECT_TRUE(device.list.empty());
    EXPECT_EQ(device.set->in_flight(), 0U);
    EXPECT_FALSE(device.set->allocate_tag(Device::queue, Device::tag).has_value());
    std::move(*ended).release();
    auto idle = device.set->allocate_tag(Device::queue, Device::tag);
    ASSERT_TRUE(idle.has_value());
    std::move(*idle).start().end_ok();
    std::move(*device.list.pop_front()).release();
  }

  Device device;
  support::ReportLog log;
};

class ClaimDropped : public ReportTest {
 protected:
  static constexpr const char* text = "a Claim was dropped without being ended: drop of Claim";
};
class IdleDropped : public ReportTest {
 protected:
  static constexpr const char* text = "an Idle was dropped without being started: drop of Idle";
};

TEST_F(ClaimDropped, AfterItsCompletion) {
  use(device.claim());
  EXPECT_EQ(reports(), std::vector{text + published_in("count 0 owned")});
  expect_one_end_and_the_tag_free();
}

TEST_F(ClaimDropped, BeforeItWasPublished) {
  use(device.unpublished_claim());
  EXPECT_EQ(reports(), std::vector{text + request_in("count 0 owned")});
  expect_one_end_and_the_tag_free();
}

TEST_F(ClaimDropped, WhilePinnedEndsWithTheLastPin) {
  use(device.pinned_claim());
  EXPECT_EQ(reports(), std::vector{text + request_in("count 3 claimed")});
  EXPECT_TRUE(device.list.empty());
  EXPECT_EQ(device.set->in_flight(), 1U);
  device.pin.reset();
  EXPECT_EQ(log.count(), 1U);
  expect_one_end_and_the_tag_free();
}

TEST_F(ClaimDropped, AssignedOver) {
  {
    Claim claim = device.claim();
    auto other = std::move(*device.set->allocate_tag(blkown::QueueIndex{0}, blkown::Tag{0}))
                     .start()
                     .into_claim();
    claim = std::move(other);
    EXPECT_EQ(reports(), std::vector{text + published_in("count 0 owned")});
    expect_one_end_and_the_tag_free();
    std::move(claim).end_ok();
  }
  EXPECT_EQ(log.count(), 1U);
  std::move(*device.list.pop_front()).release();
}

TEST_F(ClaimDropped, InARefusalThatWasNotLookedAt) {
  use(device.owned().publish(refuse));
  EXPECT_EQ(reports(), std::vector{text + published_in("count 0 owned")});
  expect_one_end_and_the_tag_free();
}

TEST_F(ClaimDropped, NotIfItWasGivenAway) {
  device.claim().end(blkown::Status::io_error);
  expect_one_end_and_the_tag_free();
  Claim claim = device.unpublished_claim();
  Owned owned = std::move(*std::move(claim).into_owned());
  std::move(owned).end(blkown::Status::io_error);
  EXPECT_EQ(log.count(), 0U);
  std::move(*device.list.pop_front()).release();
}

TEST_F(IdleDropped, NeverStarted) {
  use(device.idle());
  EXPECT_EQ(reports(), std::vector{text + request_in("count 0")});
  expect_one_end_and_the_tag_free();
}

TEST_F(IdleDropped, AfterARequeue) {
  device.claim().requeue();
  use(std::move(*device.list.pop_front()).into_idle());
  EXPECT_EQ(reports(), std::vector{text + published_in("count 0")});
  expect_one_end_and_the_tag_free();
}

TEST_F(IdleDropped, AssignedOver) {
  {
    Idle idle = device.idle();
    idle = std::move(*device.set->allocate_tag(blkown::QueueIndex{0}, blkown::Tag{0}));
    EXPECT_EQ(reports(), std::vector{text + request_in("count 0")});
    expect_one_end_and_the_tag_free();
    std::move(idle).fail(blkown::Status::again);
  }
  EXPECT_EQ(log.count(), 1U);
  std::move(*device.list.pop_front()).release();
}

TEST_F(IdleDropped, NotIfItWasGivenAway) {
  device.idle().fail(blkown::Status::io_error);
  EXPECT_EQ(log.count(), 0U);
  expect_one_end_and_the_tag_free();
  EXPECT_EQ(log.count(), 0U);
}

/// Checks that the default handler prints the report's texts and the location, and returns.
void expect_printed(blkown::Report report, const std::string& location, void (*act)(Device&)) {
  Device device;
  EXPECT_EXIT(
      {
        act(device);
        std::_Exit(device.list.empty() ? 1 : 0);
      },
      testing::ExitedWithCode(0),
      testing::Eq(lines_of("report", to_string(report), remedy_of(report), location)));
}

TEST(PrintedReportDeathTest, NamesProblemRemedyAndRequest) {
  expect_printed(blkown::Report::claim_dropped, "drop of Claim" + published_in("count 0 owned"),
                 [](Device& device) { use(device.claim()); });
  expect_printed(blkown::Report::idle_dropped, "drop of Idle" + request_in("count 0"),
                 [](Device& device) { use(device.idle()); });
}

TEST(ReportHandler, NullDropsReportsAndTheIoEndsAllTheSame) {
  Device device;
  const auto before = blkown::set_report_handler(nullptr);
  EXPECT_EQ(before, &blkown::print_report);
  use(device.claim());
  EXPECT_EQ(device.list.pop_front()->status(), blkown::Status::io_error);
  use(device.idle());
  EXPECT_EQ(device.list.pop_front()->status(), blkown::Status::io_error);
  EXPECT_EQ(blkown::set_report_handler(before), nullptr);
}

}  // namespace
}  // namespace death
