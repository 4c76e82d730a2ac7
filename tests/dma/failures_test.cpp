// SPDX-License-Identifier: BSL-1.0
//
// Goal: published bugs with memory under DMA cannot happen with this library.
// Method: one test for each row about DMA in the table of tests/README.md. The test repeats the
// steps of the buggy driver.

#include <gtest/gtest.h>

#include <optional>

#include "dma/fake_backend.hpp"

namespace {

namespace dma = blkown::dma;
using blkown::LookupReason;
using blkown::Status;
using fake::Claim;
using fake::Direction;
using fake::EndProof;
using fake::Rig;

constexpr std::byte late_bytes{0x77};

// SPDK #2360: a reset completes the I/Os manually, and their buffers are used again while the
// device still writes to them. Here the scan's Claim is no proof: no I/O's end is delivered, and no
// tag is free, before the device was stopped.
TEST(DmaFailures, SpdkResetReusesBuffersWhileTheDeviceStillWrites) {
  Rig rig;
  static_cast<void>(rig.in_flight(0));
  static_cast<void>(rig.in_flight(1));
  rig.driver.set.for_each_in_flight(blkown::QueueIndex{0},
                                    [&](const auto& pin, const blkown::Cookie& cookie) {
                                      Claim claim = support::take_value(blkown::claim(pin, cookie));
                                      EXPECT_FALSE(EndProof::of(claim).has_value());
                                      if (cookie.tag.value == 0)
                                        claim.data().mapping.reset();  // one dropped, one leaked
                                      std::move(claim).end(Status::aborted);
                                    });
  EXPECT_EQ(rig.driver.sink.count(), 0U) << "no end while the device may write";
  EXPECT_FALSE(rig.driver.set.allocate_tag(blkown::QueueIndex{0}, blkown::Tag{0}).has_value());
  EXPECT_FALSE(rig.driver.set.allocate_tag(blkown::QueueIndex{0}, blkown::Tag{1}).has_value());
  ASSERT_EQ(rig.quarantined().size(), 2U);
  for (const dma::Quarantined& one : rig.quarantined()) rig.backend.write(one.segments, late_bytes);

  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 2U);
  EXPECT_EQ(rig.driver.sink.count(), 2U);
  EXPECT_EQ(rig.driver.sink.last().status, Status::aborted);
  EXPECT_TRUE(rig.is_all(0, 512, late_bytes)) << "written before the I/O's end, not after it";
  EXPECT_TRUE(rig.is_tag_free(0) && rig.is_tag_free(1));
}

// The correct reset stops the device first. The stop is the proof for all I/Os.
TEST(DmaFailures, SpdkResetAfterTheDeviceHasStopped) {
  Rig rig;
  static_cast<void>(rig.in_flight(0));
  static_cast<void>(rig.in_flight(1));
  const EndProof stopped = rig.device.declare_stopped();
  rig.driver.set.for_each_in_flight(blkown::QueueIndex{0},
                                    [&](const auto& pin, const blkown::Cookie& cookie) {
                                      Claim claim = support::take_value(blkown::claim(pin, cookie));
                                      EXPECT_TRUE(rig.taken_out(claim).unmap(stopped).has_value());
                                      std::move(claim).end(Status::aborted);
                                    });
  EXPECT_EQ(rig.driver.sink.count(), 2U);
  EXPECT_EQ(rig.device.quarantined_count(), 0U);
  EXPECT_EQ(rig.driver.reports.count(), 0U);
  EXPECT_EQ(rig.backend.live_count(), 0U);
}

