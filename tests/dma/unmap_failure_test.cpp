// SPDX-License-Identifier: BSL-1.0
//
// Goal: what a backend could not unmap is not reused: the mapping goes into quarantine, with its
// request, its memory and its bounce slots, and a drain of the stopped device tries again.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "dma/fake_backend.hpp"

namespace {

using blkown::Status;
using fake::Claim;
using fake::Direction;
using fake::EndProof;
using fake::MapFailure;
using fake::Rig;
namespace dma = blkown::dma;
using dma::QuarantineReason;
using dma::UnmapResult;
using Log = std::vector<std::string>;

constexpr std::byte as_before{0x11};
constexpr std::byte written{0x33};

/// Unmaps with the completion's proof, and ends the I/O.
void unmap_and_end(Rig& rig, const blkown::Cookie& cookie) {
  Claim claim = rig.driver.claim(cookie);
  const std::size_t before = rig.device.quarantined_count();
  const auto result = Rig::taken_out(claim).unmap(*EndProof::of(claim));
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(*result, rig.device.quarantined_count() == before ? UnmapResult::unmapped
                                                              : UnmapResult::quarantined);
  std::move(claim).end(Status::ok);
}
/// Puts an I/O in flight with these segments.
[[nodiscard]] blkown::Cookie in_flight(Rig& rig, const std::vector<blkown::Segment>& segments) {
  Claim claim = rig.unpublished();
  claim.data().mapping.emplace(support::take_value(rig.map(claim, segments)).activate());
  return rig.driver.publish(std::move(claim));
}

TEST(UnmapFails, TheMappingStaysAndIsReported) {
  Rig rig;
  rig.backend.refuse_unmap = 0;
  const auto cookie = rig.in_flight(3);
  unmap_and_end(rig, cookie);
  ASSERT_EQ(rig.driver.reports.count(), 1U);
  const auto& [report, incident] = rig.driver.reports.last();
  EXPECT_EQ(report, blkown::Report::unmap_failed);
  EXPECT_STREQ(incident.operation, "unmap of a dma mapping");
  EXPECT_TRUE(incident.has_request);
  EXPECT_EQ(incident.queue, cookie.queue);
  EXPECT_EQ(incident.tag, cookie.tag);
  EXPECT_EQ(incident.state.generation, cookie.generation);

  EXPECT_EQ(rig.backend.live_count(), 1U);
  EXPECT_FALSE(rig.is_tag_free(3));
  EXPECT_EQ(rig.driver.sink.count(), 0U) << "the I/O has not ended";
  const auto all = rig.quarantined();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].reason, QuarantineReason::unmap_failed);
  EXPECT_EQ(all[0].cookie, cookie);
  EXPECT_EQ(all[0].segments[0], (dma::IovaSegment{0x1000, 512}));
  rig.device.for_each_mapping([&](const dma::Mapped& mapping) {
    EXPECT_EQ(mapping.quarantine, QuarantineReason::unmap_failed);
  });

  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
  EXPECT_EQ(rig.backend.live_count(), 0U);
  ASSERT_EQ(rig.driver.sink.count(), 1U);
  EXPECT_EQ(rig.driver.sink.last().status, Status::ok) << "the I/O's own status";
  EXPECT_TRUE(rig.is_tag_free(3));
}

// Goal: an unmap that succeeded is not called twice, because its address may be in use again.
TEST(UnmapFails, ADrainGoesOnWhereTheUnmapHasFailed) {
  Rig rig;
  rig.backend.refuse_unmap = 1;
  unmap_and_end(rig, in_flight(rig, {rig.part(0, 8), rig.part(16, 8), rig.part(32, 8)}));
  rig.backend.log.clear();
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
  EXPECT_EQ(rig.backend.log,
            (Log{"unmap 2000+8", "unmap 3000+8", "invalidate 1000+8 2000+8 3000+8"}));
  // The next mapping with the same list is unmapped from its first element on.
  rig.backend.log.clear();
  unmap_and_end(rig, in_flight(rig, {rig.part(0, 8), rig.part(16, 8)}));
  EXPECT_EQ(rig.backend.log, (Log{"map 4000+8", "map 5000+8", "unmap 4000+8", "unmap 5000+8",
                                  "invalidate 4000+8 5000+8"}));
}

TEST(UnmapFails, AnInvalidateThatFailsIsCalledAgain) {
  Rig rig;
  rig.backend.is_invalidate_refused = true;
  unmap_and_end(rig, in_flight(rig, {rig.part(0, 8), rig.part(16, 8)}));
  EXPECT_EQ(rig.driver.reports.count(), 1U);
  EXPECT_EQ(rig.driver.sink.count(), 0U);
  rig.backend.log.clear();
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 0U) << "it fails again";
  EXPECT_EQ(rig.device.quarantined_count(), 1U);
  rig.backend.is_invalidate_refused = false;
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
  EXPECT_EQ(rig.backend.log, (Log{"refused invalidate 1000+8 2000+8", "invalidate 1000+8 2000+8"}));
  EXPECT_TRUE(rig.is_tag_free());
}

