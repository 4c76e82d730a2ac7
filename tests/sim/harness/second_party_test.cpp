// SPDX-License-Identifier: BSL-1.0
//
// Goal: the second party does to the disk all that an administrator does, ends what it begins, and
// leaves the disk as it was made but for what it was asked to change.
// Method: a disk without I/O, or with a few bios. What the party does is seen at the disk after
// each step.

#include <gtest/gtest.h>

#include <algorithm>
#include <blkown/mq/control.hpp>
#include <blkown/mq/disk_config.hpp>
#include <blkown/mq/limits.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/mq/trace.hpp>
#include <blkown/sim/harness/deterministic_runtime.hpp>
#include <blkown/sim/harness/second_party.hpp>
#include <blkown/tag.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "mq/fake_driver.hpp"

namespace {

namespace sim = blkown::sim;

constexpr std::uint64_t longest_hold_ns = 500'000;
// A hold ends in a few steps, each of which takes a microsecond.
constexpr std::uint64_t steps_ns = 20'000;

/// A disk of three queues with its party. The destructor removes the disk.
struct PartyBench {
  using Party = sim::SecondParty<fake::Driver>;

  static constexpr std::uint32_t queues = 3;

  explicit PartyBench(const sim::PartyDuties& duties = {}, std::uint64_t seed = 7,
                      bool auto_kick = true, bool is_zoned = false) {
    fake::mq::DiskConfig config;
    if (is_zoned) {
      config.zoned = true;
      config.zone_sectors = 256;
      config.limits.max_zone_append_sectors = 6;
    }
    config.capacity_sectors = 1024;
    config.logical_block_bytes = 1024;
    config.normal_queues = queues;
    config.auto_kick = auto_kick;
    config.limits.max_sectors = 8;
    config.limits.max_segments = 4;
    config.limits.max_discard_sectors = 16;
    auto made = fake::Driver::Disk::create(config, driver, runtime, {}, nullptr);
    if (!made.has_value()) std::abort();
    disk = *std::move(made);
    party.emplace(seed, *disk, runtime.context(0), duties);
  }
  ~PartyBench() {
    fake::mq::Event done;
    fake::mq::Control control{
        {[](void* event, fake::mq::Control&) { static_cast<fake::mq::Event*>(event)->set(); },
         &done}};
    disk->remove(control);
    EXPECT_TRUE(runtime.wait_for(done));
    EXPECT_TRUE(runtime.run_until_idle(1000)) << "the party's alarms";
    disk.reset();
  }
  PartyBench(const PartyBench&) = delete;
  PartyBench& operator=(const PartyBench&) = delete;

  /// Lets the party act, and calls `look()` after each step.
  template <class Look>
  void run(std::uint64_t acts, Look look) {
    for (std::uint64_t i = 0; i != acts; ++i) {
      party->act();
      look();
      static_cast<void>(runtime.step());
      look();
    }
  }
  /// Submits the bio on a context. The party does not act.
  void submit(fake::mq::Bio& bio) {
    auto call = [&] { disk->submit(bio); };
    fake::mq::Work work{[](void* its, fake::mq::Work&) { (*static_cast<decltype(call)*>(its))(); },
                        &call};
    runtime.context(1).post(work);
    while (work.is_queued()) ASSERT_TRUE(runtime.step());
  }
  /// The index of the queue that is stopped. Fails if several are.
  [[nodiscard]] std::optional<std::uint32_t> stopped() {
    std::optional<std::uint32_t> found;
    for (std::uint32_t i = 0; i != disk->hw_queue_count(); ++i) {
      if (!disk->hw_queue(blkown::QueueIndex{i}).is_stopped()) continue;
      EXPECT_FALSE(found.has_value()) << "one at a time";
      found = i;
    }
    return found;
  }

  [[nodiscard]] std::uint32_t queues_in_use() {
    std::uint32_t count = 0;
    for (std::uint32_t i = 0; i != queues; ++i) {
      count += disk->hw_queue(blkown::QueueIndex{i}).data.opened != 0 ? 1 : 0;
    }
    return count;
  }

  fake::Driver driver;
  sim::DeterministicRuntime runtime{5, 2};
  std::unique_ptr<fake::Driver::Disk> disk;
  std::optional<Party> party;
};

/// A read of one of the disk's blocks.
struct BlockRead {
  std::vector<std::byte> memory = std::vector<std::byte>(1024);
  fake::Ends ends;
  fake::mq::Bio bio = fake::mq::Bio::read(0, fake::whole(memory), {&fake::Ends::on_end, &ends});
};

/// Measures how long a state lasts.
class Lasting {
 public:
  void see(bool is_on, std::uint64_t now_ns) {
    if (is_on && !since_ns_.has_value()) {
      since_ns_ = now_ns;
      ++times;
    }
    if (since_ns_.has_value()) longest_ns = std::max(longest_ns, now_ns - *since_ns_);
    if (!is_on) since_ns_.reset();
  }

