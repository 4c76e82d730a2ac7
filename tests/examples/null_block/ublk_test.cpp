// SPDX-License-Identifier: BSL-1.0
//
// Goal: a zoned null block disk does what the kernel's ublk driver asks, and answers with the
// kernel's numbers.
// Method: a file in memory takes the place of the character device. Tag n's data is where the
// kernel has it.

#include <gtest/gtest.h>
#include <linux/blkzoned.h>
#include <linux/ublk_cmd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "null_block/null_block.hpp"
#include "null_block/zoned_ublk.hpp"
#include "storage/descriptor.hpp"

namespace {

namespace mq = blkown::mq;
using null_block::ZonedUblk;
using null_block::ZonedUblkOp;

/// A disk of 8 zones of 128 sectors behind a character device.
class UblkWorld {
 public:
  using Disk = null_block::NullDisk<mq::LoopRuntime>;

  explicit UblkWorld(const std::string& more = {}) : device{memfd_create("ublkc", MFD_CLOEXEC)} {
    const auto config = null_block::parse_config(
        "size=512k,blocksize=512,memory_backed=1,zone_size=64k" + (more.empty() ? "" : "," + more),
        {.zoned = 1});
    EXPECT_TRUE(config.has_value());
    auto made = Disk::create(*config, runtime);
    EXPECT_TRUE(made.has_value());
    disk = *std::move(made);
    ublk = std::make_unique<ZonedUblk>(*disk, runtime, device.get());
  }

  [[nodiscard]] static off_t position_of(std::uint16_t tag) {
    return static_cast<off_t>(UBLKSRV_IO_BUF_OFFSET + (std::uint64_t{tag} << 25));
  }
  ZonedUblk::Result run(unsigned op, std::uint64_t sector, std::uint32_t sectors,
                        std::uint16_t tag = 3) {
    ublksrv_io_desc command{};
    command.op_flags = op;
    command.nr_sectors = sectors;
    command.start_sector = sector;
    return ublk->execute(tag, command);
  }
  ZonedUblk::Result run(ZonedUblkOp op, std::uint64_t sector, std::uint32_t sectors = 0,
                        std::uint16_t tag = 3) {
    return run(static_cast<unsigned>(op), sector, sectors, tag);
  }
  /// The kernel has data for a write.
  void put(std::size_t bytes, char value, std::uint16_t tag = 3) const {
    const std::vector<char> data(bytes, value);
    ASSERT_EQ(::pwrite(device.get(), data.data(), bytes, position_of(tag)),
              static_cast<ssize_t>(bytes));
  }
  /// The first bytes that the kernel has got.
  [[nodiscard]] std::string got(std::size_t bytes, std::uint16_t tag = 3) const {
    std::string data(bytes, '?');
    EXPECT_EQ(::pread(device.get(), data.data(), bytes, position_of(tag)),
              static_cast<ssize_t>(bytes));
    return data;
  }
  [[nodiscard]] blk_zone zone(std::uint64_t sector) {
    EXPECT_EQ(run(ZonedUblkOp::report_zones, sector, 1).result, INT32_MAX);
    blk_zone zone{};
    std::memcpy(&zone, got(sizeof(zone)).data(), sizeof(zone));
    return zone;
  }

