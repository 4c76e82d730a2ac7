// SPDX-License-Identifier: BSL-1.0
//
// Tests of a zoned null block disk: each parameter and each operation through the block layer.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <blkown/mq/mq.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "null_block/control.hpp"
#include "null_block/null_block.hpp"
#include "world.hpp"

namespace {

namespace mq = blkown::mq;
using blkown::Status;
using mq::Op;
using Condition = mq::Zone::Condition;
using null_world::TestBio;

/// A disk of 8 zones of 128 sectors, in blocks of 512 bytes, with more parameters.
struct ZonedWorld : null_world::World {
  explicit ZonedWorld(const std::string& more = {})
      : World{"size=512k,blocksize=512,memory_backed=1,zoned=1,zone_size=64k" +
              (more.empty() ? "" : "," + more)} {}

  /// An append. Its first sector is in `written`.
  Status append(std::uint64_t zone_sector, std::uint64_t sectors, unsigned value = 1) {
    TestBio bio{static_cast<std::size_t>(sectors) * mq::sector_bytes,
                static_cast<std::byte>(value)};
    const blkown::Segment memory{bio.memory.data(), bio.memory.size()};
    bio.bio.set_zone_append(zone_sector, std::span{&memory, 1}, bio.on_end());
    disk->disk().submit(runtime.context(0), bio.bio);
    finish(bio);
    written = bio.bio.written_sector();
    return bio.status();
  }
  Status manage(Op op, std::uint64_t zone_sector) {
    TestBio bio{0, {}};
    bio.bio.set_zone(op, zone_sector, bio.on_end());
    disk->disk().submit(runtime.context(0), bio.bio);
    finish(bio);
    return bio.status();
  }
  mq::Zone zone(std::uint64_t sector) {
    std::array<mq::Zone, 1> zones;
    EXPECT_EQ(disk->disk().report_zones(sector, zones), 1U);
    return zones[0];
  }
  std::uint64_t pointer(std::uint64_t sector) { return zone(sector).write_pointer_sector; }
  Condition condition(std::uint64_t sector) { return zone(sector).condition; }

