// SPDX-License-Identifier: BSL-1.0
//
// Goal: the write pointers of a zoned null block disk under a host with appends on four contexts,
// writes in order, and resets and finishes in between.
// Method: in an order that a seed chooses. Without faults, a reference is told of each request when
// the driver gets it, and each zone is compared after each step. With faults, requests are requeued
// and lost, queues stop, and zones wear out.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <blkown/mq/mq.hpp>
#include <blkown/mq/thread_runtime.hpp>
#include <blkown/sim/harness/deterministic_runtime.hpp>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "null_block/control.hpp"
#include "null_block/null_block.hpp"
#include "stress/effort.hpp"
#include "zoned_host.hpp"
#include "zones_reference.hpp"

namespace {

namespace mq = blkown::mq;
namespace sim = blkown::sim;
using blkown::Status;
using mq::Op;
using zoned_host::ZonedHost;
using Host = ZonedHost<null_block::Driver, sim::DeterministicRuntime>;
using NullDisk = null_block::NullDisk<sim::DeterministicRuntime>;

std::unique_ptr<NullDisk> make_disk(const std::string& text, sim::DeterministicRuntime& runtime) {
  const auto config = null_block::parse_config(text);
  if (!config) {
    ADD_FAILURE() << config.error().text;
    return nullptr;
  }
  auto made = NullDisk::create(*config, runtime);
  if (!made) {
    ADD_FAILURE() << made.error().text;
    return nullptr;
  }
  return *std::move(made);
}

/// Tells a reference of each request that the driver gets.
class Witness {
 public:
  explicit Witness(NullDisk& disk) : disk_{disk}, reference_{disk.device().zones->layout()} {
    disk.disk().set_trace({[](void* self, const mq::TraceEvent& event) {
                             if (event.step == mq::TraceStep::issued)
                               static_cast<Witness*>(self)->take(event);
                           },
                           this});
  }
  /// Compares each zone.
  void compare() {
    std::array<mq::Zone, 16> zones;
    const unsigned count = disk_.disk().report_zones(0, zones);
    for (unsigned i = 0; i != count; ++i) {
      const null_block::ZoneEntry expected = reference_.zone(i);
      ASSERT_EQ(zones[i].write_pointer_sector, expected.pointer) << "zone " << i;
      ASSERT_EQ(zones[i].condition, null_block::condition_of(expected.state)) << "zone " << i;
    }
  }
  [[nodiscard]] const std::map<std::pair<Op, Status>, std::uint64_t>& expected() const {
    return expected_;
  }

 private:
  void take(const mq::TraceEvent& event) {
    const std::uint64_t sectors = event.length_bytes / mq::sector_bytes;
    ++expected_[{event.op, reference_.execute(event.op, event.sector, sectors)}];
  }

