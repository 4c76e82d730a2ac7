// SPDX-License-Identifier: BSL-1.0
//
// Goal: a mapping without proof goes into quarantine, and only a proof of the device's stop ends
// the quarantine.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "dma/fake_backend.hpp"

namespace {

using blkown::Status;
using fake::Claim;
using fake::Direction;
using fake::EndProof;
using fake::Rig;
namespace dma = blkown::dma;
using dma::QuarantineReason;

/// Completes an I/O whose mapping is dropped without proof, as a faulty driver does.
void drop_mapping(Rig& rig, const blkown::Cookie& cookie) {
  Claim claim = rig.driver.claim(cookie);
  claim.data().mapping.reset();
  std::move(claim).end(Status::medium_error);
}

TEST(Quarantine, AMappingDroppedWithoutProofIsReported) {
  Rig rig;
  const auto cookie = rig.in_flight(3);
  drop_mapping(rig, cookie);
  ASSERT_EQ(rig.driver.reports.count(), 1U);
  const auto& [report, incident] = rig.driver.reports.last();
  EXPECT_EQ(report, blkown::Report::mapping_dropped);
  EXPECT_STREQ(incident.operation, "drop of dma::ActiveMapping");
  EXPECT_TRUE(incident.has_queue);
  EXPECT_TRUE(incident.has_request);
  EXPECT_EQ(incident.queue, cookie.queue);
  EXPECT_EQ(incident.tag, cookie.tag);
  EXPECT_EQ(incident.state.generation, cookie.generation);
  rig.device.drain(rig.device.declare_stopped());
}

// Goal: the memory stays mapped and the tag stays allocated, and the device lists the mapping with
// its reason.
TEST(Quarantine, AMappingDroppedWithoutProofStays) {
  Rig rig;
  const auto cookie = rig.in_flight(3);
  drop_mapping(rig, cookie);
  EXPECT_EQ(rig.backend.live_count(), 1U);
  EXPECT_EQ(rig.backend.log, (std::vector<std::string>{"map 1000+512"}));
  EXPECT_FALSE(rig.is_tag_free(3));
  EXPECT_EQ(rig.driver.sink.count(), 0U) << "the I/O has not ended";
  EXPECT_FALSE(rig.driver.set.allocate_tag(blkown::QueueIndex{0}, blkown::Tag{3}).has_value());
  const auto all = rig.quarantined();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].reason, QuarantineReason::dropped);
  EXPECT_EQ(all[0].cookie, cookie);
  EXPECT_EQ(all[0].direction, Direction::from_device);
  ASSERT_EQ(all[0].segments.size(), 1U);
  EXPECT_EQ(all[0].segments[0], (dma::IovaSegment{0x1000, 512}));
  EXPECT_EQ(rig.device.quarantined_count(), 1U);

  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
  EXPECT_EQ(rig.backend.log,
            (std::vector<std::string>{"map 1000+512", "unmap 1000+512", "invalidate 1000+512"}));
  ASSERT_EQ(rig.driver.sink.count(), 1U);
  EXPECT_EQ(rig.driver.sink.last().status, Status::medium_error) << "the I/O's own status";
  EXPECT_TRUE(rig.is_tag_free(3));
  EXPECT_EQ(rig.device.quarantined_count(), 0U);
}

fake::Device* reporting_device = nullptr;
std::size_t drained_by_the_handler = 0;

