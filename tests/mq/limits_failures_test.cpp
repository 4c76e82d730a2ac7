// SPDX-License-Identifier: BSL-1.0
//
// Goal: known failures of block layers with bios, limits and capacities do not occur on this one.
// Method: one test for each row in the table of tests/README.md. Each test repeats the events that
// led to the failure, or gives the limits that led to it.

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "mq/fake_driver.hpp"

namespace {

namespace mq = blkown::mq;
using blkown::Segment;
using blkown::Status;
using fake::Bench;
using fake::Ends;
using fake::whole;
using Mode = fake::Driver::Mode;

/// A driver whose zone appends are written 8 sectors behind the previous one.
struct AppendDriver : fake::Driver {
  Answer queue_rq(Hw&, QueueData&, blkown::Idle<Rq> idle, bool) override {
    auto owned = std::move(idle).start();
    mq::Payload<fake::Driver>& request = owned.data();
    targets.push_back(request.sector());
    if (requeues_next) {
      request.set_written_sector(request.sector() + 1);
      requeues_next = false;
      std::move(owned).requeue();
      return Answer::accepted();
    }
    if (reports) request.set_written_sector(request.sector() + written_sectors);
    written_sectors += request.length_bytes() / mq::sector_bytes;
    std::move(owned).end_ok();
    return Answer::accepted();
  }

