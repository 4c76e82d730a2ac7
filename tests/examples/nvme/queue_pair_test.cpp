// SPDX-License-Identifier: BSL-1.0
//
// The queue pair of examples/nvme against a controller of a few lines that a test scripts.

#include <gtest/gtest.h>
#include <blkown/blkown.hpp>
#include <blkown/nvme/completion_entry.hpp>
#include <blkown/nvme/submission_entry.hpp>
#include <cstdint>
#include <expected>
#include <optional>
#include <utility>
#include <vector>

#include "examples/nvme/scripted_controller.hpp"
#include "nvme/queue_pair.hpp"
#include "support/driver.hpp"

namespace {

using blkown::LookupReason;
using blkown::QueueIndex;
using nvme_driver::CompletionEntry;
using nvme_driver::QueuePair;
using nvme_driver::RingFull;
using nvme_driver::SubmissionEntry;
using nvme_test::ScriptedController;

constexpr std::uint16_t queue_id = 1;

constexpr std::uint32_t entries = 4;

/// Two requests more than the ring has places.
constexpr blkown::TagSetConfig tag_config{.depth = 5,
                                          .layout = blkown::CookieLayout::nvme(),
                                          .first_generation = blkown::Generation{100}};

class NvmeQueuePair : public testing::Test {
 protected:
  /// Publishes the request with this tag, without a doorbell. False: the ring was full, and the I/O
  /// has ended with device_resource.
  bool publish(std::uint32_t tag) {
    SubmissionEntry entry{};
    entry.cdw12 = tag;
    auto published = pair.publish(driver.owned(tag), entry);
    if (published.has_value()) return true;
    EXPECT_EQ(published.error().error, RingFull{});
    std::move(*published.error().claim).end(blkown::Status::device_resource);
    return false;
  }
  void submit(std::uint32_t tag) {
    ASSERT_TRUE(publish(tag));
    pair.ring_doorbell();
  }
  /// The controller fetches one command and completes it.
  void serve() {
    const auto entry = controller.fetch();
    ASSERT_TRUE(entry.has_value());
    controller.post(entry->command_id.get());
  }
  /// Takes completions, and ends those whose id is in flight.
  unsigned poll() {
    return pair.poll([&](const CompletionEntry& entry) {
      auto claim = driver.set.claim(QueueIndex{0}, entry.command_id.get());
      if (!claim.has_value()) return refusals.push_back(claim.error().reason);
      pair.note_found();
      std::move(*claim).end_ok();
    });
  }

