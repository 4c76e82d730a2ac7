// SPDX-License-Identifier: BSL-1.0
//
// Goal: dma::map maps each element once and pins the request, and a failure leaves nothing mapped
// and nothing pinned.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "dma/fake_backend.hpp"

namespace {

using fake::Claim;
using fake::Direction;
using fake::MapFailure;
using fake::Rig;
namespace dma = blkown::dma;
using Log = std::vector<std::string>;

TEST(Map, MakesTheBytesReachableAndPinsTheRequest) {
  Rig rig;
  Claim claim = rig.unpublished();
  EXPECT_EQ(rig.driver.state(), "0 owned");
  {
    const auto prepared =
        rig.map(claim, {rig.part(0, 512), rig.part(1024, 100)}, Direction::bidirectional);
    ASSERT_TRUE(prepared.has_value());
    EXPECT_EQ(rig.driver.state(), "3 claimed");
    const auto segments = prepared->segments();
    ASSERT_EQ(segments.size(), 2U);
    EXPECT_EQ(segments[0], (dma::IovaSegment{0x1000, 512}));
    EXPECT_EQ(segments[1], (dma::IovaSegment{0x2000, 100}));
    EXPECT_EQ(rig.backend.live(segments[1]).memory, rig.part(1024, 100));
    EXPECT_EQ(rig.backend.live(segments[1]).direction, Direction::bidirectional);
    EXPECT_EQ(rig.backend.live(segments[1]).cookie, claim.next_cookie());
  }
  std::move(claim).end_ok();
}

// Goal: a mapping that the device has never seen is unmapped without proof, in the usual order.
TEST(Map, APreparedMappingThatIsDroppedIsUnmapped) {
  Rig rig;
  Claim claim = rig.unpublished();
  {
    const auto prepared = rig.map(claim, {rig.part(0, 512), rig.part(1024, 100)});
  }
  EXPECT_EQ(rig.backend.log, (Log{"map 1000+512", "map 2000+100", "unmap 1000+512",
                                  "unmap 2000+100", "invalidate 1000+512 2000+100"}));
  EXPECT_EQ(rig.driver.state(), "2 claimed");
  EXPECT_TRUE(claim.data().iovas.is_free());
  EXPECT_EQ(rig.driver.reports.count(), 0U);
  std::move(claim).end_ok();
  EXPECT_TRUE(rig.is_tag_free());
}

TEST(Map, NeighboursAreOneElement) {
  Rig rig;
  Claim claim = rig.unpublished();
  {
    const auto prepared = rig.map(claim, {rig.part(0, 512), rig.part(512, 512)});
    EXPECT_EQ(rig.backend.log, (Log{"map 1000+1024"}));
  }
  std::move(claim).end_ok();
}

TEST(Map, KeepsToTheDevicesLimits) {
  Rig rig;
  rig.backend.place(rig.memory.data(), 0x400);
  rig.backend.settings.max_segment_bytes = 300;
  rig.backend.settings.boundary_mask = 0x1FF;
  Claim claim = rig.unpublished();
  {
    const auto prepared = rig.map(claim, {rig.part(500, 400)});
    EXPECT_EQ(rig.backend.log, (Log{"map 1000+12", "map 2000+300", "map 3000+88"}));
  }
  std::move(claim).end_ok();
}

// Goal: constant bytes need no cast, and no bounce slot is copied back over them.
TEST(Map, TakesConstantBytesForTheDevice) {
  Rig rig{Rig::Bounce::yes};
  rig.only_slots_in_reach();
  static constexpr std::array<std::byte, 8> constant{std::byte{5}, std::byte{6}};
  Claim claim = rig.unpublished();
  auto mapping =
      support::take_value(dma::map_to_device(claim, rig.device, constant, claim.data().iovas))
          .activate();
  EXPECT_EQ(mapping.direction(), Direction::to_device);
  EXPECT_EQ(rig.backend.read(mapping.segments()),
            (std::vector<std::byte>(constant.begin(), constant.end())));
  const auto cookie = rig.driver.publish(std::move(claim));
  rig.backend.write(mapping.segments(), std::byte{9});
  Claim found = rig.driver.claim(cookie);
  EXPECT_TRUE(std::move(mapping).unmap(*dma::EndProof::of(found)).has_value());
  std::move(found).end_ok();
}

// Goal: NVMe's pieces of a page each are no element that lies across two pages.
TEST(Map, KeepsToTheVirtBoundary) {
  Rig rig;
  rig.backend.place(rig.memory.data(), 0x400);
  rig.backend.settings.max_segment_bytes = 512;
  rig.backend.settings.virt_boundary_mask = 0x1FF;
  Claim claim = rig.unpublished();
  {
    const auto prepared =
        rig.map(claim, {rig.part(100, 412), rig.part(512, 512), rig.part(1024, 76)});
    EXPECT_EQ(rig.backend.log, (Log{"map 1000+412", "map 2000+512", "map 3000+76"}));
  }
  std::move(claim).end_ok();
}

/// A map that fails, and the checks that nothing has changed.
class MapFails : public testing::Test {
 protected:
  explicit MapFails(Rig::Bounce bounce = Rig::Bounce::no) : rig{bounce} {
    rig.backend.place(rig.memory.data(), 0x10000);
  }