  bool requeues_next = false;
  bool reports = true;
  std::vector<std::uint64_t> targets;
  std::uint64_t written_sectors = 0;
};

// btrfs zoned, 2021: the location that a zone append returns is taken for its target. Here the end
// callback submits the same bio again.
TEST(BlockLayerFailures, BtrfsTheLocationOfAZoneAppendReplacesItsTarget) {
  Bench<AppendDriver> bench{{.capacity_sectors = 256,
                             .limits = {.max_zone_append_sectors = 16},
                             .zoned = true,
                             .zone_sectors = 64}};
  Ends ends;
  std::vector<std::byte> memory(4096);
  const std::vector<Segment> parts{whole(memory)};
  mq::Bio append = mq::Bio::zone_append(128, parts, {&Ends::on_end, &ends});
  std::vector<std::uint64_t> written;
  ends.then = [&](mq::Bio& bio) {
    EXPECT_EQ(bio.sector(), 128U);
    EXPECT_EQ(bio.status(), Status::ok);
    written.push_back(bio.written_sector());
    if (ends.count != 4) bench.disk->submit(bench.context(), bio);
  };
  bench.disk->submit(bench.context(), append);
  bench.runtime.run();
  EXPECT_EQ(ends.count, 4);
  EXPECT_EQ(bench.driver.targets, (std::vector<std::uint64_t>{128, 128, 128, 128}));
  EXPECT_EQ(written, (std::vector<std::uint64_t>{128, 136, 144, 152}));
}

// The same error one step earlier: the place that an issue has reported is taken for the result of
// the next issue.
TEST(BlockLayerFailures, TheLocationOfARequeuedZoneAppendIsKept) {
  Bench<AppendDriver> bench{{.capacity_sectors = 256,
                             .limits = {.max_zone_append_sectors = 16},
                             .zoned = true,
                             .zone_sectors = 64}};
  bench.driver.requeues_next = true;
  bench.driver.reports = false;
  Ends ends;
  std::vector<std::byte> memory(4096);
  const std::vector<Segment> parts{whole(memory)};
  mq::Bio append = mq::Bio::zone_append(128, parts, {&Ends::on_end, &ends});
  bench.disk->submit(bench.context(), append);
  bench.runtime.run();
  EXPECT_EQ(append.status(), Status::ok);
  EXPECT_EQ(bench.driver.targets, (std::vector<std::uint64_t>{128, 128}));
  EXPECT_EQ(append.written_sector(), 128U);
}

// The place that a device has reported for one I/O is taken for the result of the bio's next I/O.
TEST(BlockLayerFailures, TheLocationOfAnEarlierZoneAppendIsKept) {
  Bench<AppendDriver> bench{{.capacity_sectors = 256,
                             .limits = {.max_zone_append_sectors = 16},
                             .zoned = true,
                             .zone_sectors = 64}};
  bench.driver.written_sectors = 8;
  Ends ends;
  std::vector<std::byte> memory(4096);
  const std::vector<Segment> parts{whole(memory)};
  mq::Bio append = mq::Bio::zone_append(128, parts, {&Ends::on_end, &ends});
  bench.disk->submit(bench.context(), append);
  bench.runtime.run();
  EXPECT_EQ(append.written_sector(), 136U);
  bench.driver.reports = false;
  bench.disk->submit(bench.context(), append);
  bench.runtime.run();
  EXPECT_EQ(append.status(), Status::ok);
  EXPECT_EQ(append.written_sector(), 128U);
}

// A device with one segment of 512 bytes and blocks of 4,096: the disk is made, and each I/O fails.
TEST(BlockLayerFailures, LimitsThatNoBlockCanObeyAreAccepted) {
  Bench bench{{.capacity_sectors = 1024,
               .logical_block_bytes = 4096,

               .limits = {.max_segments = 1, .max_segment_bytes = 512}}};
  EXPECT_EQ(bench.disk, nullptr);
}

/// A disk without a medium in memory.
struct Large {
  explicit Large(const mq::DiskConfig& config) : runtime{1, clock.hooks()} {
    disk = *mq::Disk<fake::Driver>::create(config, driver, runtime);
  }
  ~Large() { static_cast<void>(mq::remove(runtime, *disk)); }
  fake::Clock clock;
  fake::Driver driver;
  mq::LoopRuntime runtime;
  std::unique_ptr<mq::Disk<fake::Driver>> disk;
};

std::vector<std::uint64_t> lengths_of(const fake::Driver& driver) {
  std::vector<std::uint64_t> sectors;
  for (const fake::Seen& request : driver.seen) sectors.push_back(request.length_bytes / 512);
  return sectors;
}

// SPDK 745 and Linux's chunk_sectors: a request crosses a stripe or a zone.
TEST(BlockLayerFailures, SpdkARequestCrossesAStripe) {
  Bench bench{
      {.capacity_sectors = 1024,
       .limits = {
           .max_discard_sectors = 1024, .max_write_zeroes_sectors = 1024, .chunk_sectors = 24}}};
  Ends ends;
  auto data = fake::pattern(60 * 512, 1);
  std::vector<std::byte> back(data.size());
  mq::Bio write = mq::Bio::write(20, whole(data), {&Ends::on_end, &ends});
  bench.disk->submit(bench.context(), write);
  EXPECT_EQ(lengths_of(bench.driver), (std::vector<std::uint64_t>{4, 24, 24, 8}));
  bench.driver.seen.clear();
  mq::Bio read = mq::Bio::read(20, whole(back), {&Ends::on_end, &ends});
  bench.disk->submit(bench.context(), read);
  EXPECT_EQ(lengths_of(bench.driver), (std::vector<std::uint64_t>{4, 24, 24, 8}));
  EXPECT_EQ(back, data);
  bench.driver.seen.clear();
  mq::Bio discard = mq::Bio::discard(0, 30 * 512, {&Ends::on_end, &ends});
  mq::Bio zeroes = mq::Bio::write_zeroes(23, 2 * 512, {&Ends::on_end, &ends});
  bench.disk->submit(bench.context(), discard);
  bench.disk->submit(bench.context(), zeroes);
  EXPECT_EQ(lengths_of(bench.driver), (std::vector<std::uint64_t>{24, 6, 1, 1}));
  EXPECT_EQ(ends.statuses, (std::vector(4, Status::ok)));
}

TEST(BlockLayerFailures, SpdkARequestCrossesAZone) {
  Bench bench{{.capacity_sectors = 256,
               .limits = {.max_zone_append_sectors = 128},
               .zoned = true,
               .zone_sectors = 64}};
  Ends ends;
  std::vector<std::byte> memory(80 * 512);
  mq::Bio write = mq::Bio::write(60, whole(memory), {&Ends::on_end, &ends});
  bench.disk->submit(bench.context(), write);
  EXPECT_EQ(lengths_of(bench.driver), (std::vector<std::uint64_t>{4, 64, 12}));
  const std::vector<Segment> parts{whole(memory)};
  mq::Bio append = mq::Bio::zone_append(0, parts, {&Ends::on_end, &ends});
  bench.disk->submit(bench.context(), append);
  EXPECT_EQ(ends.statuses, (std::vector{Status::ok, Status::invalid})) << "larger than a zone";
}

// SPDK 2190, tcmu-runner 234 and 240, cloud-hypervisor 7858: a discard of more than 4 GiB is split
// at the limit, in the middle of a unit, and neither part frees it.
TEST(BlockLayerFailures, SpdkDiscardUnitsAreCutAtTheFourGiBSeam) {
  constexpr std::uint64_t unit = 2048;
  constexpr std::uint64_t four_gib = (std::uint64_t{1} << 32) / 512;
  for (const std::uint64_t first : {std::uint64_t{0}, std::uint64_t{40}}) {
    // The device's limit is 2^32 - 1 bytes, so the seam lies off a unit.
    Large large{{.capacity_sectors = 4 * four_gib,
                 .limits = {.max_discard_sectors = four_gib - 1,
                            .max_write_zeroes_sectors = four_gib - 1,
                            .discard_granularity_sectors = unit,
                            .discard_alignment_sectors = first,
                            .write_zeroes_granularity_sectors = unit,
                            .write_zeroes_alignment_sectors = first}}};
    Ends ends;
    const std::uint64_t sector = 1000;
    const std::uint64_t length_sectors = 2 * four_gib + 77;
    mq::Bio discard = mq::Bio::discard(sector, length_sectors * 512, {&Ends::on_end, &ends});
    mq::Bio zeroes = mq::Bio::write_zeroes(sector, length_sectors * 512, {&Ends::on_end, &ends});
    for (mq::Bio* bio : {&discard, &zeroes}) {
      large.driver.seen.clear();
      large.disk->submit(large.runtime.context(0), *bio);
      ASSERT_EQ(bio->status(), Status::ok);
      std::uint64_t next = sector;
      for (const fake::Seen& request : large.driver.seen) {
        EXPECT_EQ(request.sector, next);
        if (next != sector) {
          EXPECT_EQ(next % unit, first) << "a unit is cut";
        }
        EXPECT_LT(request.length_bytes / 512, four_gib);
        next += request.length_bytes / 512;
      }
      EXPECT_EQ(next, sector + length_sectors) << "the units at the ends are sent in part";
      EXPECT_EQ(large.driver.seen.size(), 3U);
    }
  }
}

// cloud-hypervisor 7735, Zephyr's NVMe driver, SPDK 753, Linux 23d598b5a60e: memory at an odd
// address reaches the device.
TEST(BlockLayerFailures, ZephyrMemoryAtAnOddAddressReachesTheDevice) {
  Bench bench{{.capacity_sectors = 1024,
               .limits = {.max_segment_bytes = 1023, .dma_alignment_mask = 3},
               .write_cache = true}};
  alignas(64) std::array<std::byte, 4096> memory{};
  const auto status_of = [&](std::vector<Segment> parts) {
    Ends ends;
    // With a preflush, whose request would be the first to cost a tag.
    mq::Bio bio = mq::Bio::write(0, parts, {&Ends::on_end, &ends}, {.preflush = true});
    bench.disk->submit(bench.context(), bio);
    bench.runtime.run();
    EXPECT_EQ(ends.count, 1);
    return bio.status();
  };
  std::byte* const at = memory.data();
  EXPECT_EQ(status_of({{at + 1, 512}}), Status::invalid);
  EXPECT_EQ(status_of({{at + 2, 512}}), Status::invalid);
  EXPECT_EQ(status_of({{at, 510}, {at + 1024, 2}}), Status::invalid) << "a length";
  EXPECT_EQ(status_of({{at, 508}, {at + 1022, 4}}), Status::invalid) << "the second segment";
  EXPECT_EQ(bench.disk->counters().started_requests, 0U);
  EXPECT_EQ(status_of({{at + 4, 508}, {at + 1, 0}, {at + 1024, 4}}), Status::ok)
      << "an empty segment is in no request";
  EXPECT_EQ(bench.driver.seen.size(), 2U) << "a flush and a write";
  bench.driver.mode = Mode::keep;
  Ends ends;
  mq::Bio longer = mq::Bio::write(0, Segment{at, 4096}, {&Ends::on_end, &ends});
  bench.disk->submit(bench.context(), longer);
  ASSERT_EQ(bench.driver.kept.size(), 1U);
  for (const Segment piece : bench.driver.kept.front().data().segments()) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(piece.data) % 4, 0U);
    EXPECT_EQ(piece.length_bytes % 4, 0U) << "max_segment_bytes is not a multiple of 4";
  }
  std::move(bench.driver.kept.front()).end_ok();
  bench.driver.kept.clear();
  bench.runtime.run();
  EXPECT_EQ(longer.status(), Status::ok);
  Ends others;
  mq::Bio discard = mq::Bio::discard(0, 512, {&Ends::on_end, &others});
  mq::Bio flush = mq::Bio::flush({&Ends::on_end, &others});
  bench.driver.mode = Mode::end;
  bench.disk->submit(bench.context(), discard);
  bench.disk->submit(bench.context(), flush);
  EXPECT_EQ(others.statuses, (std::vector{Status::not_supported, Status::ok}));
}

