// SPDX-License-Identifier: BSL-1.0
//
// Goal: what has gone wrong with memory under a device does not go wrong here. One test for each
// row of tests/README.md's table that is about DMA; it does what went wrong.

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

// SPDK #2360: a reset completes the I/Os by hand and their buffers are used again, while the device
// still writes to them. Here the scan's Claim proves nothing, and whatever the reset does with it,
// nobody is told, and no tag is free, before the device has stopped.
TEST(DmaFailures, SpdkResetReusesBuffersWhileTheDeviceStillWrites) {
  Rig rig;
  static_cast<void>(rig.in_flight(0));
  static_cast<void>(rig.in_flight(1));
  rig.driver.set.for_each_in_flight(0, [&](const auto& pin, const blkown::Cookie& cookie) {
    Claim claim = support::take_value(blkown::claim(pin, cookie));
    EXPECT_FALSE(EndProof::of(claim).has_value());
    if (cookie.tag.value == 0) claim.data().mapping.reset();  // however wrong it goes about it
    std::move(claim).end(Status::aborted);
  });
  EXPECT_EQ(rig.driver.sink.count(), 0U) << "nobody is told while the device may write";
  EXPECT_FALSE(rig.driver.set.allocate_tag(0, blkown::Tag{0}).has_value());
  EXPECT_FALSE(rig.driver.set.allocate_tag(0, blkown::Tag{1}).has_value());
  ASSERT_EQ(rig.quarantined().size(), 2U);
  for (const dma::Quarantined& one : rig.quarantined()) rig.backend.write(one.segments, late_bytes);

  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 2U);
  EXPECT_EQ(rig.driver.sink.count(), 2U);
  EXPECT_EQ(rig.driver.sink.last().status, Status::aborted);
  EXPECT_TRUE(rig.is_all(0, 512, late_bytes)) << "written before the I/O's end, not after it";
  EXPECT_TRUE(rig.is_tag_free(0) && rig.is_tag_free(1));
}

// The same with a stop where the reset begins, as it should be: it is the proof for all of them.
TEST(DmaFailures, SpdkResetAfterTheDeviceHasStopped) {
  Rig rig;
  static_cast<void>(rig.in_flight(0));
  static_cast<void>(rig.in_flight(1));
  const EndProof stopped = rig.device.declare_stopped();
  rig.driver.set.for_each_in_flight(0, [&](const auto& pin, const blkown::Cookie& cookie) {
    Claim claim = support::take_value(blkown::claim(pin, cookie));
    EXPECT_TRUE(rig.taken_out(claim).unmap(stopped).has_value());
    std::move(claim).end(Status::aborted);
  });
  EXPECT_EQ(rig.driver.sink.count(), 2U);
  EXPECT_EQ(rig.device.quarantined_count(), 0U);
  EXPECT_EQ(rig.driver.reports.count(), 0U);
  EXPECT_EQ(rig.backend.live_count(), 0U);
}

// ublksrv #196: the buffer of a tag is given back and used again under DMA, and the reader gets
// zeros. Here the timeout cannot take the memory from the device; its completion, which comes late,
// can.
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
  EXPECT_FALSE(rig.driver.set.allocate_tag(0, blkown::Tag{1}).has_value());
  ASSERT_EQ(rig.backend.live_count(), 1U);

  Claim claim = rig.driver.claim(cookie);
  auto mapping = rig.taken_out(claim);
  rig.backend.write(mapping.segments(), late_bytes);
  EXPECT_TRUE(std::move(mapping).unmap(*EndProof::of(claim)).has_value());
  std::move(claim).end_ok();
  EXPECT_TRUE(rig.is_all(0, 512, late_bytes));
  EXPECT_TRUE(rig.is_tag_free(1));
}

// The same with bounce slots, whose bytes are the next I/O's if a slot is given back too early.
TEST(DmaFailures, UblksrvSlotsAreGivenBackUnderDma) {
  Rig rig{Rig::Bounce::yes};
  rig.only_slots_in_reach();
  Claim claim = rig.unpublished(0);
  std::optional mapping{
      support::take_value(rig.map(claim, {rig.part(0, 256)}, Direction::from_device)).activate()};
  const auto cookie = rig.driver.publish(std::move(claim));
  const std::vector<dma::IovaSegment> remembered{mapping->segments().begin(),
                                                 mapping->segments().end()};
  mapping.reset();  // given up, the device still at it
  rig.driver.claim(cookie).end(Status::timed_out);
  Claim next = rig.unpublished(1);
  const auto refused = rig.map(next, {rig.part(512, 64)});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().reason, fake::MapFailure::no_bounce_slot);
  EXPECT_EQ(refused.error().status(), Status::resource) << "tried again when one is there";
  rig.backend.write(remembered, late_bytes);
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
  EXPECT_TRUE(rig.map(next, {rig.part(512, 64)}).has_value());
  EXPECT_TRUE(rig.is_all(256, 3840, std::byte{0x11})) << "nothing of the first one";
  std::move(next).end_ok();
}

// Linux's Rust block layer: a mapping that is stored in its own request holds a reference to it, so
// the request is never unique and never ends. Here the Claim takes it out.
TEST(DmaFailures, RustMappingInItsOwnRequestHoldsAReferenceToIt) {
  Rig rig;
  Claim claim = rig.driver.claim(rig.in_flight());
  auto pinned = std::move(claim).into_owned();
  ASSERT_FALSE(pinned.has_value()) << "its own mapping's pin";
  Claim again = std::move(pinned.error());
  EXPECT_TRUE(rig.taken_out(again).unmap(*EndProof::of(again)).has_value());
  support::take_value(std::move(again).into_owned()).end_ok();
  EXPECT_TRUE(rig.is_tag_free());
}

// And where the driver forgets to, the request is found, and comes back with the device's stop.
TEST(DmaFailures, RustMappingForgottenInItsOwnRequest) {
  Rig rig;
  const auto cookie = rig.in_flight();
  rig.driver.claim(cookie).end_ok();
  EXPECT_EQ(rig.driver.sink.count(), 0U);
  EXPECT_EQ(rig.driver.refusal(cookie), LookupReason::claimed) << "nobody can end it any more";
  ASSERT_EQ(rig.quarantined().size(), 1U);
  EXPECT_EQ(rig.quarantined()[0].reason, dma::QuarantineReason::leaked);
  EXPECT_EQ(rig.quarantined()[0].cookie, cookie);
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
  EXPECT_EQ(rig.driver.sink.last().status, Status::ok);
  EXPECT_TRUE(rig.is_tag_free());
}

}  // namespace
