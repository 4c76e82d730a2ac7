// SPDX-License-Identifier: BSL-1.0
//
// Goal: failures of shipped block drivers, and gaps in the kernel's Rust design, are impossible or
// reported where the core alone can do that.
// Method: each test repeats the steps of one failure.

#include <gtest/gtest.h>

#include <cstdint>
#include <expected>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "support/driver.hpp"

using blkown::Cookie;
using blkown::CookieLayout;
using blkown::Generation;
using blkown::LookupReason;
using blkown::QueueIndex;
using blkown::Status;
using blkown::Tag;
using support::ARef;
using support::Claim;
using support::Driver;
using support::EndRecord;
using support::Owned;

namespace {

blkown::TagSetConfig with_layout(const CookieLayout& layout) {
  auto config = support::two_queues_of_eight;
  config.layout = layout;
  return config;
}

/// Ends every I/O in flight on the queue with timed_out. Returns the number of these I/Os.
std::size_t time_out(Driver<>& driver, QueueIndex queue) {
  std::size_t ended = 0;
  driver.set.for_each_in_flight(queue, [&](ARef pin, const Cookie& cookie) {
    auto claim = blkown::claim(pin, cookie);
    if (!claim.has_value()) return;
    std::move(*claim).end(Status::timed_out);
    ++ended;
  });
  return ended;
}

}  // namespace

// --- a completion id that leads to the wrong request ---------------------------------------------

// nbd, 2019: the reference count underflows and the request is used after it was freed.
TEST(Failures, NbdTimeoutAndReplyBothComplete) {
  Driver<> driver;
  const Cookie late = driver.in_flight(0);
  EXPECT_EQ(time_out(driver, QueueIndex{0}), 1U);
  EXPECT_EQ(driver.refusal(late), LookupReason::idle);

  const Cookie in_time = driver.in_flight(1);
  EXPECT_EQ(driver.refusal(in_time), LookupReason::none);
  EXPECT_EQ(time_out(driver, QueueIndex{0}), 0U);
  EXPECT_EQ(driver.sink.count(), 2U);
}

// The same failure with the reply between the timeout's pin and the timeout's claim.
TEST(Failures, NbdReplyArrivesWhileTheTimeoutLooksAtTheRequest) {
  Driver<> driver;
  const Cookie reply = driver.in_flight();
  driver.set.for_each_in_flight(QueueIndex{0}, [&](ARef pin, const Cookie& cookie) {
    driver.claim(reply).end_ok();
    EXPECT_EQ(blkown::claim(pin, cookie).error().reason, LookupReason::claimed);
    EXPECT_EQ(driver.sink.count(), 0U) << "the timeout's pin delays the end";
  });
  ASSERT_EQ(driver.sink.count(), 1U);
  EXPECT_EQ(driver.sink.last().status, Status::ok);
}

// nbd, 2021: a reply to a request that was started but never sent.
TEST(Failures, NbdReplyToARequestThatWasNeverSent) {
  Driver<> driver;
  Owned owned = driver.owned();
  EXPECT_EQ(driver.refusal(owned.next_cookie()), LookupReason::early);
  EXPECT_EQ(driver.refusal(owned.cookie()), LookupReason::owned);
  std::move(owned).end_ok();
  EXPECT_EQ(driver.sink.count(), 1U);
}