// Goal: the handler of a report may stop the device and drain it.
TEST(Quarantine, IsDrainedByTheHandlerOfItsReport) {
  Rig rig;
  reporting_device = &rig.device;
  const auto handler =
      blkown::set_report_handler([](blkown::Report, const blkown::Incident& incident) {
        EXPECT_TRUE(incident.has_request);
        drained_by_the_handler = reporting_device->drain(reporting_device->declare_stopped());
      });
  Claim dropped = rig.driver.claim(rig.in_flight(0));
  dropped.data().mapping.reset();
  EXPECT_EQ(drained_by_the_handler, 1U);
  std::move(dropped).end_ok();

  drained_by_the_handler = 0;
  Claim refused = rig.driver.claim(rig.in_flight(1));
  rig.backend.refuse_unmap = 1;
  EXPECT_TRUE(Rig::taken_out(refused).unmap(*EndProof::of(refused)).has_value());
  EXPECT_EQ(drained_by_the_handler, 1U);
  std::move(refused).end_ok();

  drained_by_the_handler = 0;
  Claim half = rig.unpublished(2);
  rig.backend.refuse_map = 3;
  rig.backend.refuse_unmap = 3;
  EXPECT_EQ(rig.map(half, {rig.part(0, 8), rig.part(16, 8)}).error().reason,
            dma::MapFailure::unmap_failed);
  EXPECT_EQ(drained_by_the_handler, 1U);
  EXPECT_TRUE(half.data().iovas.is_free());
  EXPECT_EQ(rig.driver.state(2), "2 claimed") << "no pin is left";
  std::move(half).end_ok();
  EXPECT_EQ(rig.backend.live_count(), 0U);
  blkown::set_report_handler(handler);
}

TEST(Quarantine, IsDrainedWithAProofOfItsDevicesStopOnly) {
  Rig rig;
  fake::Device other{rig.backend};
  const EndProof before = rig.device.declare_stopped();
  const auto cookie = rig.in_flight();
  Claim claim = rig.driver.claim(cookie);
  const EndProof completed = *EndProof::of(claim);
  claim.data().mapping.reset();
  std::move(claim).end_ok();
  EXPECT_EQ(rig.device.drain(before), 0U) << "the stop was before the mapping";
  EXPECT_EQ(rig.device.drain(other.declare_stopped()), 0U) << "a stop of another device";
  EXPECT_EQ(rig.device.drain(completed), 0U) << "a completion is a proof for unmap only";
  EXPECT_EQ(rig.backend.live_count(), 1U);
  EXPECT_EQ(rig.driver.sink.count(), 0U);
  const EndProof since = rig.device.declare_stopped();
  EXPECT_EQ(other.drain(since), 0U);
  EXPECT_EQ(rig.device.drain(since), 1U);
  EXPECT_EQ(rig.device.drain(since), 0U);
  EXPECT_TRUE(rig.is_tag_free());
}

// Goal: a mapping that is dropped before the I/O ends is drained while the Claim exists.
TEST(Quarantine, IsDrainedWhileTheIoGoesOn) {
  Rig rig;
  Claim claim = rig.driver.claim(rig.in_flight());
  claim.data().mapping.reset();
  EXPECT_EQ(rig.driver.state(), "3 claimed");
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
  EXPECT_EQ(rig.driver.state(), "2 claimed");
  std::move(claim).end_ok();
  EXPECT_TRUE(rig.is_tag_free());
}

TEST(Quarantine, IsDrainedOfAllThatTheStopCovers) {
  Rig rig;
  for (std::uint32_t tag = 0; tag != 3; ++tag) drop_mapping(rig, rig.in_flight(tag));
  const EndProof proof = rig.device.declare_stopped();
  drop_mapping(rig, rig.in_flight(3));
  EXPECT_EQ(rig.device.drain(proof), 3U);
  ASSERT_EQ(rig.quarantined().size(), 1U);
  EXPECT_EQ(rig.quarantined()[0].cookie.tag, blkown::Tag{3});
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
}

TEST(Quarantine, CopiesBouncedBytesBackBeforeTheIoEnds) {
  Rig rig{Rig::Bounce::yes};
  rig.only_slots_in_reach();
  Claim claim = rig.unpublished();
  std::optional mapping{support::take_value(rig.map(claim, {rig.part(0, 100)})).activate()};
  const auto cookie = rig.driver.publish(std::move(claim));
  rig.backend.write(mapping->segments(), std::byte{0x33});
  mapping.reset();
  rig.driver.complete(cookie);
  EXPECT_EQ(rig.pool.free_slots(), 2U);
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
  EXPECT_TRUE(rig.is_all(0, 100, std::byte{0x33}));
  EXPECT_EQ(rig.pool.free_slots(), 4U);
}