  NullDisk& disk_;
  zones_reference::Reference reference_;
  std::map<std::pair<Op, Status>, std::uint64_t> expected_;
};

TEST(NullBlockZonedHost, WritePointersAgreeWithTheReferenceAtEachStep) {
  const std::uint64_t all = stress::scaled(50'000, 20'000);
  constexpr unsigned rounds = 10;
  for (unsigned round = 0; round != rounds; ++round) {
    sim::DeterministicRuntime runtime{round, 4};
    const auto disk = make_disk(
        "size=360k,blocksize=512,memory_backed=1,zoned=1,zone_size=32k,completion=timer"
        ",completion_nsec=20000,hw_queue_depth=3,submit_queues=" +
            std::to_string(1 + round % 4) +
            (round % 2 == 0 ? ",zone_capacity=24k,zone_nr_conv=1" : "") +
            (round % 3 == 0 ? "" : ",zone_max_open=3,zone_max_active=5") +
            (round % 5 == 0 ? ",blocking=1" : ""),
        runtime);
    ASSERT_NE(disk, nullptr);
    Witness witness{*disk};
    Host host{disk->disk(), runtime, round};
    for (std::uint64_t begun = 0; begun < all / rounds;) {
      if (host.begin()) ++begun;
      ASSERT_NO_FATAL_FAILURE(witness.compare()) << "round " << round << " I/O " << begun;
      if (runtime.random().below(2) == 0) runtime.step();
      ASSERT_NO_FATAL_FAILURE(witness.compare()) << "round " << round << " I/O " << begun;
      ASSERT_EQ(host.failure(), "") << "round " << round << " I/O " << begun;
    }
    while (host.in_flight() != 0) ASSERT_TRUE(runtime.step());
    host.check_all();
    ASSERT_EQ(host.failure(), "");
    EXPECT_EQ(host.all_ended(), witness.expected());
    EXPECT_GT(host.ended(Op::zone_append, Status::ok), all / rounds / 8);
    EXPECT_GT(host.ended(Op::write, Status::ok), all / rounds / 50);
    EXPECT_GT(host.ended(Op::zone_finish, Status::ok), 0U);
  }
}

/// A disk with faults, by a seed.
std::string faulty(std::uint64_t seed) {
  std::mt19937_64 dice{seed};
  const auto one_of = [&](std::initializer_list<const char*> values) {
    return std::string{values.begin()[dice() % values.size()]};
  };
  return "size=256k,blocksize=512,memory_backed=1,zoned=1,zone_size=32k,timeout_ms=3" +
         one_of({"", ",zone_capacity=24k"}) + one_of({"", ",zone_nr_conv=1"}) +
         one_of({"", ",zone_max_open=2", ",zone_max_open=3,zone_max_active=4"}) +
         one_of({"", ",completion=softirq", ",completion=timer,completion_nsec=30000"}) +
         one_of({"", ",submit_queues=2", ",submit_queues=4"}) +
         one_of({"", ",hw_queue_depth=1", ",hw_queue_depth=3"}) +
         one_of({"", ",shared_tag_bitmap=1"}) + one_of({"", ",blocking=1"}) +
         one_of({"", ",cache_size=32k"}) + one_of({"", ",mbps=8"}) +
         one_of({"", ",requeue_probability=20", ",requeue_probability=60"}) +
         one_of({"", ",timeout_probability=4"}) + one_of({"", ",badblocks_once=1"}) +
         ",fault_seed=" + std::to_string(seed);
}

/// What happens to a disk beside the host's I/O.
void disturb(NullDisk& disk, Host& host, std::mt19937_64& dice) {
  switch (dice() % 6) {
    case 0: {
      const std::string sector = std::to_string(dice() % 512);
      EXPECT_TRUE(disk.set("badblocks", "+" + sector + "-" + sector));
      return;
    }
    case 1: EXPECT_TRUE(disk.set("badblocks", "-0-511")); return;
    case 2: EXPECT_TRUE(disk.set("submit_queues", std::to_string(1 + dice() % 4))); return;
    case 3:
      return host.change_a_zone([&](const char* key, const std::string& zone) {
        EXPECT_TRUE(disk.set(key, zone).has_value());
      });
    case 4:
      disk.power_off(dice());
      disk.power_on();
      return host.note_power_cut();
    default: EXPECT_TRUE(disk.set("max_sectors", dice() % 2 == 0 ? "2" : "64"));
  }
}

void run_seed(std::uint64_t seed, std::map<std::pair<Op, Status>, std::uint64_t>& sum) {
  sim::DeterministicRuntime runtime{seed, 4};
  const std::string text = faulty(seed);
  SCOPED_TRACE("seed " + std::to_string(seed) + ": " + text);
  const auto disk = make_disk(text, runtime);
  ASSERT_NE(disk, nullptr);
  Host host{disk->disk(), runtime, seed};
  std::mt19937_64 dice{seed};
  for (unsigned begun = 0; begun != 300;) {
    if (host.begin()) ++begun;
    if (dice() % 2 == 0) runtime.step();
    if (dice() % 64 == 0) disturb(*disk, host, dice);
    ASSERT_EQ(host.failure(), "") << "I/O " << begun;
  }
  while (host.in_flight() != 0) ASSERT_TRUE(runtime.step()) << "an I/O never ends";
  host.check_all();
  ASSERT_EQ(host.failure(), "");
  for (const auto& [key, count] : host.all_ended()) sum[key] += count;
}

TEST(NullBlockZonedHost, KeepsItsWritePointersUnderFaults) {
  const std::uint64_t seeds = stress::scaled(100, 20);
  std::map<std::pair<Op, Status>, std::uint64_t> sum;
  for (std::uint64_t seed = 0; seed != seeds; ++seed) {
    ASSERT_NO_FATAL_FAILURE(run_seed(seed, sum));
    ASSERT_FALSE(testing::Test::HasFailure());
  }
  // The adversary was there.
  for (const Status status : {Status::ok, Status::io_error, Status::timed_out,
                              Status::zone_open_resource, Status::zone_active_resource}) {
    const std::uint64_t count = sum[{Op::zone_append, status}];
    EXPECT_NE(count, 0U) << to_string(status);
  }
}

/// Appends one sector after another to all zones, in turn, until each is full.
struct Appender {
  using Disk = null_block::NullDisk<mq::ThreadRuntime>;

  Appender(Disk& its_disk, mq::Event& its_done, std::atomic<int>& its_left)
      : disk{its_disk}, done{its_done}, left{its_left} {}
  void next() {
    bio.set_zone_append(zone * zone_sectors, std::span{&memory, 1},
                        {[](void* self, mq::Bio&) { static_cast<Appender*>(self)->end(); }, this});
    disk.disk().submit(bio);
  }
  void end() {
    if (bio.status() == Status::ok) {
      written.push_back(bio.written_sector());
      refusals = 0;
    } else if (++refusals == zones) {
      // n -> n - 1. Acquire and release: the last to end has seen what the others wrote.
      if (left.fetch_sub(1, std::memory_order_acq_rel) == 1) done.set();
      return;
    }
    zone = (zone + 1) % zones;
    next();
  }