// Goal: a list that cannot be unmapped does not keep a drain from the others, or from its end.
TEST(UnmapFails, ADrainTriesEachMappingOnce) {
  Rig rig;
  rig.backend.refuse_unmap = 0;
  unmap_and_end(rig, rig.in_flight(0));
  for (std::uint32_t tag = 1; tag != 3; ++tag) {
    Claim claim = rig.driver.claim(rig.in_flight(tag));
    claim.data().mapping.reset();
    std::move(claim).end_ok();
  }
  rig.backend.refuse_unmap = 2;  // the second one of the drain
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 2U);
  EXPECT_EQ(rig.device.quarantined_count(), 1U);
  EXPECT_EQ(rig.driver.reports.count(), 4U) << "two failures and two drops";
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
  EXPECT_EQ(rig.driver.sink.count(), 3U);
}

// Goal: two drains at a time do not give each other the lists that cannot be unmapped.
TEST(UnmapFails, ADrainDoesNotTryWhatALaterDrainHasTried) {
  Rig rig;
  rig.backend.is_invalidate_refused = true;
  unmap_and_end(rig, rig.in_flight(0));
  unmap_and_end(rig, rig.in_flight(1));
  const EndProof proof = rig.device.declare_stopped();
  rig.backend.log.clear();
  int nested = 0;
  rig.backend.on_invalidate = [&] {
    if (nested == 10) return;
    ++nested;
    const auto no_more = std::exchange(rig.backend.on_invalidate, nullptr);
    EXPECT_EQ(rig.device.drain(proof), 0U);
    rig.backend.on_invalidate = no_more;
  };
  EXPECT_EQ(rig.device.drain(proof), 0U);
  EXPECT_EQ(nested, 1);
  EXPECT_EQ(rig.backend.log.size(), 2U) << "each mapping once";
  rig.backend.on_invalidate = nullptr;
  rig.backend.is_invalidate_refused = false;
  EXPECT_EQ(rig.device.drain(proof), 2U);
}

// Goal: the drains of one device do not keep another one from the list, which it got later.
TEST(UnmapFails, EachDeviceDrainsAListThatHasMoved) {
  Rig rig;
  fake::Device other{rig.backend};
  for (fake::Device* const device : {&rig.device, &rig.device, &other}) {
    Claim claim = rig.unpublished();
    rig.add_metadata(claim, device);
    Claim found = rig.driver.claim(rig.driver.publish(std::move(claim)));
    found.data().metadata.reset();
    std::move(found).end_ok();
    EXPECT_EQ(device->quarantined_count(), 1U);
    EXPECT_EQ(device->drain(device->declare_stopped()), 1U);
  }
  EXPECT_EQ(rig.driver.sink.count(), 3U);
}

TEST(UnmapFails, OnlyAProofOfAStopCoversTheMapping) {
  Rig rig;
  const EndProof before = rig.device.declare_stopped();
  rig.backend.refuse_unmap = 0;
  unmap_and_end(rig, rig.in_flight());
  EXPECT_EQ(rig.device.drain(before), 0U);
  EXPECT_EQ(rig.device.quarantined_count(), 1U);
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
}

// Goal: the device may still write to the slot, so neither the slot nor its bytes are used before
// the drain.
TEST(UnmapFails, ABounceSlotStaysTakenAndIsCopiedBackByTheDrain) {
  Rig rig{Rig::Bounce::yes};
  rig.only_slots_in_reach();
  rig.backend.refuse_unmap = 1;
  const auto cookie = in_flight(rig, {rig.part(0, 100)});
  Claim claim = rig.driver.claim(cookie);
  rig.backend.write(claim.data().mapping->segments(), written);
  EXPECT_TRUE(Rig::taken_out(claim).unmap(*EndProof::of(claim)).has_value());
  std::move(claim).end_ok();
  EXPECT_EQ(rig.pool.free_slots(), 2U) << "of an unmapped element, too";
  EXPECT_TRUE(rig.is_all(0, 4096, as_before));
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
  EXPECT_EQ(rig.pool.free_slots(), 4U);
  EXPECT_TRUE(rig.is_all(0, 100, written));
  EXPECT_TRUE(rig.is_tag_free());
}

TEST(UnmapFails, AMappingThatTheDeviceHasNotSeenStaysToo) {
  Rig rig;
  rig.backend.refuse_unmap = 0;
  Claim claim = rig.unpublished();
  {
    const auto prepared = rig.prepared(claim);
  }
  EXPECT_EQ(rig.driver.state(), "3 claimed");
  EXPECT_EQ(rig.driver.reports.last().incident.state.generation, claim.next_cookie().generation)
      << "the publication that the memory is mapped for";
  EXPECT_EQ(rig.device.quarantined_count(), 1U);
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
  EXPECT_EQ(rig.driver.state(), "2 claimed");

  rig.backend.refuse_unmap = 2;
  EXPECT_EQ(*rig.active(claim).cancel(claim), UnmapResult::quarantined);
  EXPECT_EQ(rig.driver.state(), "3 claimed");
  EXPECT_EQ(rig.driver.reports.count(), 2U);
  std::move(claim).end_ok();
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
  EXPECT_TRUE(rig.is_tag_free());
}