// nbd, 2021: a random tag from the server reaches a freed request.
TEST(Failures, NbdRandomTagReachesAFreedRequest) {
  Driver<> driver;
  const Cookie live = driver.in_flight(5, 1);
  for (std::uint32_t tag = 0; tag < 5; ++tag) driver.complete(driver.in_flight(tag, 1));
  std::mt19937_64 random{969};
  for (int i = 0; i < 100'000; ++i) {
    std::uint64_t value = random();
    // Every second value passes the first checks, because its tag and its queue exist.
    if (i % 2 == 0) value = (value & 0xFFFF'FFFF'0000'0000U) | 0x1'0000U | (value & 7U);
    if (value == live.value) continue;
    EXPECT_FALSE(driver.set.claim(QueueIndex{1}, value).has_value());
  }
  driver.complete(live);
  EXPECT_EQ(driver.sink.count(), 6U);
}

// nbd, 2021: a reply on another connection is accepted.
TEST(Failures, NbdReplyOnAnotherSocketIsAccepted) {
  Driver<> driver;
  const Cookie cookie = driver.in_flight(2, 0);
  EXPECT_EQ(driver.set.claim(QueueIndex{1}, cookie.value).error().reason,
            LookupReason::wrong_queue);
  driver.complete(cookie);
}

// nbd, 2021: teardown and the receiving worker complete the same request.
TEST(Failures, NbdTeardownAndReceiverBothComplete) {
  Driver<> driver;
  const Cookie cookie = driver.in_flight(3);
  Claim receiver = driver.claim(cookie);
  EXPECT_EQ(time_out(driver, QueueIndex{0}), 0U);
  EXPECT_EQ(driver.set.claim_any_generation(QueueIndex{0}, Tag{3}).error().reason,
            LookupReason::owned);
  std::move(receiver).end_ok();
  EXPECT_EQ(driver.sink.count(), 1U);
}

// nbd, 2023: a request is requeued after its header was sent, and the reply to the first issue
// completes the second.
TEST(Failures, NbdReplyToTheIssueBeforeARequeue) {
  Driver<> driver;
  const Cookie sent = driver.in_flight(4);
  driver.claim(sent).requeue();
  EXPECT_EQ(driver.refusal(sent), LookupReason::idle);
  auto again = driver.sink.requeued.pop_front().value().into_idle();
  EXPECT_EQ(again.tag(), Tag{4}) << "a requeue keeps the tag";
  const Cookie resent = Driver<>::publish(std::move(again).start());
  EXPECT_EQ(driver.refusal(sent), LookupReason::stale_generation);
  EXPECT_EQ(driver.refusal(resent), LookupReason::none);
}

// nvme, 2021: a controller completes a command twice.
TEST(Failures, NvmeControllerCompletesACommandTwice) {
  Driver<> driver{with_layout(CookieLayout::nvme())};
  const Cookie twice = driver.in_flight();
  EXPECT_EQ(driver.refusal(twice), LookupReason::none);
  EXPECT_EQ(driver.refusal(twice), LookupReason::idle);
  const Cookie next = driver.in_flight();
  EXPECT_EQ(driver.refusal(twice), LookupReason::stale_generation);
  driver.complete(next);
  EXPECT_EQ(driver.sink.count(), 2U);
}

// nvme-tcp: the sender accesses the request after the last byte was sent and the reply received.
TEST(Failures, NvmeTcpSenderTouchesTheRequestAfterTheReply) {
  Driver<> driver;
  std::optional<Owned> next;
  driver.owned().publish([&](const Cookie& cookie) {
    driver.complete(cookie);
    next = driver.owned();  // the tag is in use again
    next->data().sectors = 77;
  });
  EXPECT_EQ(driver.state(), "0 owned") << "publish does not access the word after issue";
  EXPECT_EQ(next->data().sectors, 77);
  std::move(*next).end_ok();
}

// blk-mq, 2020: an iteration over the tags finds stale or freed entries.
TEST(Failures, BlkMqIterationFindsStaleEntries) {
  Driver<> driver;
  const Cookie live = driver.in_flight(1);
  driver.complete(driver.in_flight(2));
  auto idle = driver.idle(3);
  std::optional<ARef> kept;
  driver.set.for_each_in_flight(QueueIndex{0}, [&](ARef pin, const Cookie& cookie) {
    EXPECT_EQ(cookie, live);
    driver.claim(cookie).end_ok();
    kept = std::move(pin);
  });
  EXPECT_FALSE(driver.set.allocate_tag(QueueIndex{0}, Tag{1}).has_value())
      << "the pin keeps the tag in use";
  EXPECT_EQ(driver.sink.last().tag, 2U);
  kept.reset();
  EXPECT_EQ(driver.sink.last().tag, 1U);
  std::move(idle).fail(Status::ok);
}

// blk-mq, 2022: a timeout fires before queue_rq has returned.
TEST(Failures, BlkMqTimeoutFiresBeforeTheDriverHasFinishedIssuing) {
  Driver<> driver;
  Owned owned = driver.owned();
  EXPECT_EQ(time_out(driver, QueueIndex{0}), 0U) << "the driver holds the request";
  Claim claim = std::move(owned).into_claim();
  std::optional<ARef> mapping = claim.pin();
  EXPECT_EQ(time_out(driver, QueueIndex{0}), 0U) << "mapped, not yet published";
  claim.data().sectors = 30;
  static_cast<void>(Driver<>::publish(std::move(claim)));
  mapping.reset();
  EXPECT_EQ(time_out(driver, QueueIndex{0}), 1U);
}

// scsi, 2020: a completion has the tag of a command that was never started.
TEST(Failures, ScsiTagOfACommandThatWasNeverStarted) {
  Driver<> driver;
  auto idle = driver.idle(6);
  EXPECT_EQ(driver.set.claim_any_generation(QueueIndex{0}, Tag{6}).error().reason,
            LookupReason::idle);
  EXPECT_EQ(driver.set.tag_to_rq_any_generation(QueueIndex{0}, Tag{6}).error().reason,
            LookupReason::idle);
  std::move(idle).fail(Status::ok);
}

// ublk, 2025: cancel and dispatch both complete a command.
TEST(Failures, UblkCancelAndDispatchBothComplete) {
  Driver<> driver;
  const Cookie cookie = driver.in_flight();
  const ARef pin = driver.pin(cookie);
  auto cancel = blkown::claim(pin, cookie);
  ASSERT_TRUE(cancel.has_value());
  EXPECT_EQ(driver.refusal(cookie), LookupReason::claimed);
  std::move(*cancel).end(Status::aborted);
  EXPECT_EQ(driver.refusal(cookie), LookupReason::claimed);
}

// ublksrv: completing a bare tag twice issues a commit again.
TEST(Failures, UblksrvCompletesABareTagTwice) {
  Driver<> driver;
  static_cast<void>(driver.in_flight(2));
  driver.set.claim_any_generation(QueueIndex{0}, Tag{2}).value().end_ok();
  EXPECT_EQ(driver.set.claim_any_generation(QueueIndex{0}, Tag{2}).error().reason,
            LookupReason::idle);
  EXPECT_EQ(driver.set.claim_any_generation(QueueIndex{0}, Tag{200}).error().reason,
            LookupReason::no_such_tag);
  EXPECT_EQ(driver.sink.count(), 1U);
}

// SPDK, "cpl does not map to outstanding cmd": a debug build asserts, a release build continues.
TEST(Failures, SpdkCompletionDoesNotMapToAnOutstandingCommand) {
  Driver<> driver{with_layout(CookieLayout::nvme())};
  const Cookie live = driver.in_flight(0);
  std::size_t accepted = 0;
  for (std::uint64_t command_id = 0; command_id <= 0x1'FFFF; ++command_id) {
    if (driver.set.tag_to_rq(QueueIndex{0}, command_id).has_value()) {
      EXPECT_EQ(command_id, live.value);
      ++accepted;
    }
  }
  EXPECT_EQ(accepted, 1U);
  driver.complete(live);
}

// ublksrv #196: a tag's buffers are reused while DMA still accesses them.
TEST(Failures, UblksrvTagIsUsedAgainUnderDma) {
  Driver<> driver;
  Claim claim = driver.owned(1).into_claim();
  std::optional<ARef> mapping = claim.pin();
  const Cookie cookie = Driver<>::publish(std::move(claim));
  driver.claim(cookie).end(Status::timed_out);
  EXPECT_FALSE(driver.set.allocate_tag(QueueIndex{0}, Tag{1}).has_value());
  EXPECT_EQ(driver.sink.count(), 0U) << "no end while the device may write";
  mapping.reset();
  EXPECT_EQ(driver.sink.count(), 1U);
  EXPECT_TRUE(driver.set.allocate_tag(QueueIndex{0}, Tag{1}).has_value());
}

// ubiblk #486: a completion that cannot be delivered is dropped, and the guest hangs.
TEST(Failures, UbiblkDroppedCompletionHangsTheGuest) {
  Driver<> driver;
  const Cookie cookie = driver.in_flight(4);
  {
    const auto dropped = driver.set.claim(QueueIndex{0}, cookie.value);
  }
  EXPECT_EQ(driver.sink.last(), (EndRecord{.queue = 0, .tag = 4, .status = Status::io_error}));
  EXPECT_EQ(driver.reports.count(), 1U);
}

// managarm's nvme driver: the slot is filled after the doorbell.
TEST(Failures, ManagarmSlotIsFilledAfterTheDoorbell) {
  Driver<> driver;
  Owned owned = driver.owned();
  owned.data().sectors = 9;
  int seen_by_completion = 0;
  std::move(owned).publish([&](const Cookie& cookie) {
    auto claim = driver.set.claim(cookie.queue, cookie.value);
    ASSERT_TRUE(claim.has_value());
    seen_by_completion = claim->data().sectors;
    std::move(*claim).end_ok();
  });
  EXPECT_EQ(seen_by_completion, 9);
}

// OSv's virtio and nvme drivers: the device's ids index arrays without a range check.
TEST(Failures, OsvDeviceIdsIndexArraysUnchecked) {
  Driver<> driver;
  const CookieLayout layout = driver.set.layout();
  for (const std::uint32_t tag : {8U, 9U, 0x7FFFU, 0xFFFFU}) {
    for (const std::uint32_t queue : {0U, 1U, 2U, 0xFFFFU}) {
      const std::uint64_t value = layout.encode(QueueIndex{queue}, Tag{tag}, Generation{100});
      for (const std::uint32_t arrival : {0U, 1U, 2U, ~0U}) {
        EXPECT_FALSE(driver.set.claim(QueueIndex{arrival}, value).has_value());
        EXPECT_FALSE(driver.set.claim_any_generation(QueueIndex{arrival}, Tag{tag}).has_value());
      }
    }
  }
}

// openvmm #1685: a mismatch panics without naming the queue or the id.
TEST(Failures, OpenvmmErrorDoesNotSayWhichQueueOrId) {
  Driver<> driver{with_layout(CookieLayout::nvme())};
  const Cookie stale = driver.in_flight(3, 1);
  driver.complete(stale);
  const Cookie live = driver.in_flight(3, 1);
  const auto error = driver.set.claim(QueueIndex{1}, stale.value).error();
  EXPECT_EQ(error.queue, blkown::QueueIndex{1});
  EXPECT_EQ(error.tag, Tag{3});
  EXPECT_EQ(error.expected_generation, Generation{stale.generation.value % 16});
  EXPECT_EQ(error.seen_generation, live.generation);
  driver.complete(live);
}

// --- gaps in the kernel's Rust design ------------------------------------------------------------

// A lookup spins while the request is owned, so an interrupt on the submitting CPU never returns.
TEST(Failures, RustLookupSpinsWhileTheRequestIsOwned) {
  Driver<> driver;
  Owned owned = driver.owned();
  EXPECT_EQ(driver.set.tag_to_rq_any_generation(QueueIndex{0}, Tag{0}).error().reason,
            LookupReason::owned);
  EXPECT_EQ(driver.set.tag_to_owned(QueueIndex{0}, owned.cookie().value).error().reason,
            LookupReason::owned);
  std::move(owned).end_ok();
  EXPECT_EQ(driver.set.tag_to_rq_any_generation(QueueIndex{0}, Tag{0}).error().reason,
            LookupReason::idle);
}

// Without a generation a late completion completes the next I/O that has the tag.
TEST(Failures, RustLateCompletionCompletesTheNextIo) {
  Driver<> driver;
  const Cookie late = driver.in_flight();
  time_out(driver, QueueIndex{0});
  const Cookie next = driver.in_flight();
  EXPECT_EQ(driver.refusal(late), LookupReason::stale_generation);
  EXPECT_EQ(driver.state(), "1");
  driver.complete(next);
}

// No claim exists: duplicate completions give two references, and both can be completed.
TEST(Failures, RustDuplicateCompletionsAreBothCompleted) {
  Driver<> driver;
  const Cookie cookie = driver.in_flight();
  auto first = try_claim(driver.pin(cookie), cookie);
  auto second = driver.set.tag_to_rq(QueueIndex{0}, cookie.value);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(second.error().reason, LookupReason::claimed);
  std::move(*first).end_ok();
  EXPECT_EQ(driver.sink.count(), 1U);
}

// try_from_shared fails while a transient reference exists: drivers panic or lose the I/O.
TEST(Failures, RustTransientReferenceLosesTheIo) {
  Driver<> driver;
  const Cookie cookie = driver.in_flight();
  std::optional<ARef> transient = driver.pin(cookie);
  auto refused = Owned::try_from_shared(driver.pin(cookie));
  ASSERT_FALSE(refused.has_value());
  try_claim(std::move(refused).error(), cookie).value().end(Status::ok);
  EXPECT_EQ(driver.sink.count(), 0U);
  transient.reset();
  EXPECT_EQ(driver.sink.count(), 1U);
}

// The transient reference and the completion's are dropped at the same time, and neither becomes
// the owner.
TEST(Failures, RustNeitherOfTwoReferencesBecomesTheOwner) {
  Driver<> driver;
  const Cookie cookie = driver.in_flight();
  ARef one = driver.pin(cookie);
  ARef other = driver.pin(cookie);
  EXPECT_FALSE(drop_or_own(std::move(one)).has_value());
  auto owner = drop_or_own(std::move(other));
  ASSERT_TRUE(owner.has_value());
  std::move(*owner).end_ok();
}

// A request that is dropped before it was started leaks without a report.
TEST(Failures, RustUnstartedRequestLeaks) {
  Driver<> driver;
  {
    const auto dropped = driver.idle();
  }
  EXPECT_EQ(driver.sink.count(), 1U);
  EXPECT_EQ(driver.reports.count(), 1U);
}