// virtio-blk, nbd and nvme revalidation: the capacity changes while the disk is up.
TEST(BlockLayerFailures, VirtioBlkCapacityChangesWhileTheDiskIsUp) {
  Bench bench{{.capacity_sectors = 64, .logical_block_bytes = 1024, .depth = 1}};
  bench.driver.mode = Mode::publish;
  Ends ends;
  std::vector<std::byte> memory(1024);
  const auto read = [&](std::uint64_t sector) {
    return mq::Bio::read(sector, whole(memory), {&Ends::on_end, &ends});
  };
  mq::Bio in_flight = read(62), waiting = read(60), behind = read(64);
  bench.disk->submit(bench.context(), in_flight);
  bench.disk->submit(bench.context(), waiting);
  EXPECT_FALSE(bench.disk->set_capacity(32).has_value());
  EXPECT_EQ(bench.disk->capacity_sectors(), 32U);
  EXPECT_EQ(bench.disk->config().capacity_sectors, 64U) << "what the disk was made from";
  mq::Bio late = read(60);
  bench.disk->submit(bench.context(), late);
  EXPECT_EQ(late.status(), Status::invalid);
  for (int i = 0; i != 4; ++i) {
    bench.driver.reap(bench.data());
    bench.runtime.run();
  }
  EXPECT_EQ(in_flight.status(), Status::ok);
  EXPECT_EQ(waiting.status(), Status::ok) << "checked when it was submitted";
  EXPECT_EQ(bench.driver.seen.size(), 2U);

  bench.driver.mode = Mode::keep;  // the medium of the test does not grow
  EXPECT_FALSE(bench.disk->set_capacity(66).has_value());
  bench.disk->submit(bench.context(), behind);
  ASSERT_EQ(bench.driver.kept.size(), 1U);
  std::move(bench.driver.kept.front()).end_ok();
  bench.driver.kept.clear();
  bench.runtime.run();
  EXPECT_EQ(behind.status(), Status::ok);

  const auto odd = bench.disk->set_capacity(33);
  ASSERT_TRUE(odd.has_value());
  EXPECT_EQ(odd->reason, mq::DiskReason::not_a_multiple);
  EXPECT_TRUE(bench.disk->set_capacity(~std::uint64_t{0} - 1).has_value());
  EXPECT_EQ(bench.disk->capacity_sectors(), 66U);
  EXPECT_FALSE(bench.disk->set_capacity(0).has_value());
  mq::Bio none = read(0);
  bench.disk->submit(bench.context(), none);
  EXPECT_EQ(none.status(), Status::invalid) << "no medium";
}

