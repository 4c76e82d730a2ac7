// SPDX-License-Identifier: BSL-1.0
//
// Goal: known failures of block layers with bios, limits and capacities do not occur on this one.
// Method: one test for each row in the table of tests/README.md. Each test repeats the events that
// led to the failure, or gives the limits that led to it.

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "mq/fake_driver.hpp"

namespace {

namespace mq = blkown::mq;
using blkown::Segment;
using blkown::Status;
using fake::Bench;
using fake::Ends;
using fake::whole;

/// A driver whose zone appends are written 8 sectors behind the previous one.
struct AppendDriver {
  struct RequestData {};
  struct HwData {};
  struct QueueData {
    std::vector<std::byte> medium;
  };
  using Rq = mq::Request<AppendDriver>;

  mq::Dispatch<AppendDriver> queue_rq(mq::HwQueue<AppendDriver>&, QueueData&, blkown::Idle<Rq> idle,
                                      bool) {
    auto owned = std::move(idle).start();
    mq::Payload<AppendDriver>& request = owned.data();
    targets.push_back(request.sector());
    request.set_written_sector(request.sector() + written_sectors);
    written_sectors += request.length_bytes() / mq::sector_bytes;
    std::move(owned).end_ok();
    return mq::Dispatch<AppendDriver>::accepted();
  }

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

}  // namespace