  support::Driver<> driver{tag_config};
  ScriptedController controller{queue_id, entries};
  QueuePair<ScriptedController> pair{controller, controller.config()};
  std::vector<LookupReason> refusals;
};

TEST_F(NvmeQueuePair, TheCommandIdIsTheCookieOfThePublication) {
  submit(3);
  const auto entry = controller.fetch();
  ASSERT_TRUE(entry.has_value());
  EXPECT_EQ(entry->cdw12.get(), 3U);
  EXPECT_EQ(entry->command_id.get() & 0xFFFU, 3U);
  EXPECT_EQ(entry->command_id.get() >> 12, driver.generation(3) & 0xFU);
  controller.post(entry->command_id.get());
  EXPECT_EQ(poll(), 1U);
  EXPECT_TRUE(refusals.empty());
}

TEST_F(NvmeQueuePair, ACompletionThatComesWithinTheDoorbellFindsItsIo) {
  controller.on_doorbell = [&] {
    serve();
    EXPECT_EQ(poll(), 1U);
  };
  submit(0);
  EXPECT_EQ(driver.sink.count(), 1U);
  EXPECT_TRUE(refusals.empty());
}

TEST_F(NvmeQueuePair, ABatchHasOneDoorbell) {
  ASSERT_TRUE(publish(0) && publish(1) && publish(2));
  EXPECT_TRUE(controller.submission_doorbells.empty());
  pair.ring_doorbell();
  pair.ring_doorbell();  // nothing was written since
  EXPECT_EQ(controller.submission_doorbells, (std::vector<std::uint32_t>{3}));
  for (int i = 0; i != 3; ++i) serve();
  EXPECT_EQ(poll(), 3U);
  EXPECT_EQ(controller.completion_doorbells, (std::vector<std::uint32_t>{3}));
  EXPECT_EQ(poll(), 0U);
  EXPECT_EQ(controller.completion_doorbells.size(), 1U);
}

TEST_F(NvmeQueuePair, ThePhaseTurnsWithEachRound) {
  for (std::uint32_t i = 0; i != 5 * entries; ++i) {
    EXPECT_FALSE(pair.has_completion());
    submit(i % tag_config.depth);
    serve();
    EXPECT_TRUE(pair.has_completion());
    ASSERT_EQ(poll(), 1U) << "completion " << i;
    EXPECT_EQ(controller.completion_doorbells.back(), (i + 1) % entries);
  }
  EXPECT_TRUE(refusals.empty());
  EXPECT_EQ(driver.sink.count(), 5 * entries);
}

TEST_F(NvmeQueuePair, AFullRingRefusesTheCommandAndGivesTheClaimBack) {
  for (const std::uint32_t tag : {0U, 1U, 2U}) ASSERT_TRUE(publish(tag));
  EXPECT_FALSE(publish(3));
  pair.ring_doorbell();
  // Fetched, but the driver does not know that before a completion says so.
  const auto first = controller.fetch();
  EXPECT_FALSE(publish(3));
  controller.post(first->command_id.get());
  EXPECT_EQ(poll(), 1U);
  EXPECT_TRUE(publish(3));
  EXPECT_FALSE(publish(4));
  pair.ring_doorbell();
  for (int i = 0; i != 3; ++i) serve();
  EXPECT_EQ(poll(), 3U);
  EXPECT_TRUE(refusals.empty());
}

TEST_F(NvmeQueuePair, ARepeatedCompletionDoesNotMakeAnEmptyRingLookFull) {
  for (const std::uint32_t tag : {0U, 1U, 2U}) submit(tag);
  const auto first = controller.fetch();
  controller.post(first->command_id.get());
  serve();
  serve();
  EXPECT_EQ(poll(), 3U);
  // The first completion again, with the head of that time. All places are free since.
  controller.post(first->command_id.get(), 0, 1, queue_id);
  EXPECT_EQ(poll(), 1U);
  EXPECT_EQ(refusals.size(), 1U);
  for (const std::uint32_t tag : {0U, 1U, 2U}) submit(tag);
  for (int i = 0; i != 3; ++i) serve();
  EXPECT_EQ(poll(), 3U);
}

TEST_F(NvmeQueuePair, AForgedHeadIsIgnored) {
  submit(0);
  submit(1);
  // Beyond the doorbell, and beyond the ring: with either, the third command would overwrite.
  for (const std::uint16_t head : {std::uint16_t{3}, std::uint16_t{entries}}) {
    controller.post(0xFFF, 0, head, queue_id);
    EXPECT_EQ(poll(), 1U);
    EXPECT_EQ(refusals.back(), LookupReason::no_such_tag);
  }
  ASSERT_TRUE(publish(2));
  EXPECT_FALSE(publish(3));
  pair.ring_doorbell();
  for (std::uint32_t tag = 0; tag != 3; ++tag) {
    const auto entry = controller.fetch();
    EXPECT_EQ(entry->cdw12.get(), tag);
    controller.post(entry->command_id.get());
    EXPECT_EQ(poll(), 1U);
  }
}

// Such a ring has no event from which the driver could learn this.
TEST_F(NvmeQueuePair, AFullRingWithoutACompletionToComeIsStuck) {
  for (const std::uint32_t tag : {0U, 1U, 2U}) submit(tag);
  EXPECT_FALSE(publish(3));  // not counted
  for (std::uint32_t tag = 0; tag != 3; ++tag) {
    EXPECT_FALSE(pair.is_stuck()) << "a completion is to come";
    controller.post(controller.fetch()->command_id.get(), 0, entries, queue_id);
    EXPECT_EQ(poll(), 1U);
  }
  EXPECT_TRUE(pair.is_stuck());
  EXPECT_FALSE(publish(3));
  EXPECT_TRUE(pair.is_stuck());
  // A late report of the head.
  controller.post(0xFFF);
  EXPECT_EQ(poll(), 1U);
  EXPECT_FALSE(pair.is_stuck());
  submit(3);
  serve();
  EXPECT_EQ(poll(), 1U);
  EXPECT_FALSE(pair.is_stuck()) << "an empty ring";
}

/// A handle whose I/O a forged completion finds before the publication is refused.
struct ForgedMeanwhile {
  struct Error {
    std::optional<int> claim;
  };

  QueuePair<ScriptedController>& pair;

