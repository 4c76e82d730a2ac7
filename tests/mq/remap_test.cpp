// SPDX-License-Identifier: BSL-1.0
//
// Tests of set_sector: a driver that maps the sectors of its requests to other places.

#include <gtest/gtest.h>

#include <blkown/mq/mq.hpp>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "fake_driver.hpp"

namespace {

namespace mq = blkown::mq;
using blkown::Status;

/// A driver of a partition that begins at sector 512 of the medium.
struct Partition : fake::Driver {
  static constexpr std::uint64_t first_sector = 512;

  Answer queue_rq(Hw& hw, QueueData& queue, blkown::Idle<Rq> idle, bool is_last) override {
    const std::uint64_t sector = idle.data().sector();
    if (starts_first) {
      auto owned = std::move(idle).start();
      mq::set_sector(owned, sector + first_sector);
      seen.emplace_back().sector = owned.data().sector();
      if (next.empty()) {
        transfer(queue, owned.data());
        std::move(owned).end_ok();
        return Answer::accepted();
      }
      next.pop_front();
      return Answer::rejected(std::move(owned), Status::device_resource);
    }
    mq::set_sector(idle, sector + first_sector - 1);
    mq::set_sector(idle, sector + first_sector);
    return fake::Driver::queue_rq(hw, queue, std::move(idle), is_last);
  }
  bool starts_first = false;
};

std::vector<std::uint64_t> sectors_of(const std::vector<fake::Seen>& seen) {
  std::vector<std::uint64_t> sectors;
  for (const fake::Seen& one : seen) sectors.push_back(one.sector);
  return sectors;
}

TEST(Remap, TheDeviceGetsTheOtherSectorAndTheBioKeepsItsOwn) {
  fake::Bench<Partition> bench{{.capacity_sectors = 4096}};
  std::vector<std::byte> memory(512, std::byte{9});
  mq::Bio bio = mq::Bio::write(3, fake::whole(memory), {});
  bench.disk->submit(bench.context(), bio);
  EXPECT_EQ(bio.status(), Status::ok);
  EXPECT_EQ(sectors_of(bench.driver.seen), std::vector<std::uint64_t>{515});
  EXPECT_EQ(bench.data().medium[515 * 512], std::byte{9});
  EXPECT_EQ(bench.data().medium[3 * 512], std::byte{0});
  EXPECT_EQ(bio.sector(), 3U);
}

// Goal: a request that is issued again has the bio's sector: the driver does not map it twice.
TEST(Remap, ARequeueBringsTheSectorBack) {
  using Answers = fake::Driver::Mode;
  for (const bool starts_first : {false, true}) {
    fake::Bench<Partition> bench{{.capacity_sectors = 4096}};
    bench.driver.starts_first = starts_first;
    bench.driver.next = {starts_first ? Answers::busy : Answers::requeue,
                         starts_first ? Answers::busy : Answers::requeue};
    std::vector<std::byte> memory(512, std::byte{9});
    mq::Bio bio = mq::Bio::write(3, fake::whole(memory), {});
    bench.disk->submit(bench.context(), bio);
    for (int i = 0; i != 4; ++i) {
      bench.clock.pass_ms(10);
      bench.runtime.run();
    }
    EXPECT_EQ(bio.status(), Status::ok);
    EXPECT_EQ(sectors_of(bench.driver.seen), (std::vector<std::uint64_t>{515, 515, 515}));
    EXPECT_EQ(bench.data().medium[515 * 512], std::byte{9});
  }
}

// Goal: a zone append whose place the driver does not report has its target as its written sector,
// also after a requeue of the mapped request.
TEST(Remap, ARequeuedZoneAppendWithoutAReportIsAtItsTarget) {
  using Answers = fake::Driver::Mode;
  for (const bool starts_first : {false, true}) {
    fake::Bench<Partition> bench{{.capacity_sectors = 4096,
                                  .limits = {.max_zone_append_sectors = 16},
                                  .zoned = true,
                                  .zone_sectors = 64}};
    bench.driver.starts_first = starts_first;
    bench.driver.next = {starts_first ? Answers::busy : Answers::requeue};
    std::vector<std::byte> memory(512);
    const std::vector<blkown::Segment> parts{fake::whole(memory)};
    mq::Bio append = mq::Bio::zone_append(128, parts, {});
    bench.disk->submit(bench.context(), append);
    bench.clock.pass_ms(10);
    bench.runtime.run();
    EXPECT_EQ(append.status(), Status::ok);
    EXPECT_EQ(sectors_of(bench.driver.seen), (std::vector<std::uint64_t>{640, 640}));
    EXPECT_EQ(append.written_sector(), 128U);
  }
}

// Goal: each part of a bio is mapped from its own sector, and the next I/O with the tag from its
// bio's, also if nothing brought the sector back.
TEST(Remap, EachPartAndEachIoWithATagBeginsWithItsOwnSector) {
  using Answers = fake::Driver::Mode;
  fake::Bench<Partition> bench{
      {.capacity_sectors = 4096, .limits = {.max_sectors = 2}, .depth = 1}};
  std::vector<std::byte> memory(6 * 512);
  mq::Bio bio = mq::Bio::write(8, fake::whole(memory), {});
  bench.driver.next = {Answers::end, Answers::requeue};
  bench.disk->submit(bench.context(), bio);
  bench.runtime.run();
  EXPECT_EQ(bio.status(), Status::ok);
  EXPECT_EQ(sectors_of(bench.driver.seen), (std::vector<std::uint64_t>{520, 522, 522, 524}));
}

// Goal: limits that change while a mapped request waits cut it at the places of its bio.
TEST(Remap, ARequestThatNewLimitsCutIsMappedPartByPart) {
  using Answers = fake::Driver::Mode;
  fake::Bench<Partition> bench{
      {.capacity_sectors = 4096, .limits = {.max_sectors = 4}, .auto_kick = false}};
  std::vector<std::byte> memory(4 * 512);
  for (std::size_t i = 0; i != memory.size(); ++i) memory[i] = static_cast<std::byte>(1 + i / 512);
  mq::Bio bio = mq::Bio::write(8, fake::whole(memory), {});
  bench.driver.next = {Answers::requeue};
  bench.disk->submit(bench.context(), bio);
  bench.run([&](mq::Control& control) {
    bench.disk->set_limits(control, mq::QueueLimits{.max_sectors = 2});
  });
  EXPECT_EQ(bench.status, Status::ok);
  bench.disk->kick_requeued();
  bench.runtime.run();
  EXPECT_EQ(bio.status(), Status::ok);
  EXPECT_EQ(sectors_of(bench.driver.seen), (std::vector<std::uint64_t>{520, 520, 522}));
  for (std::size_t i = 0; i != 4; ++i) {
    EXPECT_EQ(bench.data().medium[(520 + i) * 512], static_cast<std::byte>(1 + i));
  }
}

}  // namespace