  static constexpr std::uint64_t zones = 4;
  static constexpr std::uint64_t zone_sectors = 512;
  Disk& disk;
  mq::Event& done;
  std::atomic<int>& left;
  std::byte block[mq::sector_bytes]{};
  blkown::Segment memory{block, sizeof block};
  mq::Bio bio;
  std::uint64_t zone = 0;
  std::uint64_t refusals = 0;
  std::vector<std::uint64_t> written;
};

// Goal: appends of four threads to the same zones get each sector once, without a gap.
TEST(NullBlockZonedHost, AppendsOfThreadsGetEachSectorOnce) {
  mq::ThreadRuntime runtime{4};
  const auto config = null_block::parse_config(
      "size=1m,blocksize=512,memory_backed=1,zoned=1,zone_size=256k,zone_max_open=2,submit_queues="
      "2");
  auto disk = *Appender::Disk::create(*config, runtime);
  mq::Event done;
  std::atomic<int> left{4};
  std::vector<std::unique_ptr<Appender>> appenders;
  for (std::uint32_t i = 0; i != 4; ++i) {
    appenders.push_back(std::make_unique<Appender>(*disk, done, left));
    appenders.back()->zone = i;
  }
  for (std::uint32_t i = 0; i != 4; ++i) runtime.run_on(i, [&] { appenders[i]->next(); });
  ASSERT_TRUE(runtime.wait_for(done));
  disk.reset();
  std::vector<std::uint64_t> all;
  for (const auto& each : appenders) {
    all.insert(all.end(), each->written.begin(), each->written.end());
  }
  std::ranges::sort(all);
  ASSERT_EQ(all.size(), Appender::zones * Appender::zone_sectors);
  for (std::size_t i = 0; i != all.size(); ++i) ASSERT_EQ(all[i], i);
}

/// Appends to one zone until it is told to stop.
struct Hammer {
  using Disk = null_block::NullDisk<mq::ThreadRuntime>;

  void next() {
    bio.set_zone_append(zone_sector, std::span{&memory, 1},
                        {[](void* self, mq::Bio&) { static_cast<Hammer*>(self)->end(); }, this});
    disk->disk().submit(bio);
  }
  void end() {
    const Status status = bio.status();
    if (++ended == 100) is_at_work.set();
    if (status != Status::ok && status != Status::io_error && status != Status::offline) ++wrong;
    // Partner: the test. Relaxed: nothing else is told.
    if (stops.load(std::memory_order_relaxed)) return done.set();
    mq::Context::current()->post_local(again);
  }

  Disk* disk = nullptr;
  std::uint64_t zone_sector = 0;
  std::atomic<bool> stops{false};
  std::byte block[mq::sector_bytes]{};
  blkown::Segment memory{block, sizeof block};
  mq::Bio bio;
  mq::Work again{[](void* self, mq::Work&) { static_cast<Hammer*>(self)->next(); }, this};
  mq::Event is_at_work;
  mq::Event done;
  std::uint64_t ended = 0;
  std::uint64_t wrong = 0;
};

// Goal: commands change zones, the power and the number of queues while threads append.
TEST(NullBlockZonedHost, CommandsChangeTheDiskUnderLoad) {
  mq::ThreadRuntime runtime{2};
  const auto config = null_block::parse_config(
      "size=1m,blocksize=512,memory_backed=1,zoned=1,zone_size=128k,zone_max_open=1,"
      "zone_max_active=1,completion=softirq");
  auto disk = *Hammer::Disk::create(*config, runtime);
  std::array<Hammer, 2> hammers;
  for (std::uint32_t i = 0; i != 2; ++i) {
    hammers[i].disk = disk.get();
    hammers[i].zone_sector = std::uint64_t{5} * 256;
    runtime.run_on(i, [&] { hammers[i].next(); });
  }
  const auto must = [&](std::string_view line) {
    EXPECT_EQ(null_block::answer_to(*disk, line), "ok\n") << line;
  };
  for (Hammer& each : hammers) ASSERT_TRUE(runtime.wait_for(each.is_at_work));
  for (int round = 0; round != 5; ++round) {
    must("zone offline 5");
    must("set submit_queues 4");
    must("zone online 5");
    must("power off");
    must("power on");
    must("set submit_queues 1");
  }
  for (Hammer& each : hammers) {
    // No transition but to true. Partner: end. Relaxed: nothing else is told.
    each.stops.store(true, std::memory_order_relaxed);
    ASSERT_TRUE(runtime.wait_for(each.done));
  }
  for (std::uint32_t i = 0; i != 2; ++i) {
    runtime.run_on(i, [] {});
    EXPECT_EQ(hammers[i].wrong, 0U);
  }
  must("zone offline 5");
  must("zone online 5");
  // Only one zone may be active: that this works shows that no count is off.
  std::byte block[mq::sector_bytes]{};
  for (const std::uint64_t sector : {std::uint64_t{5} * 256, std::uint64_t{6} * 256}) {
    const auto written = mq::zone_append(runtime, disk->disk(), sector, block);
    ASSERT_TRUE(written.has_value()) << to_string(written.error());
    EXPECT_EQ(*written, sector);
    EXPECT_EQ(mq::zone(runtime, disk->disk(), Op::zone_reset, sector), Status::ok);
  }
}

}  // namespace