// --- an I/O that ended with the mapping in its data ------------------------------------------

// Goal: a request that only its own mapping pins is found by a scan, and freed by a stop.
TEST(Leaked, AMappingLeftInItsOwnRequestIsFoundAndDrained) {
  Rig rig;
  const auto cookie = rig.in_flight(2);
  EXPECT_EQ(rig.device.quarantined_count(), 0U) << "in flight";
  rig.driver.claim(cookie).end_ok();
  EXPECT_EQ(rig.driver.state(2), "2 finished");
  EXPECT_EQ(rig.driver.sink.count(), 0U);
  const auto all = rig.quarantined();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].reason, QuarantineReason::leaked);
  EXPECT_EQ(all[0].cookie, cookie);
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
  EXPECT_EQ(rig.backend.live_count(), 0U);
  EXPECT_EQ(rig.driver.sink.count(), 1U);
  EXPECT_TRUE(rig.is_tag_free(2));
}

TEST(Leaked, ADrainFindsItToo) {
  Rig rig;
  const EndProof before = rig.device.declare_stopped();
  rig.driver.claim(rig.in_flight()).end_ok();
  EXPECT_EQ(rig.device.drain(before), 0U);
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
  EXPECT_TRUE(rig.is_tag_free());
}

// Goal: a mapping that a handle can still take out is not leaked.
TEST(Leaked, IsNoMappingThatAHandleCanStillTakeOut) {
  Rig rig;
  const auto cookie = rig.in_flight();
  const EndProof proof = rig.device.declare_stopped();
  EXPECT_EQ(rig.device.drain(proof), 0U) << "parked";
  {
    const auto pin = rig.driver.pin(cookie);
    EXPECT_EQ(rig.device.drain(proof), 0U) << "pinned";
  }
  Claim claim = rig.driver.claim(cookie);
  EXPECT_EQ(rig.device.drain(proof), 0U) << "claimed";
  EXPECT_EQ(rig.device.quarantined_count(), 0U);
  const auto pin = claim.pin();
  EXPECT_EQ(rig.device.drain(proof), 0U) << "claimed and pinned";
  EXPECT_EQ(rig.device.quarantined_count(), 0U);
  std::move(claim).end_ok();
  ASSERT_EQ(rig.quarantined().size(), 1U) << "ended: no Claim is left";
  EXPECT_EQ(rig.quarantined()[0].reason, QuarantineReason::leaked);
  EXPECT_EQ(rig.device.drain(proof), 1U);
}

// Goal: a driver maps data and metadata, and forgets both. One drain finds both.
TEST(Leaked, TwoMappingsOfOneRequestAreFoundAndDrained) {
  Rig rig;
  const auto cookie = rig.in_flight_with_metadata(2);
  rig.driver.claim(cookie).end_ok();
  EXPECT_EQ(rig.driver.state(2), "3 finished");
  EXPECT_EQ(rig.device.quarantined_count(), 2U);
  for (const dma::Quarantined& one : rig.quarantined()) {
    EXPECT_EQ(one.reason, QuarantineReason::leaked);
    EXPECT_EQ(one.cookie, cookie);
  }
  EXPECT_EQ(rig.driver.sink.count(), 0U);
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 2U);
  EXPECT_EQ(rig.backend.live_count(), 0U);
  EXPECT_EQ(rig.driver.sink.count(), 1U);
  EXPECT_TRUE(rig.is_tag_free(2));
}

