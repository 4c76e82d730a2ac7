// SPDX-License-Identifier: BSL-1.0
//
// Tests of the zones of the null block driver: the rules one by one, then random calls against the
// plain reference.

#include <gtest/gtest.h>

#include <array>
#include <blkown/status.hpp>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "null_block/zones.hpp"
#include "zones_reference.hpp"

namespace {

using blkown::Status;
using null_block::ZoneEntry;
using null_block::ZoneLayout;
using null_block::Zones;
using null_block::ZoneState;

constexpr ZoneLayout zones_of_64{.capacity_sectors = 512, .zone_sectors = 64};

/// Writes all of the sectors. Returns the status.
Status put(Zones& zones, std::uint64_t sector, std::uint64_t sectors) {
  const auto first = zones.begin_write(sector, sectors, false);
  if (!first) return first.error();
  EXPECT_EQ(*first, sector);
  zones.end_write(*first, sectors);
  return Status::ok;
}

TEST(NullBlockZones, AppendsAndWritesInOrderMoveTheWritePointer) {
  Zones zones{zones_of_64};
  EXPECT_EQ(zones.count(), 8U);
  EXPECT_EQ(put(zones, 64, 8), Status::ok);
  EXPECT_EQ(zones.zone(1).pointer, 72U);
  EXPECT_EQ(zones.zone(1).state, ZoneState::implicit_open);
  const auto appended = zones.begin_write(64, 16, true);
  ASSERT_TRUE(appended);
  EXPECT_EQ(*appended, 72U);
  zones.end_write(*appended, 16);
  EXPECT_EQ(zones.zone(1).pointer, 88U);
  EXPECT_EQ(put(zones, 64, 8), Status::io_error) << "before the write pointer";
  EXPECT_EQ(put(zones, 96, 8), Status::io_error) << "behind the write pointer";
  EXPECT_EQ(put(zones, 88, 41), Status::io_error) << "beyond the zone";
  EXPECT_EQ(put(zones, 88, 40), Status::ok);
  EXPECT_EQ(zones.zone(1).state, ZoneState::full);
  EXPECT_EQ(zones.zone(1).pointer, 128U);
  EXPECT_EQ(zones.begin_write(64, 1, true).error(), Status::io_error);
  EXPECT_EQ(zones.open_count(), 0U);
}

TEST(NullBlockZones, ACapacityBelowTheSizeEndsTheWrites) {
  Zones zones{{.capacity_sectors = 160, .zone_sectors = 64, .zone_capacity_sectors = 48}};
  EXPECT_EQ(zones.count(), 3U);
  EXPECT_EQ(put(zones, 0, 49), Status::io_error);
  EXPECT_EQ(put(zones, 0, 48), Status::ok);
  EXPECT_EQ(zones.zone(0), (ZoneEntry{0, 64, 48, 64, ZoneState::full}));
  EXPECT_EQ(zones.zone(2).length, 32U) << "the last zone is cut by the disk's end";
  EXPECT_EQ(zones.zone(2).capacity, 32U);
  EXPECT_EQ(put(zones, 128, 32), Status::ok);
  EXPECT_EQ(zones.zone(2).state, ZoneState::full);
}

TEST(NullBlockZones, AWriteThatTheMediumCutsShortMovesThePointerAsFarAsItGot) {
  Zones zones{zones_of_64};
  ASSERT_TRUE(zones.begin_write(0, 8, false));
  zones.end_write(0, 3);
  EXPECT_EQ(zones.zone(0).pointer, 3U);
  ASSERT_TRUE(zones.begin_write(64, 8, false));
  zones.end_write(64, 0);
  EXPECT_EQ(zones.zone(1), (ZoneEntry{64, 64, 64, 64, ZoneState::implicit_open}));
  EXPECT_EQ(zones.close(1), Status::ok);
  EXPECT_EQ(zones.zone(1).state, ZoneState::empty);
}

TEST(NullBlockZones, ConventionalZonesHaveNoOrderAndNoState) {
  Zones zones{{.capacity_sectors = 512, .zone_sectors = 64, .conventional_zones = 2}};
  EXPECT_EQ(put(zones, 70, 8), Status::ok);
  EXPECT_EQ(put(zones, 65, 8), Status::ok);
  EXPECT_EQ(zones.zone(1), (ZoneEntry{64, 64, 64, ZoneEntry::no_pointer, ZoneState::conventional}));
  EXPECT_EQ(zones.begin_write(64, 8, true).error(), Status::io_error);
  EXPECT_EQ(zones.open(1), Status::io_error);
  EXPECT_EQ(zones.close(1), Status::io_error);
  EXPECT_EQ(zones.finish(1), Status::io_error);
  EXPECT_EQ(zones.reset(1), Status::io_error);
  EXPECT_FALSE(zones.set_offline(1) || zones.set_read_only(1) || zones.set_online(1));
  EXPECT_EQ(zones.zone(2).state, ZoneState::empty);
}

TEST(NullBlockZones, OpenCloseFinishAndResetFollowTheStates) {
  Zones zones{zones_of_64};
  EXPECT_EQ(zones.close(0), Status::io_error) << "an empty zone";
  EXPECT_EQ(zones.open(0), Status::ok);
  EXPECT_EQ(zones.open(0), Status::ok);
  EXPECT_EQ(zones.zone(0).state, ZoneState::explicit_open);
  EXPECT_EQ(zones.close(0), Status::ok);
  EXPECT_EQ(zones.zone(0).state, ZoneState::empty) << "closed at its start";
  EXPECT_EQ(put(zones, 0, 8), Status::ok);
  EXPECT_EQ(zones.open(0), Status::ok);
  EXPECT_EQ(put(zones, 8, 8), Status::ok);
  EXPECT_EQ(zones.zone(0).state, ZoneState::explicit_open) << "a write leaves it the host's";
  EXPECT_EQ(zones.close(0), Status::ok);
  EXPECT_EQ(zones.close(0), Status::ok);
  EXPECT_EQ(zones.zone(0).state, ZoneState::closed);
  EXPECT_EQ(zones.active_count(), 1U);
  EXPECT_EQ(zones.finish(0), Status::ok);
  EXPECT_EQ(zones.finish(0), Status::ok);
  EXPECT_EQ(zones.zone(0), (ZoneEntry{0, 64, 64, 64, ZoneState::full}));
  EXPECT_EQ(zones.open(0), Status::io_error);
  EXPECT_EQ(zones.close(0), Status::io_error);
  EXPECT_EQ(zones.reset(0), Status::ok);
  EXPECT_EQ(zones.zone(0), (ZoneEntry{0, 64, 64, 0, ZoneState::empty}));
  EXPECT_EQ(zones.active_count(), 0U);
}

TEST(NullBlockZones, AWriteToOneZoneMoreClosesAZoneThatAWriteHasOpened) {
  Zones zones{{.capacity_sectors = 512, .zone_sectors = 64, .max_open = 2}};
  EXPECT_EQ(put(zones, 0, 1), Status::ok);
  EXPECT_EQ(put(zones, 64, 1), Status::ok);
  EXPECT_EQ(put(zones, 128, 1), Status::ok);
  EXPECT_EQ(zones.zone(0).state, ZoneState::closed);
  EXPECT_EQ(put(zones, 1, 1), Status::ok);
  EXPECT_EQ(zones.zone(1).state, ZoneState::closed) << "the next in turn";
  EXPECT_EQ(zones.open(0), Status::ok);
  EXPECT_EQ(zones.open(2), Status::ok);
  EXPECT_EQ(put(zones, 65, 1), Status::zone_open_resource) << "the host keeps both";
  EXPECT_EQ(zones.open(3), Status::zone_open_resource);
  EXPECT_EQ(zones.finish(3), Status::zone_open_resource);
  EXPECT_EQ(zones.zone(1).pointer, 65U);
  EXPECT_EQ(zones.close(0), Status::ok);
  EXPECT_EQ(put(zones, 65, 1), Status::ok);
}

TEST(NullBlockZones, TheActiveZonesAreLimitedToo) {
  Zones zones{{.capacity_sectors = 512, .zone_sectors = 64, .max_open = 1, .max_active = 2}};
  EXPECT_EQ(put(zones, 0, 1), Status::ok);
  EXPECT_EQ(put(zones, 64, 1), Status::ok);
  EXPECT_EQ(put(zones, 128, 1), Status::zone_active_resource);
  EXPECT_EQ(zones.open(2), Status::zone_active_resource);
  EXPECT_EQ(zones.zone(2).state, ZoneState::empty);
  EXPECT_EQ(put(zones, 1, 1), Status::ok) << "a closed zone is active already";
  EXPECT_EQ(zones.zone(1).state, ZoneState::closed);
  EXPECT_EQ(zones.finish(1), Status::ok);
  EXPECT_EQ(put(zones, 128, 1), Status::ok);
}

TEST(NullBlockZones, AZoneThatTheDeviceRetiresIsNoLongerWritten) {
  Zones zones{{.capacity_sectors = 512, .zone_sectors = 64, .max_open = 1}};
  EXPECT_EQ(put(zones, 0, 8), Status::ok);
  EXPECT_TRUE(zones.set_read_only(0));
  EXPECT_EQ(zones.zone(0), (ZoneEntry{0, 64, 64, ZoneEntry::no_pointer, ZoneState::read_only}));
  EXPECT_EQ(zones.open_count(), 0U);
  EXPECT_EQ(zones.check_read(0), Status::ok);
  EXPECT_EQ(put(zones, 8, 8), Status::io_error);
  EXPECT_TRUE(zones.set_offline(0));
  EXPECT_EQ(zones.check_read(63), Status::io_error);
  for (const Status status : {zones.open(0), zones.close(0), zones.finish(0), zones.reset(0)}) {
    EXPECT_EQ(status, Status::io_error);
  }
  EXPECT_FALSE(zones.can_reset(0));
  EXPECT_TRUE(zones.set_online(0));
  EXPECT_FALSE(zones.set_online(0));
  EXPECT_EQ(zones.zone(0).state, ZoneState::empty);
  EXPECT_EQ(put(zones, 0, 8), Status::ok);
}

TEST(NullBlockZones, EachStateHasAName) {
  std::string names;
  for (std::size_t i = 0; i <= null_block::zone_state_count; ++i) {
    names += std::string{to_string(static_cast<ZoneState>(i))} + ' ';
  }
  EXPECT_EQ(names,
            "empty implicit_open explicit_open closed full read_only offline conventional unknown"
            " state ");
}

/// One random call on both. Returns whether both gave the same answer.
bool agree_on_a_call(Zones& zones, zones_reference::Reference& reference, std::mt19937_64& dice) {
  const auto index = static_cast<std::uint32_t>(dice() % zones.count());
  const ZoneEntry& zone = zones.zone(index);
  switch (dice() % 40) {
    case 0: return zones.open(index) == reference.open(index);
    case 1: return zones.close(index) == reference.close(index);
    case 2: return zones.finish(index) == reference.finish(index);
    case 3:
    case 4: return zones.reset(index) == reference.reset(index);
    case 5:
      for (std::uint32_t i = 0; i != zones.count(); ++i) {
        if (!zones.can_reset(i)) continue;
        EXPECT_EQ(zones.reset(i), Status::ok);
      }
      reference.reset_all();
      return true;
    case 6: return zones.set_offline(index) == reference.retire(index, ZoneState::offline);
    case 7: return zones.set_read_only(index) == reference.retire(index, ZoneState::read_only);
    case 8:
    case 9:
    case 10: return zones.set_online(index) == reference.bring_back(index);
    default: break;
  }
  const bool is_append = dice() % 2 == 0;
  const bool is_at_pointer = zone.pointer < zone.start + zone.length && dice() % 8 != 0;
  std::uint64_t sector = is_at_pointer ? zone.pointer : zone.start + dice() % zone.length;
  const std::uint64_t sectors = dice() % (zone.start + zone.length - sector) + 1;
  if (is_append) sector = zone.start;
  const std::uint64_t written = dice() % 8 == 0 ? dice() % (sectors + 1) : sectors;
  const auto first = zones.begin_write(sector, sectors, is_append);
  if (first) zones.end_write(*first, written);
  return (first ? Status::ok : first.error()) ==
         reference.write(sector, sectors, is_append, written);
}

// Goal: after each of many random calls, each zone and each count is what the reference says.
TEST(NullBlockZones, AgreeWithThePlainReferenceAfterEachCall) {
  std::mt19937_64 dice{20};
  for (int round = 0; round != 400; ++round) {
    const std::uint64_t zone_sectors = 1 + dice() % 16;
    const ZoneLayout layout{.capacity_sectors = 1 + dice() % (zone_sectors * 12),
                            .zone_sectors = zone_sectors,
                            .zone_capacity_sectors = dice() % (zone_sectors + 1),
                            .conventional_zones = static_cast<std::uint32_t>(dice() % 3),
                            .max_open = static_cast<std::uint32_t>(dice() % 4),
                            .max_active = static_cast<std::uint32_t>(dice() % 5)};
    Zones zones{layout};
    zones_reference::Reference reference{layout};
    for (int call = 0; call != 300; ++call) {
      ASSERT_TRUE(agree_on_a_call(zones, reference, dice)) << "round " << round << " call " << call;
      ASSERT_EQ(zones.open_count(), reference.open_count());
      ASSERT_EQ(zones.active_count(), reference.active_count());
      for (std::uint32_t i = 0; i != zones.count(); ++i) {
        ASSERT_EQ(zones.zone(i), reference.zone(i)) << "zone " << i << " round " << round;
      }
      ASSERT_TRUE(layout.max_open == 0 || zones.open_count() <= layout.max_open);
      ASSERT_TRUE(layout.max_active == 0 || zones.active_count() <= layout.max_active);
    }
  }
}

}  // namespace