// ublksrv #196: the buffer of a tag is freed and used again under DMA, and the reader gets zeros.
// Here the timeout cannot unmap the memory; the late completion can.
TEST(DmaFailures, UblksrvBuffersAreGivenBackUnderDma) {
  Rig rig;
  const auto cookie = rig.in_flight(1);
  {
    const auto pin = rig.driver.pin(cookie);
    Claim timed_out = support::take_value(blkown::claim(pin, cookie));
    EXPECT_FALSE(EndProof::of(timed_out).has_value());
    auto refused = rig.taken_out(timed_out).cancel(timed_out);
    ASSERT_FALSE(refused.has_value());
    timed_out.data().mapping.emplace(std::move(refused.error()));
    std::move(timed_out).release();
  }
  EXPECT_FALSE(rig.driver.set.allocate_tag(blkown::QueueIndex{0}, blkown::Tag{1}).has_value());
  ASSERT_EQ(rig.backend.live_count(), 1U);

  Claim claim = rig.driver.claim(cookie);
  auto mapping = rig.taken_out(claim);
  rig.backend.write(mapping.segments(), late_bytes);
  EXPECT_TRUE(std::move(mapping).unmap(*EndProof::of(claim)).has_value());
  std::move(claim).end_ok();
  EXPECT_TRUE(rig.is_all(0, 512, late_bytes));
  EXPECT_TRUE(rig.is_tag_free(1));
}

// The same with bounce slots: a slot that is given back too early would hold the next I/O's bytes.
TEST(DmaFailures, UblksrvSlotsAreGivenBackUnderDma) {
  Rig rig{Rig::Bounce::yes};
  rig.only_slots_in_reach();
  Claim claim = rig.unpublished(0);
  std::optional mapping{
      support::take_value(rig.map(claim, {rig.part(0, 256)}, Direction::from_device)).activate()};
  const auto cookie = rig.driver.publish(std::move(claim));
  const std::vector<dma::IovaSegment> remembered{mapping->segments().begin(),
                                                 mapping->segments().end()};
  mapping.reset();  // the device still writes
  rig.driver.claim(cookie).end(Status::timed_out);
  Claim next = rig.unpublished(1);
  const auto refused = rig.map(next, {rig.part(512, 64)});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().reason, fake::MapFailure::no_bounce_slot);
  EXPECT_EQ(refused.error().status(), Status::resource) << "tried again when a slot is free";
  rig.backend.write(remembered, late_bytes);
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
  EXPECT_TRUE(rig.map(next, {rig.part(512, 64)}).has_value());
  EXPECT_TRUE(rig.is_all(256, 3840, std::byte{0x11})) << "no bytes of the first I/O";
  std::move(next).end_ok();
}

// Linux's Rust block layer: a mapping that is stored in its own request holds a reference to the
// request, so the request is never unique and never ends. Here the Claim takes the mapping out.
TEST(DmaFailures, RustMappingInItsOwnRequestHoldsAReferenceToIt) {
  Rig rig;
  Claim claim = rig.driver.claim(rig.in_flight());
  auto pinned = std::move(claim).into_owned();
  ASSERT_FALSE(pinned.has_value()) << "the mapping pins the request";
  Claim again = std::move(pinned.error());
  EXPECT_TRUE(rig.taken_out(again).unmap(*EndProof::of(again)).has_value());
  support::take_value(std::move(again).into_owned()).end_ok();
  EXPECT_TRUE(rig.is_tag_free());
}

// If the driver forgets to take the mapping out, a scan finds the request, and a stop frees it.
TEST(DmaFailures, RustMappingForgottenInItsOwnRequest) {
  Rig rig;
  const auto cookie = rig.in_flight();
  rig.driver.claim(cookie).end_ok();
  EXPECT_EQ(rig.driver.sink.count(), 0U);
  EXPECT_EQ(rig.driver.refusal(cookie), LookupReason::claimed) << "no second end";
  ASSERT_EQ(rig.quarantined().size(), 1U);
  EXPECT_EQ(rig.quarantined()[0].reason, dma::QuarantineReason::leaked);
  EXPECT_EQ(rig.quarantined()[0].cookie, cookie);
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
  EXPECT_EQ(rig.driver.sink.last().status, Status::ok);
  EXPECT_TRUE(rig.is_tag_free());
}

}  // namespace