TEST(Leaked, ADrainWithoutAScanFindsBothToo) {
  Rig rig;
  rig.driver.claim(rig.in_flight_with_metadata()).end_ok();
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 2U);
  EXPECT_TRUE(rig.is_tag_free());
}

// Goal: one mapping is taken out and unmapped, the other is forgotten.
TEST(Leaked, TheSecondMappingIsFoundIfOnlyTheFirstIsTakenOut) {
  Rig rig;
  Claim claim = rig.driver.claim(rig.in_flight_with_metadata());
  EXPECT_TRUE(rig.taken_out(claim).unmap(*EndProof::of(claim)).has_value());
  std::move(claim).end_ok();
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
  EXPECT_TRUE(rig.is_tag_free());
}

// Goal: a scan that pins the request during the drain does not hide its mappings. The request ends
// when the scan's pin is dropped.
TEST(Leaked, TwoMappingsAreFoundBesideThePinsOfOthers) {
  Rig rig;
  const auto cookie = rig.in_flight_with_metadata();
  std::optional pin{rig.driver.pin(cookie)};
  std::optional second_pin{rig.driver.pin(cookie)};
  rig.driver.claim(cookie).end_ok();
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 2U);
  EXPECT_EQ(rig.backend.live_count(), 0U);
  EXPECT_EQ(rig.driver.state(), "3 finished") << "the pins of the scans";
  pin.reset();
  EXPECT_EQ(rig.driver.sink.count(), 0U);
  second_pin.reset();
  EXPECT_EQ(rig.driver.sink.count(), 1U);
  EXPECT_TRUE(rig.is_tag_free());
}

// Goal: each device drains its own mappings of a request, whichever device is stopped first.
TEST(Leaked, EachDeviceDrainsItsOwnMappingsOfARequest) {
  Rig rig;
  fake::Backend other_backend;
  fake::Device other{other_backend};
  rig.driver.claim(rig.in_flight_with_metadata(0, &other)).end_ok();
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
  EXPECT_EQ(rig.driver.state(), "2 finished") << "the other device may still write";
  EXPECT_EQ(other_backend.live_count(), 1U);
  EXPECT_EQ(other.drain(other.declare_stopped()), 1U);
  EXPECT_EQ(rig.driver.sink.count(), 1U);
  EXPECT_TRUE(rig.is_tag_free());
}

// Goal: a request that is requeued with its mappings in its data is issued again after the stop.
TEST(Leaked, MappingsOfARequestThatIsRequeuedAreFoundToo) {
  Rig rig;
  rig.driver.claim(rig.in_flight_with_metadata()).requeue();
  EXPECT_EQ(rig.driver.sink.count(), 0U);
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 2U);
  ASSERT_EQ(rig.driver.sink.count(), 1U);
  EXPECT_TRUE(rig.driver.sink.last().is_requeue);
  rig.driver.sink.requeued.pop_front().value().into_idle().fail(Status::aborted);
}

// Goal: a mapping that was never activated is found too. The bounced bytes are not copied back,
// because the device has not seen the mapping.
TEST(Leaked, APreparedMappingIsFoundToo) {
  Rig rig{Rig::Bounce::yes};
  rig.only_slots_in_reach();
  Claim claim = rig.unpublished();
  std::optional prepared{support::take_value(rig.map(claim, {rig.part(0, 64)}))};
  const EndProof before = rig.device.declare_stopped();
  std::move(claim).end(Status::aborted);
  rig.memory.fill(std::byte{0x22});
  ASSERT_EQ(rig.quarantined().size(), 1U);
  EXPECT_EQ(rig.quarantined()[0].reason, QuarantineReason::leaked);
  EXPECT_EQ(rig.device.drain(before), 1U);
  EXPECT_EQ(rig.backend.live_count(), 0U);
  EXPECT_EQ(rig.pool.free_slots(), 4U);
  EXPECT_TRUE(rig.is_all(0, 64, std::byte{0x22}));
  EXPECT_EQ(rig.driver.sink.count(), 1U);
  prepared.reset();
  EXPECT_EQ(rig.driver.reports.count(), 0U);
  EXPECT_EQ(rig.backend.log.size(), 3U) << "unmapped once";
  EXPECT_TRUE(rig.is_tag_free());
}