  void expect_failure(const std::vector<blkown::Segment>& segments, const dma::MapError& error) {
    {
      const auto failed = rig.map(claim, segments);
      ASSERT_FALSE(failed.has_value());
      EXPECT_EQ(failed.error(), error);
    }
    EXPECT_EQ(rig.backend.live_count(), 0U) << "something is still mapped";
    EXPECT_EQ(rig.driver.state(), "0 owned") << "something is still pinned";
    EXPECT_TRUE(claim.data().iovas.is_free());
    EXPECT_EQ(rig.pool.free_slots(), 4U);
    EXPECT_TRUE(rig.is_all(0, rig.memory.size(), std::byte{0x11}));
    EXPECT_EQ(rig.driver.reports.count(), 0U);
    // The list and the request can be used again.
    rig.backend.settings = {};
    rig.backend.refuse_map = ~std::size_t{0};
    EXPECT_TRUE(rig.map(claim, {rig.part(0, 8)}).has_value());
  }
  void TearDown() override {
    EXPECT_EQ(rig.backend.live_count(), 0U);
    std::move(claim).end_ok();
    EXPECT_TRUE(rig.is_tag_free());
  }

  Rig rig;
  Claim claim = rig.unpublished();
};
class MapWithSlotsFails : public MapFails {
 protected:
  MapWithSlotsFails() : MapFails{Rig::Bounce::yes} { rig.only_slots_in_reach(); }
};

TEST_F(MapFails, OfNothing) { expect_failure({}, {MapFailure::no_bytes, 0, 0}); }
TEST_F(MapFails, OfEmptySegments) {
  expect_failure({rig.part(0, 0), rig.part(9, 0)}, {MapFailure::no_bytes, 0, 0});
}

TEST_F(MapFails, IfTheListIsTooShort) {
  rig.backend.settings.max_segment_bytes = 100;
  expect_failure({rig.part(0, 401)}, {MapFailure::list_too_short, 4, 4});
  EXPECT_EQ(rig.backend.log.at(4), "unmap 1000+100");
  EXPECT_EQ(rig.backend.log.at(8), "invalidate 1000+100 2000+100 3000+100 4000+100");
}

TEST_F(MapFails, IfTheDeviceTakesFewerElements) {
  rig.backend.settings.max_segments = 2;
  expect_failure({rig.part(0, 8), rig.part(16, 8), rig.part(32, 8)},
                 {MapFailure::too_many_segments, 2, 2});
}

TEST_F(MapFails, IfTheBackendRefusesTheFirst) {
  rig.backend.refuse_map = 0;
  expect_failure({rig.part(0, 8)}, {MapFailure::refused, 0, 0});
}

TEST_F(MapFails, IfTheBackendRefusesALaterOne) {
  rig.backend.refuse_map = 2;
  rig.backend.refuse_with = MapFailure::no_iova;
  expect_failure({rig.part(0, 8), rig.part(16, 8), rig.part(32, 8)}, {MapFailure::no_iova, 2, 0});
  EXPECT_EQ(Log(rig.backend.log.begin(), rig.backend.log.begin() + 5),
            (Log{"map 1000+8", "map 2000+8", "unmap 1000+8", "unmap 2000+8",
                 "invalidate 1000+8 2000+8"}));
}

TEST_F(MapFails, OfWhatTheDeviceCannotReachWithoutSlots) {
  rig.backend.settings.address_mask = 0x1000F;
  expect_failure({rig.part(0, 16), rig.part(32, 1)}, {MapFailure::unreachable, 1, 0x1000F});
}

// Goal: the error is that of the first element that fails, also if the list is too short for all.
TEST_F(MapFails, OfTheFirstElementOutOfReachBeforeTheListsEnd) {
  rig.backend.settings.address_mask = 0x1000F;
  expect_failure({rig.part(0, 16), rig.part(32, 1), rig.part(48, 1), rig.part(64, 1),
                  rig.part(80, 1), rig.part(96, 1)},
                 {MapFailure::unreachable, 1, 0x1000F});
}

// Goal: memory that no PRP list describes is refused for good.
TEST_F(MapFails, IfThereIsAGapOnTheVirtBoundary) {
  rig.backend.settings.virt_boundary_mask = 0x1FF;
  expect_failure({rig.part(0, 512), rig.part(1025, 8)}, {MapFailure::gap, 1, 0x1FF});
}
TEST_F(MapFails, IfALaterElementEndsOffTheVirtBoundary) {
  rig.backend.settings.virt_boundary_mask = 0x1FF;
  expect_failure({rig.part(0, 512), rig.part(1024, 100), rig.part(2048, 8)},
                 {MapFailure::gap, 2, 0x1FF});
}
TEST_F(MapFails, IfTheLimitsCutOffTheVirtBoundary) {
  rig.backend.settings.virt_boundary_mask = 0x1FF;
  rig.backend.settings.max_segment_bytes = 100;
  expect_failure({rig.part(0, 200)}, {MapFailure::gap, 1, 0x1FF});
}
// Goal: a shortage does not hide the gap: the I/O would be tried again for ever.
TEST_F(MapFails, IfThereIsAGapWhereTheDeviceIsFull) {
  rig.backend.settings.virt_boundary_mask = 0x1FF;
  rig.backend.pages = 4;
  rig.backend.refuse_map = 1;
  rig.backend.refuse_with = MapFailure::no_iova;
  expect_failure({rig.part(0, 8), rig.part(1024, 8)}, {MapFailure::gap, 1, 0x1FF});
}

TEST_F(MapWithSlotsFails, IfEverySlotIsTaken) {
  expect_failure({rig.part(0, 64), rig.part(128, 64), rig.part(256, 64), rig.part(512, 65)},
                 {MapFailure::list_too_short, 4, 4});
  rig.backend.settings.address_mask = 0xFFFF;
  std::byte* const other = rig.pool.take();
  {
    const auto failed = rig.map(claim, {rig.part(0, 256)});
    ASSERT_FALSE(failed.has_value());
    EXPECT_EQ(failed.error(), (dma::MapError{MapFailure::no_bounce_slot, 3, 0}));
  }
  EXPECT_EQ(rig.pool.free_slots(), 3U);
  rig.pool.give(other);
}

// Goal: the slot of the element that was refused is given back too.
TEST_F(MapWithSlotsFails, IfTheBackendRefusesASlot) {
  rig.backend.refuse_map = 1;
  expect_failure({rig.part(0, 128)}, {MapFailure::refused, 1, 0});
}

// Goal: a map with a list that is in use fails, and does not change the list's mapping.
TEST(Map, FailsIfAMappingUsesTheList) {
  Rig rig;
  Claim claim = rig.unpublished();
  {
    auto prepared = rig.prepared(claim);
    const auto second = rig.map(claim, {rig.part(0, 8)});
    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(second.error(), (dma::MapError{MapFailure::list_in_use, 0, 0}));
    EXPECT_EQ(prepared.segments()[0].length_bytes, 512U);
    EXPECT_EQ(rig.driver.state(), "3 claimed");
    const auto active = std::move(prepared).activate();
    EXPECT_EQ(rig.map(claim, {rig.part(0, 8)}).error().reason, MapFailure::list_in_use);
    EXPECT_EQ(active.segments()[0].length_bytes, 512U);
  }
  // A mapping in quarantine uses its list.
  EXPECT_EQ(rig.map(claim, {rig.part(0, 8)}).error().reason, MapFailure::list_in_use);
  EXPECT_EQ(rig.device.drain(rig.device.declare_stopped()), 1U);
  EXPECT_TRUE(rig.map(claim, {rig.part(0, 8)}).has_value());
  std::move(claim).end_ok();
}

TEST(Map, OneIoCanHaveSeveralMappings) {
  Rig rig;
  dma::IovaList<1> list;
  Claim claim = rig.unpublished();
  {
    const auto data = rig.prepared(claim);
    const auto metadata =
        dma::map(claim, rig.device, std::array{rig.part(1024, 8)}, Direction::to_device, list);
    ASSERT_TRUE(metadata.has_value());
    EXPECT_EQ(rig.driver.state(), "4 claimed");
    EXPECT_EQ(rig.backend.live_count(), 2U);
  }
  EXPECT_EQ(rig.driver.state(), "2 claimed");
  std::move(claim).end_ok();
}

// Goal: a list is attached to the device that it was last used for.
TEST(Map, AListMayServeOneDeviceAfterAnother) {
  Rig rig;
  fake::Backend other_backend;
  Claim claim = rig.unpublished();
  {
    fake::Device other{other_backend};
    const auto use_both = [&] {
      {
        const auto here = rig.prepared(claim);
      }
      const auto there = dma::map(claim, other, std::array{rig.part(0, 8)}, Direction::to_device,
                                  claim.data().iovas);
      ASSERT_TRUE(there.has_value());
      int seen = 0;
      rig.device.for_each_mapping([&](const dma::Mapped&) { ++seen; });
      EXPECT_EQ(seen, 0);
      other.for_each_mapping([&](const dma::Mapped&) { ++seen; });
      EXPECT_EQ(seen, 1);
    };
    use_both();
    use_both();
  }
  {
    const auto here = rig.prepared(claim);
  }
  EXPECT_EQ(other_backend.live_count(), 0U);
  std::move(claim).end_ok();
}

}  // namespace