TEST(UnmapFails, EachResultHasAName) {
  EXPECT_STREQ(to_string(UnmapResult::unmapped), "unmapped");
  EXPECT_STREQ(to_string(UnmapResult::quarantined), "quarantined");
  EXPECT_STREQ(to_string(static_cast<UnmapResult>(2)), "unknown result");
}

// Goal: a map that cannot undo its first elements keeps the request, because its memory is mapped.
TEST(UnmapFails, AMapThatFailsHalfWayPinsTheRequest) {
  Rig rig;
  Claim claim = rig.unpublished();
  rig.backend.refuse_map = 2;
  rig.backend.refuse_with = MapFailure::no_iova;
  rig.backend.refuse_unmap = 0;
  {
    const auto failed = rig.map(claim, {rig.part(0, 8), rig.part(16, 8), rig.part(32, 8)});
    ASSERT_FALSE(failed.has_value());
    EXPECT_EQ(failed.error(), (dma::MapError{MapFailure::unmap_failed, 2, 0}));
    EXPECT_EQ(failed.error().status(), Status::invalid);
  }
  EXPECT_EQ(rig.driver.reports.count(), 1U);
  EXPECT_EQ(rig.driver.state(), "3 claimed");
  EXPECT_EQ(rig.map(claim, {rig.part(0, 8)}).error().reason, MapFailure::list_in_use);
  ASSERT_EQ(rig.quarantined().size(), 1U);
  EXPECT_EQ(rig.quarantined()[0].segments.size(), 2U);
  std::move(claim).end(Status::invalid);
  EXPECT_EQ(rig.driver.sink.count(), 0U);
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
  EXPECT_EQ(rig.backend.live_count(), 0U);
  EXPECT_TRUE(rig.is_tag_free());
}

TEST(UnmapFails, CoherentMemoryStaysWithItsOwner) {
  Rig rig;
  auto ring = support::take_value(dma::Coherent<fake::Backend>::allocate(rig.device, 100));
  std::byte* const memory = ring.data();
  rig.backend.refuse_unmap = 0;
  auto refused = std::move(ring).free(rig.device.declare_stopped());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().data(), memory);
  ASSERT_EQ(rig.driver.reports.count(), 1U);
  EXPECT_EQ(rig.driver.reports.last().report, blkown::Report::unmap_failed);
  EXPECT_FALSE(rig.driver.reports.last().incident.has_request);
  EXPECT_EQ(rig.backend.live_count(), 1U);
  EXPECT_TRUE(std::move(refused.error()).free(rig.device.declare_stopped()).has_value());
}

TEST(UnmapFails, AbandonedCoherentMemoryStaysUntilADrainSucceeds) {
  Rig rig;
  for (int i = 0; i != 3; ++i) {
    const auto ring = support::take_value(dma::Coherent<fake::Backend>::allocate(rig.device, 100));
  }
  rig.backend.refuse_unmap = 1;
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 2U);
  EXPECT_EQ(rig.backend.live_count(), 1U);
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
  EXPECT_EQ(rig.backend.live_count(), 0U);
}

// Goal: a backend that unmaps a whole list at once does so in invalidate. Before that returns,
// nothing of the mapping is free.
TEST(UnmapByInvalidate, NothingIsReusedBeforeItReturns) {
  Rig rig{Rig::Bounce::yes};
  rig.only_slots_in_reach();
  rig.backend.unmaps_by_invalidate = true;
  const auto cookie = in_flight(rig, {rig.part(0, 100)});
  Claim claim = rig.driver.claim(cookie);
  int calls = 0;
  rig.backend.on_invalidate = [&] {
    ++calls;
    EXPECT_EQ(rig.pool.free_slots(), 2U);
    EXPECT_FALSE(claim.data().iovas.is_free());
    EXPECT_EQ(rig.driver.state(), "3 claimed");
    EXPECT_TRUE(rig.is_all(0, 4096, as_before));
    rig.backend.write(claim.data().iovas.segments(), written);
  };
  EXPECT_TRUE(Rig::taken_out(claim).unmap(*EndProof::of(claim)).has_value());
  EXPECT_EQ(calls, 1);
  EXPECT_TRUE(rig.is_all(0, 100, written));
  EXPECT_EQ(rig.pool.free_slots(), 4U);
  EXPECT_EQ(rig.backend.live_count(), 0U);
  rig.backend.on_invalidate = nullptr;
  std::move(claim).end_ok();
}

}  // namespace