TEST(Leaked, APreparedMappingThatIsDestroyedFirstIsUnmappedThere) {
  Rig rig;
  Claim claim = rig.unpublished();
  std::optional prepared{rig.prepared(claim)};
  std::optional second{
      support::take_value(dma::map(claim, rig.device, std::array{rig.part(1024, 8)},
                                   Direction::to_device, claim.data().metadata_iovas))};
  std::move(claim).end_ok();
  prepared.reset();
  EXPECT_EQ(rig.backend.live_count(), 1U);
  EXPECT_EQ(rig.device.quarantined_count(), 1U);
  second.reset();
  EXPECT_EQ(rig.backend.live_count(), 0U) << "out of quarantine";
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 0U);
  EXPECT_TRUE(rig.is_tag_free());
}

// Goal: after a drain the old handle is still in the request's data; the next I/O may assign over
// that handle without a report.
TEST(Leaked, TheNextIoAssignsItsMappingOverTheOldHandle) {
  Rig rig;
  rig.driver.claim(rig.in_flight()).end_ok();
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
  Claim claim = rig.unpublished();
  ASSERT_TRUE(claim.data().mapping.has_value());
  *claim.data().mapping = rig.active(claim);
  EXPECT_EQ(rig.driver.reports.count(), 0U);
  EXPECT_EQ(rig.device.quarantined_count(), 0U);
  EXPECT_EQ(rig.backend.live_count(), 1U);
  EXPECT_EQ(claim.data().mapping->cookie(), claim.next_cookie());
  rig.complete(rig.driver.publish(std::move(claim)));
  EXPECT_EQ(rig.backend.live_count(), 0U);
  EXPECT_TRUE(rig.is_tag_free());
}

// Goal: the reason belongs to the list's present mapping, not to its last one.
TEST(Leaked, IsNotTheReasonOfTheNextMapping) {
  Rig rig;
  rig.driver.claim(rig.in_flight()).end_ok();
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
  Claim claim = rig.unpublished();
  *claim.data().mapping = rig.active(claim);
  drop_mapping(rig, rig.driver.publish(std::move(claim)));
  ASSERT_EQ(rig.quarantined().size(), 1U);
  EXPECT_EQ(rig.quarantined()[0].reason, QuarantineReason::dropped);
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
}

// Goal: an old handle that is used and dropped during the list's next mapping does not touch that
// mapping.
TEST(Leaked, AnOldHandleDoesNotTouchTheNextMappingOfItsList) {
  Rig rig;
  dma::IovaList<1> list;
  const auto map = [&](Claim& claim) {
    return support::take_value(dma::map(claim, rig.device, std::array{rig.part(0, 8)},
                                        Direction::from_device, list))
        .activate();
  };
  Claim claim = rig.unpublished(0);
  std::optional old{map(claim)};
  rig.driver.claim(rig.driver.publish(std::move(claim))).end_ok();
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);

  Claim next = rig.unpublished(1);
  auto mapping = map(next);
  Claim found = rig.driver.claim(rig.driver.publish(std::move(next)));
  EXPECT_FALSE(old->renew(*EndProof::of(found), found));
  EXPECT_TRUE(std::move(*old).unmap(*EndProof::of(found)).has_value());
  old.reset();
  EXPECT_EQ(rig.backend.live_count(), 1U);
  EXPECT_EQ(rig.driver.reports.count(), 0U);
  EXPECT_TRUE(std::move(mapping).unmap(*EndProof::of(found)).has_value());
  EXPECT_EQ(rig.backend.live_count(), 0U);
  std::move(found).end_ok();
}