  int times = 0;
  std::uint64_t longest_ns = 0;

 private:
  std::optional<std::uint64_t> since_ns_;
};

// Goal: a disk whose party is idle may be destroyed with the party.
TEST(SecondParty, IsIdleBetweenItsOperations) {
  PartyBench bench;
  EXPECT_TRUE(bench.party->is_idle());
  bool was_busy = false;
  for (int i = 0; i != 5000; ++i) {
    bench.party->act();
    was_busy = was_busy || !bench.party->is_idle();
    static_cast<void>(bench.runtime.step());
  }
  EXPECT_TRUE(was_busy);
  EXPECT_TRUE(bench.runtime.run_until_idle(100'000));
  EXPECT_TRUE(bench.party->is_idle());
}

TEST(SecondParty, HoldsTheDiskForAWhile) {
  PartyBench bench;
  Lasting hold;
  bench.run(40'000, [&] { hold.see(bench.party->holds_disk(), bench.runtime.now_ns()); });
  EXPECT_GT(hold.times, 20);
  EXPECT_GT(hold.longest_ns, longest_hold_ns / 2);
  EXPECT_LE(hold.longest_ns, longest_hold_ns + steps_ns);
}

// A freeze waits for the requests of the driver, a quiesce does not, and comes twice as often.
TEST(SecondParty, QuiescesUntilAFreezeWaitsForARequest) {
  int quiesces = 0;
  for (std::uint64_t seed = 0; seed != 20; ++seed) {
    PartyBench bench{{}, seed};
    bench.driver.mode = fake::Driver::Mode::keep;
    BlockRead read;
    bench.submit(read.bio);
    ASSERT_EQ(bench.driver.kept.size(), 1U);
    Lasting hold;
    const auto look = [&] { hold.see(bench.party->holds_disk(), bench.runtime.now_ns()); };
    bench.run(10'000, look);
    EXPECT_FALSE(bench.party->holds_disk()) << "the party waits for its freeze";
    const int before = std::exchange(hold.times, 0);
    quiesces += before;
    auto owned = std::move(bench.driver.kept.front());
    bench.driver.kept.clear();
    std::move(owned).end_ok();
    bench.run(4'000, look);
    EXPECT_GT(hold.times, 0);
  }
  EXPECT_GT(quiesces, 20);
  EXPECT_LT(quiesces, 60);
}

TEST(SecondParty, NoBioIsIssuedWhileThePartyHoldsTheDisk) {
  PartyBench bench;
  BlockRead read;
  int submitted = 0;
  int held = 0;
  bench.run(30'000, [&] {
    if (read.ends.count != submitted) return;
    ++submitted;
    if (bench.party->holds_disk()) ++held;
    const int before = bench.driver.calls;
    bench.submit(read.bio);
    if (bench.party->holds_disk()) {
      EXPECT_EQ(bench.driver.calls, before);
    }
  });
  EXPECT_GT(submitted, 1000);
  EXPECT_GT(held, 5);
  while (read.ends.count != submitted) ASSERT_TRUE(bench.runtime.step());
}

// Goal: a call of queue_rq for a bio is wrong while the party holds the disk, or beyond the limits.
// Method: the test is the block layer, which makes no such call.
TEST(SecondParty, JudgesACallOfQueueRq) {
  using blkown::mq::Op;
  PartyBench bench;
  const auto judged = [&](Op op, std::uint64_t sector = 0, std::uint64_t sectors = 0) {
    blkown::mq::TraceEvent event;
    event.step = blkown::mq::TraceStep::issued;
    event.op = op;
    event.sector = sector;
    event.length_bytes = sectors * blkown::mq::sector_bytes;
    const char* const wrong = bench.party->judge_issue(event);
    return std::string{wrong != nullptr ? wrong : ""};
  };
  const std::string beyond = "queue_rq was called for a request beyond the disk's limits";
  EXPECT_EQ(judged(Op::write, 0, 8), "");
  EXPECT_EQ(judged(Op::write, 0, 10), beyond);
  EXPECT_EQ(judged(Op::discard, 0, 16), "");
  EXPECT_EQ(judged(Op::discard, 0, 18), beyond);
  EXPECT_EQ(judged(Op::flush), "");
  bench.run(60'000, [&] {
    const std::uint64_t chunk = bench.disk->limits().chunk_sectors;
    const std::uint64_t most = bench.disk->limits().max_sectors;
    if (bench.party->holds_disk() || chunk < 2 || most < 2) return;
    EXPECT_EQ(judged(Op::read, chunk - 1, 1), "");
    EXPECT_EQ(judged(Op::read, chunk - 1, 2), beyond);
  });
  int held = 0;
  bench.run(30'000, [&] {
    if (!bench.party->holds_disk()) return;
    ++held;
    EXPECT_EQ(judged(Op::flush),
              "queue_rq was called while another party has the disk quiesced or frozen");
    EXPECT_EQ(judged(Op::driver_in), "");
  });
  EXPECT_GT(held, 5);
}

TEST(SecondParty, StopsEachQueueForAWhile) {
  PartyBench bench;
  std::set<std::uint32_t> stopped;
  Lasting stop;
  bench.run(40'000, [&] {
    const auto index = bench.stopped();
    if (index.has_value()) stopped.insert(*index);
    stop.see(index.has_value(), bench.runtime.now_ns());
  });
  EXPECT_EQ(stopped.size(), PartyBench::queues);
  EXPECT_GT(stop.times, 8);
  EXPECT_GT(stop.longest_ns, longest_hold_ns / 2);
  EXPECT_LE(stop.longest_ns, longest_hold_ns + steps_ns);
}

TEST(SecondParty, ChangesTheLimitsBetweenOneBlockAndTheDisks) {
  PartyBench bench;
  std::set<std::uint64_t> sectors, segments, discards, zeroes, chunks;
  bench.run(60'000, [&] {
    const blkown::mq::QueueLimits limits = bench.disk->limits();
    sectors.insert(limits.max_sectors);
    segments.insert(limits.max_segments);
    discards.insert(limits.max_discard_sectors);
    zeroes.insert(limits.max_write_zeroes_sectors);
    chunks.insert(limits.chunk_sectors);
  });
  EXPECT_EQ(sectors, (std::set<std::uint64_t>{2, 4, 6, 8}));
  EXPECT_EQ(segments, (std::set<std::uint64_t>{1, 2, 3, 4}));
  EXPECT_EQ(discards, (std::set<std::uint64_t>{2, 4, 6, 8, 10, 12, 14, 16}));
  EXPECT_EQ(zeroes, (std::set<std::uint64_t>{0})) << "the disk has none";
  EXPECT_EQ(chunks, (std::set<std::uint64_t>{0, 2, 4, 8, 16}));
}

// An append is no longer than a request, and the chunks are the zones.
TEST(SecondParty, ChangesTheLimitsOfAZonedDisk) {
  PartyBench bench{{}, 7, true, true};
  std::set<std::uint64_t> sectors, appends;
  bench.run(60'000, [&] {
    sectors.insert(bench.disk->limits().max_sectors);
    appends.insert(bench.disk->limits().max_zone_append_sectors);
  });
  EXPECT_EQ(sectors, (std::set<std::uint64_t>{2, 4, 6, 8}));
  EXPECT_EQ(appends, (std::set<std::uint64_t>{2, 4, 6}));
}