  template <class Issue>
  [[nodiscard]] std::expected<void, Error> publish(Issue issue) && {
    if (issue(blkown::Cookie{}).has_value()) return {};
    pair.note_found();
    return std::unexpected(Error{});
  }
};

TEST_F(NvmeQueuePair, AnIoThatWasFoundBeforeItsRefusalIsCountedAsPublished) {
  for (const std::uint32_t tag : {0U, 1U, 2U}) submit(tag);
  EXPECT_FALSE(pair.publish(ForgedMeanwhile{pair}, SubmissionEntry{}).has_value());
  for (int i = 0; i != 3; ++i) {
    EXPECT_FALSE(pair.is_stuck()) << "a completion is to come";
    controller.post(controller.fetch()->command_id.get(), 0, entries, queue_id);
    EXPECT_EQ(poll(), 1U);
  }
  EXPECT_TRUE(pair.is_stuck());
}

// An I/O that was in flight at the reset is not found later.
TEST_F(NvmeQueuePair, ARingIsStuckAlsoAfterAReset) {
  submit(3);
  submit(4);
  serve();
  EXPECT_EQ(poll(), 1U);
  controller.restart();
  pair.reset();
  for (const std::uint32_t tag : {0U, 1U, 2U}) submit(tag);
  for (int i = 0; i != 3; ++i) {
    EXPECT_FALSE(pair.is_stuck()) << "a completion is to come";
    controller.post(controller.fetch()->command_id.get(), 0, entries, queue_id);
    EXPECT_EQ(poll(), 1U);
  }
  EXPECT_TRUE(pair.is_stuck());
  auto left = driver.set.claim_any_generation(QueueIndex{0}, blkown::Tag{4});
  std::move(left.value()).end(blkown::Status::aborted);
}

TEST_F(NvmeQueuePair, AnEntryOfAnotherSubmissionQueueIsCountedAndDropped) {
  submit(0);
  const auto entry = controller.fetch();
  controller.post(entry->command_id.get(), 0, 1, queue_id + 1);
  EXPECT_EQ(poll(), 0U);
  EXPECT_EQ(pair.foreign_count(), 1U);
  EXPECT_EQ(driver.sink.count(), 0U);
  EXPECT_EQ(controller.completion_doorbells, (std::vector<std::uint32_t>{1}));
  controller.post(entry->command_id.get());
  EXPECT_EQ(poll(), 1U);
  EXPECT_EQ(driver.sink.count(), 1U);
}

TEST_F(NvmeQueuePair, OnePollEndsThoughTheControllerIgnoresTheHead) {
  unsigned calls = 0;
  for (std::uint32_t i = 0; i != entries; ++i) controller.post(0xFFF);
  const unsigned taken = pair.poll([&](const CompletionEntry&) {
    ++calls;
    controller.post(0xFFF);
  });
  EXPECT_EQ(taken, entries);
  EXPECT_EQ(calls, entries);
}

TEST_F(NvmeQueuePair, AnEntryIsReadOnce) {
  submit(0);
  serve();
  const auto id = controller.completions[0].command_id.get();
  const unsigned taken = pair.poll([&](const CompletionEntry& entry) {
    controller.completions[0] = {};
    EXPECT_EQ(entry.command_id.get(), id);
    driver.set.claim(QueueIndex{0}, entry.command_id.get()).value().end_ok();
  });
  EXPECT_EQ(taken, 1U);
}

TEST_F(NvmeQueuePair, ResetEmptiesBothRings) {
  // Into the second round, whose phase bit is 0.
  for (std::uint32_t i = 0; i != entries; ++i) {
    submit(2);
    serve();
    ASSERT_EQ(poll(), 1U);
  }
  submit(0);
  submit(1);
  serve();
  EXPECT_EQ(poll(), 1U);
  serve();  // not taken
  controller.restart();
  pair.reset();
  EXPECT_FALSE(pair.has_completion());
  for (const std::uint32_t tag : {2U, 3U, 4U}) submit(tag);
  EXPECT_EQ(controller.submission_doorbells, (std::vector<std::uint32_t>{1, 2, 3}));
  for (int i = 0; i != 3; ++i) serve();
  EXPECT_EQ(poll(), 3U);
  EXPECT_TRUE(refusals.empty());
  auto left = driver.set.claim_any_generation(QueueIndex{0}, blkown::Tag{1});
  std::move(left.value()).end(blkown::Status::aborted);
}

}  // namespace