// --- a handle beside the request -------------------------------------------------------------

/// A mapping that is kept outside its request, whose I/O has ended. The device cannot distinguish
/// such a mapping from a leaked one: the handle or a drain unmaps the memory, whichever is first.
class Elsewhere : public testing::Test {
 protected:
  explicit Elsewhere(bool with_pin = false) {
    Claim claim = rig.driver.claim(rig.in_flight());
    if (with_pin) pin.emplace(claim.pin());
    mapping.emplace(rig.taken_out(claim));
    proof.emplace(*EndProof::of(claim));
    std::move(claim).end_ok();
  }
  void TearDown() override {
    EXPECT_EQ(rig.backend.live_count(), 0U);
    pin.reset();
    EXPECT_EQ(rig.backend.log.size(), 3U) << "unmapped once";
    EXPECT_EQ(std::ranges::count(rig.driver.sink.records(), 0U, &support::EndRecord::tag), 1);
    EXPECT_TRUE(rig.is_tag_free());
  }
  Rig rig;
  std::optional<dma::ActiveMapping> mapping;
  std::optional<EndProof> proof;
  std::optional<blkown::ARef<fake::Request>> pin;
};

/// The same while another party pins the request.
class ElsewhereBesideAPin : public Elsewhere {
 protected:
  ElsewhereBesideAPin() : Elsewhere{true} {}
};

TEST_F(Elsewhere, TheHandleUnmapsFirst) {
  EXPECT_TRUE(std::move(*mapping).unmap(*proof).has_value());
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 0U);
}

TEST_F(Elsewhere, TheHandleUnmapsOutOfQuarantine) {
  EXPECT_EQ(rig.device.quarantined_count(), 1U);
  EXPECT_TRUE(std::move(*mapping).unmap(*proof).has_value());
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 0U);
}

TEST_F(Elsewhere, InQuarantineTheProofHasToFitToo) {
  EXPECT_EQ(rig.device.quarantined_count(), 1U);
  Claim other = rig.driver.claim(rig.driver.in_flight(1));
  auto refused = std::move(*mapping).unmap(*EndProof::of(other));
  std::move(other).end_ok();
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(rig.backend.live_count(), 1U);
  EXPECT_TRUE(std::move(refused.error()).unmap(*proof).has_value());
}

TEST_F(Elsewhere, ADrainUnmapsFirstAndTheHandleHasNothingLeftToDo) {
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
  const auto unmapped = std::move(*mapping).unmap(*proof);
  ASSERT_TRUE(unmapped.has_value());
  EXPECT_EQ(*unmapped, dma::UnmapResult::unmapped) << "nothing is in quarantine";
}

TEST_F(Elsewhere, NorHasACancelAfterADrain) {
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
  Claim other = rig.unpublished(1);
  const auto cancelled = std::move(*mapping).cancel(other);
  ASSERT_TRUE(cancelled.has_value());
  EXPECT_EQ(*cancelled, dma::UnmapResult::unmapped);
  std::move(other).end_ok();
}

TEST_F(Elsewhere, ADrainUnmapsFirstAndTheHandleIsDroppedInSilence) {
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
  mapping.reset();
  EXPECT_EQ(rig.driver.reports.count(), 0U);
}

TEST_F(ElsewhereBesideAPin, TheHandleUnmapsFirst) {
  EXPECT_TRUE(std::move(*mapping).unmap(*proof).has_value());
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 0U);
}

TEST_F(ElsewhereBesideAPin, ADrainUnmapsFirst) {
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
  EXPECT_TRUE(std::move(*mapping).unmap(*proof).has_value());
}

TEST_F(ElsewhereBesideAPin, TheHandleUnmapsOutOfQuarantine) {
  EXPECT_EQ(rig.device.quarantined_count(), 1U);
  EXPECT_TRUE(std::move(*mapping).unmap(*proof).has_value());
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 0U);
}