TEST(SecondParty, KicksRequeuedRequests) {
  PartyBench bench{{}, 7, false};
  bench.driver.next = {fake::Driver::Mode::requeue};
  BlockRead read;
  bench.submit(read.bio);
  static_cast<void>(bench.runtime.run_until_idle(1000));
  EXPECT_EQ(read.ends.count, 0) << "waits for a kick";
  bench.run(40'000, [] {});
  EXPECT_EQ(read.ends.count, 1);
}

// --- on request ----------------------------------------------------------------------------------

TEST(SecondParty, ChangesTheNumberOfQueuesOnRequest) {
  PartyBench bench{{.changes_queue_count = true}};
  std::set<std::uint32_t> counts;
  int changes = 0;
  std::uint32_t count = PartyBench::queues;
  bench.run(60'000, [&] {
    const auto now = bench.queues_in_use();
    counts.insert(now);
    if (now == count) return;
    count = now;
    ++changes;
    EXPECT_FALSE(bench.stopped().has_value()) << "the stopped queue may be one that leaves";
  });
  EXPECT_EQ(counts, (std::set<std::uint32_t>{1, 2, 3}));
  EXPECT_GT(changes, 15);
}

TEST(SecondParty, ResetsTheDeviceOnRequest) {
  int resets = 0;
  PartyBench bench{
      {.reset = [](void* count) { ++*static_cast<int*>(count); }, .argument = &resets}};
  bench.run(40'000, [&] { EXPECT_EQ(bench.queues_in_use(), PartyBench::queues); });
  EXPECT_GT(resets, 20);
  EXPECT_LT(resets, 80);
}

// Goal: what was asked for does not change what else the party does.
TEST(SecondParty, DoesTheSameWhateverItIsAskedFor) {
  const auto limits_with = [](const sim::PartyDuties& duties) {
    PartyBench bench{duties};
    bench.run(30'000, [] {});
    return bench.disk->limits();
  };
  EXPECT_NE(limits_with({}), blkown::mq::QueueLimits{});
  EXPECT_EQ(limits_with({}), limits_with({.reset = [](void*) {}}));
}

}  // namespace