TEST(BlockLayerFailures, TheDiskBecomesReadOnlyWhileItIsUp) {
  for (const std::uint32_t alignment : {0U, 3U}) {
    Bench bench{{.capacity_sectors = 64, .limits = {.dma_alignment_mask = alignment}, .depth = 1}};
    bench.driver.mode = Mode::publish;
    Ends ends;
    std::vector<std::byte> memory(512);
    const auto write = [&](std::uint64_t sector) {
      return mq::Bio::write(sector, whole(memory), {&Ends::on_end, &ends});
    };
    mq::Bio in_flight = write(1), waiting = write(2), late = write(3), later = write(4);
    mq::Bio read = mq::Bio::read(0, whole(memory), {&Ends::on_end, &ends});
    bench.disk->submit(bench.context(), in_flight);
    bench.disk->submit(bench.context(), waiting);
    bench.disk->set_read_only(true);
    EXPECT_TRUE(bench.disk->is_read_only());
    bench.disk->submit(bench.context(), late);
    bench.disk->submit(bench.context(), read);
    EXPECT_EQ(late.status(), Status::not_supported);
    for (int i = 0; i != 4; ++i) {
      bench.driver.reap(bench.data());
      bench.runtime.run();
    }
    EXPECT_EQ(in_flight.status(), Status::ok);
    EXPECT_EQ(waiting.status(), Status::ok) << "checked when it was submitted";
    EXPECT_EQ(read.status(), Status::ok);
    bench.disk->set_read_only(false);
    bench.disk->submit(bench.context(), later);
    bench.driver.reap(bench.data());
    bench.runtime.run();
    EXPECT_EQ(later.status(), Status::ok);
    if (alignment != 0) {
      mq::Bio odd = mq::Bio::read(0, Segment{memory.data() + 1, 512}, {&Ends::on_end, &ends});
      bench.disk->submit(bench.context(), odd);
      EXPECT_EQ(odd.status(), Status::invalid);
    }
  }
}

}  // namespace