TEST_F(Elsewhere, DroppedInQuarantineItStaysThere) {
  EXPECT_EQ(rig.device.quarantined_count(), 1U);
  mapping.reset();
  EXPECT_EQ(rig.device.quarantined_count(), 1U);
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
}

// --- other members ---------------------------------------------------------------------------

TEST(Device, ShowsTheMappingsThatExist) {
  Rig rig;
  std::vector<dma::Mapped> all;
  const auto look = [&] {
    all.clear();
    rig.device.for_each_mapping([&](const dma::Mapped& one) { all.push_back(one); });
  };
  look();
  EXPECT_TRUE(all.empty());
  Claim claim = rig.unpublished();
  auto prepared = rig.prepared(claim);
  look();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_FALSE(all[0].is_active);
  EXPECT_EQ(all[0].cookie, claim.next_cookie());
  EXPECT_EQ(all[0].direction, Direction::from_device);
  EXPECT_EQ(all[0].segments.size(), 1U);
  auto active = std::move(prepared).activate();
  look();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_TRUE(all[0].is_active);
  EXPECT_TRUE(std::move(active).cancel(claim).has_value());
  look();
  EXPECT_TRUE(all.empty());
  std::move(claim).end_ok();
}

TEST(Device, ShowsAMappingThatIsBeingUnmappedAsInactive) {
  Rig rig;
  const auto cookie = rig.in_flight();
  std::vector<bool> is_active;
  rig.backend.on_unmap = [&] {
    rig.device.for_each_mapping(
        [&](const dma::Mapped& one) { is_active.push_back(one.is_active); });
  };
  rig.complete(cookie);
  EXPECT_EQ(is_active, std::vector<bool>{false});
}

// Goal: a list that has mapped for the device before maps and unmaps without the device's lock.
// Method: another thread maps while this one visits the quarantine, which holds the lock.
TEST(Device, AListMapsAgainWhileTheQuarantineIsVisited) {
  Rig rig;
  rig.complete(rig.in_flight(1));
  drop_mapping(rig, rig.in_flight(0));
  std::atomic<bool> is_done{false};
  std::thread other;
  rig.device.for_each_quarantined([&](const dma::Quarantined&) {
    other = std::thread{[&] {
      rig.complete(rig.in_flight(1));
      is_done = true;
    }};
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{30};
    while (!is_done && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    EXPECT_TRUE(is_done) << "waits for the lock";
  });
  ASSERT_TRUE(other.joinable());
  other.join();
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
}

TEST(Device, KnowsItsBackendAndItsSlots) {
  Rig without;
  EXPECT_EQ(&without.device.backend(), &without.backend);
  EXPECT_EQ(without.device.bounce_pool(), nullptr);
  Rig with{Rig::Bounce::yes};
  EXPECT_EQ(with.device.bounce_pool(), &with.pool);
}

// Goal: a device and a free list can be destroyed in either order.
TEST(Device, AndItsListsGoInEitherOrder) {
  fake::Backend backend;
  std::array<std::byte, 8> memory{};
  support::Driver<fake::Request> driver;
  auto device = std::make_unique<fake::Device>(backend);
  auto lists = std::make_unique<std::array<dma::IovaList<1>, 3>>();
  Claim claim = driver.owned().into_claim();
  const auto use = [&](fake::Device& user, std::size_t i) {
    return dma::map(claim, user, std::array{blkown::Segment{memory.data(), 8}},
                    Direction::to_device, lists->at(i))
        .has_value();
  };
  for (std::size_t i = 0; i != 3; ++i) EXPECT_TRUE(use(*device, i));
  device.reset();
  fake::Device second{backend};
  for (std::size_t i = 0; i != 3; ++i) EXPECT_TRUE(use(second, 2 - i));
  lists.reset();
  EXPECT_EQ(second.quarantined_count(), 0U);
  std::move(claim).end_ok();
}

}  // namespace