  std::uint64_t written = 0;
};

std::string error_of(std::string_view text) {
  const auto made = null_block::parse_config(text);
  return made ? "" : made.error().text;
}

TEST(NullBlockZoned, RefusesZonesThatDoNotFitTheDisk) {
  const std::string zoned = "size=1m,blocksize=4k,zoned=1,zone_size=64k";
  EXPECT_EQ(error_of(zoned), "");
  EXPECT_EQ(error_of("size=1m,blocksize=4k,zoned=1,zone_size=6k"),
            "zone_size=6144: give a multiple of blocksize=4096");
  EXPECT_EQ(error_of(zoned + ",zone_capacity=6k"),
            "zone_capacity=6144: give a multiple of blocksize=4096");
  EXPECT_EQ(error_of(zoned + ",zone_capacity=128k"),
            "zone_capacity=131072: give at most zone_size=65536");
  EXPECT_EQ(error_of(zoned + ",zone_nr_conv=16"),
            "zone_nr_conv=16: give less than the number of zones, 16");
  EXPECT_EQ(error_of(zoned + ",zone_nr_conv=15"), "");
  EXPECT_EQ(error_of(zoned + ",zone_max_open=3,zone_max_active=2"),
            "zone_max_open=3: give at most zone_max_active=2");
  EXPECT_EQ(error_of(zoned + ",discard=1"), "discard=1: not with zoned=1");
  EXPECT_EQ(error_of(zoned + ",write_zeroes=1"), "write_zeroes=1: not with zoned=1");
  EXPECT_EQ(error_of(zoned + ",chunk_sectors=128"), "chunk_sectors=128: not with zoned=1");
  EXPECT_EQ(error_of("size=2t,blocksize=512,zoned=1,zone_size=512"),
            "size=2t: give a size from 512 to 70368744177664");
  EXPECT_EQ(error_of("size=1024g,blocksize=512,zoned=1,zone_size=512"),
            "zone_size=512: the disk would have more than 1048576 zones");
}

TEST(NullBlockZoned, TheDiskTellsItsZonesToSubmitters) {
  ZonedWorld world{
      "zone_capacity=48k,zone_nr_conv=1,zone_max_open=2,zone_max_active=3,rotational=1"};
  const mq::DiskConfig& config = world.disk->disk().config();
  EXPECT_TRUE(config.zoned && config.rotational);
  EXPECT_EQ(config.zone_sectors, 128U);
  EXPECT_EQ(config.max_open_zones, 2U);
  EXPECT_EQ(config.max_active_zones, 3U);
  std::vector<mq::Zone> zones(16);
  ASSERT_EQ(world.disk->disk().report_zones(0, zones), 8U);
  EXPECT_EQ(zones[0],
            (mq::Zone{0, 128, 128, ~std::uint64_t{0}, false, Condition::not_write_pointer}));
  EXPECT_EQ(zones[7], (mq::Zone{896, 128, 96, 896, true, Condition::empty}));
  EXPECT_EQ(world.disk->disk().report_zones(1000, zones), 1U);
}

TEST(NullBlockZoned, AppendsGoToTheWritePointerAndSayWhere) {
  ZonedWorld world;
  EXPECT_EQ(world.append(128, 4, 0x11), Status::ok);
  EXPECT_EQ(world.written, 128U);
  EXPECT_EQ(world.append(128, 2, 0x22), Status::ok);
  EXPECT_EQ(world.written, 132U);
  EXPECT_EQ(world.content(128, 8), "11 11 11 11 22 22 00 00");
  EXPECT_EQ(world.pointer(128), 134U);
  EXPECT_EQ(world.condition(128), Condition::implicit_open);
  EXPECT_EQ(world.append(130, 2), Status::invalid) << "not the zone's first sector";
}

TEST(NullBlockZoned, WritesFollowTheWritePointer) {
  ZonedWorld world;
  EXPECT_EQ(world.write(0, 4, 1), Status::ok);
  EXPECT_EQ(world.write(5, 1, 2), Status::io_error);
  EXPECT_EQ(world.write(0, 4, 2), Status::io_error);
  EXPECT_EQ(world.write(4, 124, 3), Status::ok);
  EXPECT_EQ(world.condition(0), Condition::full);
  EXPECT_EQ(world.append(0, 1), Status::io_error);
  EXPECT_EQ(world.content(2, 4), "01 01 03 03");
}

TEST(NullBlockZoned, NoRequestCrossesAZone) {
  ZonedWorld world;
  EXPECT_EQ(world.write(0, 256, 5), Status::ok);
  EXPECT_EQ(world.take_ranges(), "0+128 128+128");
  EXPECT_EQ(world.condition(128), Condition::full);
  EXPECT_EQ(world.content(126, 4), "05 05 05 05");
  EXPECT_EQ(world.take_ranges(), "126+2 128+2");
}

TEST(NullBlockZoned, ACapacityBelowTheSizeEndsTheWrites) {
  ZonedWorld world{"zone_capacity=48k"};
  EXPECT_EQ(world.append(0, 97), Status::io_error);
  EXPECT_EQ(world.append(0, 96, 7), Status::ok);
  EXPECT_EQ(world.condition(0), Condition::full);
  EXPECT_EQ(world.content(94, 4), "07 07 00 00") << "reads go on to the zone's end";
}

TEST(NullBlockZoned, AppendsHaveALimitOfTheirOwn) {
  ZonedWorld world{"zone_append_max_sectors=8"};
  EXPECT_EQ(world.append(0, 9), Status::invalid);
  EXPECT_EQ(world.append(0, 8), Status::ok);
  world.must_set("zone_append_max_sectors", "0");
  EXPECT_EQ(world.append(0, 8), Status::not_supported);
  EXPECT_EQ(world.disk->disk().limits().max_zone_append_sectors, 0U);
  ZonedWorld small{"max_sectors=16"};
  EXPECT_EQ(small.disk->disk().limits().max_zone_append_sectors, 16U);
}

TEST(NullBlockZoned, OpenCloseFinishAndReset) {
  ZonedWorld world;
  EXPECT_EQ(world.manage(Op::zone_open, 256), Status::ok);
  EXPECT_EQ(world.condition(256), Condition::explicit_open);
  EXPECT_EQ(world.append(256, 2, 9), Status::ok);
  EXPECT_EQ(world.manage(Op::zone_close, 256), Status::ok);
  EXPECT_EQ(world.condition(256), Condition::closed);
  EXPECT_EQ(world.manage(Op::zone_finish, 256), Status::ok);
  EXPECT_EQ(world.condition(256), Condition::full);
  EXPECT_EQ(world.pointer(256), 384U);
  EXPECT_EQ(world.content(256, 3), "09 09 00");
  EXPECT_EQ(world.manage(Op::zone_close, 256), Status::io_error);
  EXPECT_EQ(world.manage(Op::zone_reset, 256), Status::ok);
  EXPECT_EQ(world.condition(256), Condition::empty);
  EXPECT_EQ(world.content(256, 3), "00 00 00") << "a reset forgets the data";
}

TEST(NullBlockZoned, AResetOfAllZonesPassesByThoseWithoutAReset) {
  ZonedWorld world{"zone_nr_conv=1"};
  EXPECT_EQ(world.write(8, 2, 1), Status::ok);
  EXPECT_EQ(world.append(128, 2, 2), Status::ok);
  EXPECT_EQ(world.append(256, 2, 3), Status::ok);
  world.must_set("zone_readonly", "2");
  EXPECT_EQ(world.manage(Op::zone_reset_all, 0), Status::ok);
  EXPECT_EQ(world.content(8, 2), "01 01");
  EXPECT_EQ(world.content(128, 2), "00 00");
  EXPECT_EQ(world.content(256, 2), "03 03");
}

TEST(NullBlockZoned, ANewDisksZonesMayBeFull) {
  ZonedWorld world{"zone_full=1,zone_nr_conv=1,zone_capacity=48k,zone_max_active=1"};
  EXPECT_EQ(world.zone(0).condition, Condition::not_write_pointer);
  for (const std::uint64_t sector : {128U, 256U, 896U}) {
    EXPECT_EQ(world.condition(sector), Condition::full);
    EXPECT_EQ(world.append(sector, 1), Status::io_error);
  }
  EXPECT_EQ(world.content(128, 2), "00 00");
  EXPECT_EQ(world.manage(Op::zone_reset, 128), Status::ok);
  EXPECT_EQ(world.append(128, 1), Status::ok) << "full zones are not active";
}

TEST(NullBlockZoned, ConventionalZonesTakeWritesInAnyOrder) {
  ZonedWorld world{"zone_nr_conv=2"};
  EXPECT_EQ(world.write(200, 2, 1), Status::ok);
  EXPECT_EQ(world.write(100, 2, 2), Status::ok);
  EXPECT_EQ(world.write(200, 1, 3), Status::ok);
  EXPECT_EQ(world.content(200, 2), "03 01");
  EXPECT_EQ(world.append(128, 1), Status::io_error);
  EXPECT_EQ(world.manage(Op::zone_reset, 128), Status::io_error);
  EXPECT_EQ(world.append(256, 1), Status::ok);
}

TEST(NullBlockZoned, OpenAndActiveZonesAreLimited) {
  ZonedWorld world{"zone_max_open=1,zone_max_active=2"};
  EXPECT_EQ(world.append(0, 1), Status::ok);
  EXPECT_EQ(world.append(128, 1), Status::ok);
  EXPECT_EQ(world.condition(0), Condition::closed);
  EXPECT_EQ(world.append(256, 1), Status::zone_active_resource);
  EXPECT_EQ(world.manage(Op::zone_open, 128), Status::ok);
  EXPECT_EQ(world.append(0, 1), Status::zone_open_resource);
  EXPECT_EQ(world.manage(Op::zone_reset, 128), Status::ok);
  EXPECT_EQ(world.append(256, 1), Status::ok);
}

TEST(NullBlockZoned, ZonesGoOfflineAndReadOnlyAndComeBackEmpty) {
  ZonedWorld world{"zone_nr_conv=1"};
  EXPECT_EQ(world.append(128, 2, 4), Status::ok);
  EXPECT_EQ(world.append(256, 2, 5), Status::ok);
  world.must_set("zone_readonly", "1");
  world.must_set("zone_offline", "2-4");
  EXPECT_EQ(world.condition(128), Condition::read_only);
  EXPECT_EQ(world.content(128, 2), "04 04");
  EXPECT_EQ(world.append(128, 1), Status::io_error);
  EXPECT_EQ(world.condition(512), Condition::offline);
  EXPECT_EQ(world.run(Op::read, 256, 1), Status::io_error);
  EXPECT_EQ(world.manage(Op::zone_reset, 256), Status::io_error);
  world.must_set("zone_online", "1-4");
  EXPECT_EQ(world.condition(128), Condition::empty);
  EXPECT_EQ(world.content(128, 2), "00 00");
  EXPECT_EQ(world.content(256, 2), "00 00");
}

TEST(NullBlockZoned, AChangeOfZonesNamesWhatIsWrongAndChangesNothing) {
  ZonedWorld world{"zone_nr_conv=1"};
  const std::string range = ": give a zone from 0 to 7, or a range of zones";
  for (const char* const text : {"8", "", "x", "3-", "-3", "5-4", "3-8", "1-2-3"}) {
    world.must_refuse("zone_offline", text, std::string{"zone_offline="} + text + range);
  }
  world.must_refuse("zone_offline", "0-3", "zone_offline=0-3: zone 0 is conventional");
  world.must_refuse("zone_online", "1", "zone_online=1: zone 1 is empty");
  EXPECT_EQ(world.condition(128), Condition::empty);
  null_world::World flat{"size=1m"};
  flat.must_refuse("zone_readonly", "1", "zone_readonly=1: needs zoned=1");
}

// Goal: what a bad block leaves of a write is what the write pointer says.
TEST(NullBlockZoned, TheWritePointerStopsAtABadBlock) {
  ZonedWorld world;
  world.must_set("badblocks", "+130-130");
  EXPECT_EQ(world.append(128, 4, 1), Status::io_error);
  EXPECT_EQ(world.pointer(128), 128U);
  EXPECT_EQ(world.content(128, 2), "00 00");
  world.must_set("badblocks_partial_io", "1");
  EXPECT_EQ(world.append(128, 4, 2), Status::io_error);
  EXPECT_EQ(world.pointer(128), 130U);
  world.must_set("badblocks", "-130-130");
  EXPECT_EQ(world.content(128, 4), "02 02 00 00");
  EXPECT_EQ(world.append(128, 2, 3), Status::ok);
  EXPECT_EQ(world.written, 130U);
}

TEST(NullBlockZoned, AWriteThatFindsNoMemoryLeavesThePointerAndNoData) {
  ZonedWorld world{"memory_limit=4k"};
  EXPECT_EQ(world.append(0, 16, 1), Status::no_space);
  EXPECT_EQ(world.pointer(0), 0U);
  EXPECT_EQ(world.content(0, 2), "00 00");
  EXPECT_EQ(world.append(0, 8, 2), Status::ok);
}

// Goal: a power cut leaves no hole below a write pointer.
TEST(NullBlockZoned, APowerCutKeepsWhatTheWritePointerCovers) {
  ZonedWorld world{"cache_size=64k,zone_nr_conv=1"};
  EXPECT_EQ(world.write(0, 2, 1), Status::ok);
  EXPECT_EQ(world.append(128, 2, 2), Status::ok);
  EXPECT_EQ(world.write(130, 2, 3), Status::ok);
  world.cut_power();
  EXPECT_EQ(world.content(0, 2), "00 00") << "a conventional zone is cached";
  EXPECT_EQ(world.content(128, 4), "02 02 03 03");
  EXPECT_EQ(world.pointer(128), 132U);
}

// Goal: a command without power changes neither a zone nor its data.
TEST(NullBlockZoned, WithoutPowerEveryCommandFailsAndNoZoneChanges) {
  ZonedWorld world{"cache_size=64k,zone_nr_conv=1"};
  EXPECT_EQ(world.append(128, 4, 1), Status::ok);
  world.must_set("zone_readonly", "3");
  std::vector<mq::Zone> before(8);
  ASSERT_EQ(world.disk->disk().report_zones(0, before), 8U);
  world.disk->power_off();
  EXPECT_EQ(world.run(Op::read, 128, 4), Status::offline);
  EXPECT_EQ(world.run(Op::flush, 0, 0), Status::offline);
  EXPECT_EQ(world.write(0, 4, 2), Status::offline);
  for (const std::uint64_t sector : {std::uint64_t{128}, std::uint64_t{256}}) {
    EXPECT_EQ(world.write(world.pointer(sector), 4, 2), Status::offline);
    EXPECT_EQ(world.append(sector, 4, 2), Status::offline);
    for (const Op op : {Op::zone_open, Op::zone_close, Op::zone_finish, Op::zone_reset})
      EXPECT_EQ(world.manage(op, sector), Status::offline) << to_string(op);
  }
  EXPECT_EQ(world.manage(Op::zone_reset_all, 0), Status::offline);
  world.must_refuse("zone_online", "3", "zone_online=3: the power is off");
  world.must_refuse("zone_offline", "1", "zone_offline=1: the power is off");
  world.must_refuse("zone_readonly", "1", "zone_readonly=1: the power is off");
  world.disk->power_on();
  std::vector<mq::Zone> after(8);
  ASSERT_EQ(world.disk->disk().report_zones(0, after), 8U);
  EXPECT_EQ(after, before);
  EXPECT_EQ(world.content(128, 4), "01 01 01 01");
  EXPECT_EQ(world.manage(Op::zone_reset_all, 0), Status::ok);
}

TEST(NullBlockZoned, WithoutMemoryTheZonesHaveStatesAllTheSame) {
  null_world::World world{"size=512k,blocksize=512,zoned=1,zone_size=64k"};
  EXPECT_EQ(world.write(0, 4, 1), Status::ok);
  EXPECT_EQ(world.write(0, 4, 1), Status::io_error);
}

// Goal: each way in which a request ends reports the append's sector.
TEST(NullBlockZoned, EachCompletionReportsTheSector) {
  for (const char* const completion : {"none", "softirq", "timer"}) {
    ZonedWorld world{std::string{"completion="} + completion};
    EXPECT_EQ(world.append(0, 2), Status::ok);
    EXPECT_EQ(world.append(0, 2), Status::ok);
    EXPECT_EQ(world.written, 2U) << completion;
  }
}

TEST(NullBlockZoned, ZonesAreShownAndChangedByCommands) {
  ZonedWorld world{"zone_nr_conv=1,zone_capacity=48k"};
  EXPECT_EQ(world.append(128, 4), Status::ok);
  EXPECT_EQ(world.append(256, 96), Status::ok);
  const auto answer = [&](std::string_view line) {
    return null_block::answer_to(*world.disk, line);
  };
  EXPECT_EQ(answer("zone offline 5"), "ok\n");
  EXPECT_EQ(answer("zones"),
            "zone 0: not_write_pointer, sectors 0 to 127\n"
            "zone 1: implicit_open, sectors 128 to 255, the next write at 132\n"
            "zone 2: full, sectors 256 to 383\n"
            "zone 5: offline, sectors 640 to 767\nok\n");
  EXPECT_EQ(answer("zone online 5"), "ok\n");
  EXPECT_EQ(answer("zone readonly 6-7"), "ok\n");
  EXPECT_EQ(world.condition(896), Condition::read_only);
  EXPECT_EQ(answer("zone offline 9"),
            "error: zone_offline=9: give a zone from 0 to 7, or a range of zones\n");
  for (const char* const wrong : {"zone", "zone offline", "zone worn 5", "zone offline 5 6"}) {
    EXPECT_EQ(answer(wrong), "error: zone: give offline, readonly or online, and ZONES\n");
  }
  EXPECT_EQ(answer("zones 1"), "error: 'zones 1': see help\n");
}

TEST(NullBlockZoned, AtMostAThousandZonesAreShown) {
  null_world::World world{"size=1m,blocksize=512,zoned=1,zone_size=512,zone_full=1"};
  const std::string answer = null_block::answer_to(*world.disk, "zones");
  EXPECT_EQ(std::ranges::count(answer, '\n'), 1001);
  EXPECT_TRUE(answer.ends_with("zone 999: full, sectors 999 to 999\nok\n"));
}

}  // namespace