  mq::LoopRuntime runtime;
  storage::Descriptor device;
  std::unique_ptr<Disk> disk;
  std::unique_ptr<ZonedUblk> ublk;
};

TEST(NullBlockUblk, TheParametersAreThoseOfTheDisk) {
  UblkWorld world{"zone_max_open=2,zone_max_active=3,cache_size=64k,max_sectors=256"};
  const auto params =
      null_block::zoned_params_of(world.disk->disk().config(), world.disk->disk().limits());
  EXPECT_EQ(params.basic.logical_bs_shift, 9);
  EXPECT_EQ(params.basic.physical_bs_shift, 12);
  EXPECT_EQ(params.basic.dev_sectors, 1024U);
  EXPECT_EQ(params.basic.chunk_sectors, 128U);
  EXPECT_EQ(params.basic.max_sectors, 256U);
  EXPECT_EQ(params.basic.attrs,
            static_cast<std::uint32_t>(UBLK_ATTR_VOLATILE_CACHE | UBLK_ATTR_FUA));
  EXPECT_EQ(params.max_open_zones, 2U);
  EXPECT_EQ(params.max_active_zones, 3U);
  EXPECT_EQ(params.max_zone_append_sectors, 256U);
  UblkWorld plain{"max_sectors=65536"};
  const auto bounded =
      null_block::zoned_params_of(plain.disk->disk().config(), plain.disk->disk().limits());
  EXPECT_EQ(bounded.basic.max_sectors, 1024U) << "the buffer of an I/O";
  EXPECT_EQ(bounded.max_zone_append_sectors, 1024U);
  EXPECT_EQ(bounded.basic.attrs, 0U);
}

TEST(NullBlockUblk, DataIsWhereTheTagSays) {
  UblkWorld world{"zone_nr_conv=1"};
  world.put(1024, 'a', 0);
  world.put(1024, 'b', 7);
  EXPECT_EQ(world.run(UBLK_IO_OP_WRITE, 0, 2, 0).result, 1024);
  EXPECT_EQ(world.run(UBLK_IO_OP_WRITE, 128, 2, 7).result, 1024);
  EXPECT_EQ(world.run(UBLK_IO_OP_READ, 128, 2, 1).result, 1024);
  EXPECT_EQ(world.got(1024, 1), std::string(1024, 'b'));
  EXPECT_EQ(world.run(UBLK_IO_OP_READ, 1, 2, 2).result, 1024);
  EXPECT_EQ(world.got(1024, 2), std::string(512, 'a') + std::string(512, '\0'));
  EXPECT_EQ(world.run(UBLK_IO_OP_FLUSH, 0, 0).result, 0);
}

TEST(NullBlockUblk, AWriteWithFuaIsDurable) {
  UblkWorld world{"zone_nr_conv=1,cache_size=64k"};
  world.put(512, 'a');
  EXPECT_EQ(world.run(UBLK_IO_OP_WRITE | UBLK_IO_F_FUA, 0, 1).result, 512);
  EXPECT_EQ(world.run(UBLK_IO_OP_WRITE, 1, 1).result, 512);
  world.disk->power_off();
  EXPECT_EQ(world.run(UBLK_IO_OP_READ, 0, 1).result, -ENODEV);
  world.disk->power_on();
  EXPECT_EQ(world.run(UBLK_IO_OP_READ, 0, 2).result, 1024);
  EXPECT_EQ(world.got(1024), std::string(512, 'a') + std::string(512, '\0'));
}

TEST(NullBlockUblk, AnAppendSaysWhere) {
  UblkWorld world;
  world.put(1024, 'a');
  auto done = world.run(ZonedUblkOp::zone_append, 128, 2);
  EXPECT_EQ(done.result, 1024);
  EXPECT_EQ(done.sector, 128U);
  done = world.run(ZonedUblkOp::zone_append, 128, 1);
  EXPECT_EQ(done.result, 512);
  EXPECT_EQ(done.sector, 130U);
  EXPECT_EQ(world.run(UBLK_IO_OP_WRITE, 130, 1).result, -EIO) << "not at the write pointer";
}

TEST(NullBlockUblk, ZonesAreManagedAndReportedInTheKernelsWords) {
  UblkWorld world{"zone_nr_conv=1,zone_capacity=48k"};
  world.put(512, 'a');
  blk_zone zone = world.zone(0);
  EXPECT_EQ(zone.type, BLK_ZONE_TYPE_CONVENTIONAL);
  EXPECT_EQ(zone.cond, BLK_ZONE_COND_NOT_WP);
  zone = world.zone(128);
  EXPECT_EQ(zone.type, BLK_ZONE_TYPE_SEQWRITE_REQ);
  EXPECT_EQ(zone.cond, BLK_ZONE_COND_EMPTY);
  EXPECT_EQ(zone.start, 128U);
  EXPECT_EQ(zone.len, 128U);
  EXPECT_EQ(zone.capacity, 96U);
  EXPECT_EQ(zone.wp, 128U);
  EXPECT_EQ(world.run(ZonedUblkOp::zone_append, 128, 1).result, 512);
  EXPECT_EQ(world.zone(128).cond, BLK_ZONE_COND_IMP_OPEN);
  EXPECT_EQ(world.zone(128).wp, 129U);
  EXPECT_EQ(world.run(ZonedUblkOp::zone_open, 128).result, 0);
  EXPECT_EQ(world.zone(128).cond, BLK_ZONE_COND_EXP_OPEN);
  EXPECT_EQ(world.run(ZonedUblkOp::zone_close, 128).result, 0);
  EXPECT_EQ(world.zone(128).cond, BLK_ZONE_COND_CLOSED);
  EXPECT_EQ(world.run(ZonedUblkOp::zone_finish, 128).result, 0);
  EXPECT_EQ(world.zone(128).cond, BLK_ZONE_COND_FULL);
  EXPECT_EQ(world.run(ZonedUblkOp::zone_reset, 128).result, 0);
  EXPECT_EQ(world.zone(128).cond, BLK_ZONE_COND_EMPTY);
  EXPECT_TRUE(world.disk->set("zone_offline", "2").has_value());
  EXPECT_EQ(world.zone(256).cond, BLK_ZONE_COND_OFFLINE);
  EXPECT_TRUE(world.disk->set("zone_readonly", "3").has_value());
  EXPECT_EQ(world.zone(384).cond, BLK_ZONE_COND_READONLY);
  EXPECT_EQ(world.run(ZonedUblkOp::zone_append, 512, 1).result, 512);
  EXPECT_EQ(world.run(ZonedUblkOp::zone_reset_all, 512).result, 0);
  EXPECT_EQ(world.zone(512).cond, BLK_ZONE_COND_EMPTY);
}

TEST(NullBlockUblk, AReportHasTheZonesThatThereAre) {
  // The last two ask for more zones than there are.
  for (const std::uint32_t count : {4U, 8U, 9U, UINT32_MAX}) {
    UblkWorld fresh;
    EXPECT_EQ(fresh.run(ZonedUblkOp::report_zones, 0, count).result, INT32_MAX);
    const off_t end = ::lseek(fresh.device.get(), 0, SEEK_END) - UblkWorld::position_of(3);
    EXPECT_EQ(end, static_cast<off_t>(std::min(count, 8U) * sizeof(blk_zone)));
  }
}

// Goal: what fails, fails with the number that the kernel's layer expects.
TEST(NullBlockUblk, ErrorsHaveTheKernelsNumbers) {
  UblkWorld world{"zone_max_open=1,zone_max_active=2"};
  world.put(512, 'a');
  EXPECT_EQ(world.run(ZonedUblkOp::zone_open, 0).result, 0);
  EXPECT_EQ(world.run(ZonedUblkOp::zone_open, 128).result, -ETOOMANYREFS);
  EXPECT_EQ(world.run(ZonedUblkOp::zone_append, 0, 1).result, 512);
  EXPECT_EQ(world.run(ZonedUblkOp::zone_close, 0).result, 0);
  EXPECT_EQ(world.run(ZonedUblkOp::zone_append, 128, 1).result, 512);
  EXPECT_EQ(world.run(ZonedUblkOp::zone_append, 256, 1).result, -EOVERFLOW);
  EXPECT_EQ(world.run(99U, 0, 1).result, -EOPNOTSUPP);
  EXPECT_EQ(world.run(UBLK_IO_OP_DISCARD, 0, 1).result, -EOPNOTSUPP);
  EXPECT_EQ(world.run(UBLK_IO_OP_READ, 1024, 1).result, -EINVAL);
  EXPECT_EQ(world.run(UBLK_IO_OP_READ, 0, 1025).result, -EINVAL) << "longer than the buffer";
  EXPECT_EQ(world.run(UBLK_IO_OP_WRITE, 0, 1025).result, -EIO);
  EXPECT_EQ(world.run(UBLK_IO_OP_WRITE, 256, 2, 9).result, -EIO) << "the kernel has no data";
  EXPECT_EQ(world.zone(256).wp, 256U);
  const auto& counts = world.ublk->counts();
  EXPECT_EQ(counts.failed, 8U);
  EXPECT_EQ(counts.appends, 3U);
  EXPECT_EQ(counts.managed, 3U);
  EXPECT_EQ(counts.reads, 2U);
  EXPECT_EQ(counts.writes, 2U);
  EXPECT_EQ(counts.reports, 1U);
}

}  // namespace
