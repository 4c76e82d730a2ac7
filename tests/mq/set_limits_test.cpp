// SPDX-License-Identifier: BSL-1.0
//
// Tests of Disk::set_limits: limits that change while the disk is up.
// Method: the driver judges each request by the limits at the time of its issue, and counts how
// often each sector is written. The reference is the test's own copy of the medium.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <blkown/mq/thread_runtime.hpp>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "mq/fake_driver.hpp"
#include "mq/obeys.hpp"

namespace set_limits {
namespace {

namespace mq = blkown::mq;
using blkown::QueueIndex;
using blkown::Segment;
using blkown::Status;
using fake::Ends;
using mq::QueueLimits;

/// A driver that judges requests. The test ends or requeues those that it keeps.
struct Judge : fake::Driver {
  Answer queue_rq(Hw& hw, QueueData& queue, blkown::Idle<Rq> idle, bool) override {
    const mq::Payload<fake::Driver>& request = idle.data();
    ++calls;
    if (mode == Mode::busy) {
      return Answer::rejected(std::move(idle), Status::device_resource);
    }
    const char* const limit = fake::violated_limit(hw.disk().limits(), request);
    EXPECT_EQ(limit, nullptr) << limit << ", sector " << request.sector() << ", "
                              << request.length_bytes() << " bytes";
    seen.push_back({request.op(), request.flags(), request.sector(), request.length_bytes(),
                    hw.index().value, false});
    auto owned = std::move(idle).start();
    if (mode == Mode::keep) {
      kept.push_back(std::move(owned));
    } else {
      end(queue, std::move(owned));
    }
    return Answer::accepted();
  }

  /// Ends a request, and counts the sectors that it covers.
  void end(QueueData& queue, blkown::Owned<Rq> owned, Status status = Status::ok) {
    const mq::Payload<fake::Driver>& request = owned.data();
    std::uint64_t at = request.sector() * 512;
    for (std::uint64_t i = 0; status == Status::ok && i != request.length_bytes() / 512; ++i) {
      ++covered.at(static_cast<std::size_t>(request.sector() + i));
    }
    for (const Segment piece : request.segments()) {
      std::byte* const medium = queue.medium.data() + at;
      if (request.op() == mq::Op::read) std::memcpy(piece.data, medium, piece.length_bytes);
      if (request.op() == mq::Op::write) std::memcpy(medium, piece.data, piece.length_bytes);
      at += piece.length_bytes;
    }
    owned.data().set_written_sector(7);  // a careless driver: only a zone_append has one
    std::move(owned).end(status);
  }
  blkown::Owned<Rq> take_kept() {
    auto owned = std::move(kept.front());
    kept.pop_front();
    return owned;
  }
  std::vector<std::uint64_t> lengths() const {
    std::vector<std::uint64_t> sectors;
    for (const fake::Seen& request : seen) sectors.push_back(request.length_bytes / 512);
    return sectors;
  }

  std::vector<int> covered = std::vector<int>(4096);
};
using Mode = Judge::Mode;
using Bench = fake::Bench<Judge>;

/// An operation that the test observes while it runs.
struct Operation {
  mq::Control control{{[](void* self, mq::Control&) { *static_cast<bool*>(self) = true; }, &done}};
  bool done = false;
};

bool change(Bench& bench, const QueueLimits& limits) {
  return bench.run([&](mq::Control& control) { bench.disk->set_limits(control, limits); }) &&
         bench.status == Status::ok;
}
void requeue_kept(Bench& bench) {
  while (!bench.driver.kept.empty()) bench.driver.take_kept().requeue();
  bench.runtime.run();
}
void end_kept(Bench& bench, Status status = Status::ok) {
  while (!bench.driver.kept.empty()) {
    bench.driver.end(bench.data(), bench.driver.take_kept(), status);
  }
  bench.runtime.run();
}
/// Requeues what the driver keeps, and lets it wait.
void requeue_and_hold(Bench& bench) {
  EXPECT_TRUE(bench.quiesce());
  requeue_kept(bench);
}
/// Issues what waits. The driver ends it.
void finish(Bench& bench) {
  bench.driver.mode = Mode::end;
  bench.driver.seen.clear();
  EXPECT_TRUE(bench.unquiesce());
  bench.disk->kick_requeued();
  bench.runtime.run();
}
void expect_no_tag_is_taken(Bench& bench) {
  EXPECT_EQ(bench.disk->counters().in_flight(), 0U);
  bench.runtime.run();
  EXPECT_TRUE(bench.run([&](mq::Control& control) { bench.disk->remove(control); }));
  for (std::uint32_t queue = 0; queue != bench.disk->pool().tags().queue_count(); ++queue) {
    EXPECT_EQ(bench.disk->pool().tags().taken_count(QueueIndex{queue}), 0U);
  }
  bench.disk.reset();
}

/// A write of a pattern in one piece, at an address that is a multiple of 4096, plus `offset`.
struct Write {
  Write(std::uint64_t sector, std::uint64_t sectors, mq::IoFlags flags = {}, std::size_t offset = 0)
      : bytes(static_cast<std::size_t>(sectors * 512 + 8192)) {
    auto address = reinterpret_cast<std::uintptr_t>(bytes.data());
    std::byte* const begin = bytes.data() + (4096 - address % 4096) % 4096 + offset;
    memory = {begin, static_cast<std::size_t>(sectors * 512)};
    const auto content = fake::pattern(memory.length_bytes, static_cast<unsigned>(sector));
    std::memcpy(begin, content.data(), content.size());
    bio.reset(new mq::Bio(mq::Bio::write(sector, memory, {&Ends::on_end, &ends}, flags)));
  }
  void expect_written(Bench& bench) {
    EXPECT_EQ(ends.statuses, std::vector{Status::ok});
    const auto sector = static_cast<std::size_t>(bio->sector());
    EXPECT_EQ(
        std::memcmp(bench.data().medium.data() + sector * 512, memory.data, memory.length_bytes),
        0);
    for (std::size_t i = 0; i != memory.length_bytes / 512; ++i) {
      EXPECT_EQ(bench.driver.covered[sector + i], 1) << "sector " << sector + i;
    }
  }
  std::vector<std::byte> bytes;
  Segment memory;
  Ends ends;
  std::unique_ptr<mq::Bio> bio;  // does not move
};

// --- each limit, each way, with I/O in every state -----------------------------------------------

/// The bios of one context: writes of three pieces, a discard and a write_zeroes.
struct Traffic {
  static constexpr std::uint64_t write_sectors = 24;
  static constexpr std::uint64_t writes_each = 6;
  static constexpr std::uint64_t all_sectors = 512;

  explicit Traffic(std::uint64_t its_sector) : sector{its_sector} {
    for (std::uint64_t i = 0; i != writes_each; ++i) {
      sources.push_back(std::make_unique<Write>(sector + i * write_sectors, write_sectors));
      std::byte* const at = sources.back()->memory.data;
      // The pieces are in order, touch in memory, and begin off a page.
      pieces.push_back({Segment{at, 1536}, Segment{at + 1536, 512 * (1 + i)},
                        Segment{at + 2048 + 512 * i, 10'240 - 512 * i}});
      bios.emplace_back(new mq::Bio(
          mq::Bio::write(sector + i * write_sectors, pieces.back(), {&Ends::on_end, &ends})));
    }
    const std::uint64_t ranges = sector + writes_each * write_sectors + 3;
    bios.emplace_back(new mq::Bio(mq::Bio::discard(ranges, 100 * 512, {&Ends::on_end, &ends})));
    bios.emplace_back(
        new mq::Bio(mq::Bio::write_zeroes(ranges + 101, 90 * 512, {&Ends::on_end, &ends})));
  }
  void expect_done(Bench& bench) {
    EXPECT_EQ(ends.statuses, std::vector(bios.size(), Status::ok));
    for (const auto& bio : bios) {
      for (std::uint64_t i = 0; i != bio->length_bytes() / 512; ++i) {
        const auto at = static_cast<std::size_t>(bio->sector() + i);
        ASSERT_EQ(bench.driver.covered[at], 1) << "sector " << at;
      }
    }
    for (auto& source : sources) {
      source->ends.statuses = {Status::ok};
      source->expect_written(bench);
    }
  }

  std::uint64_t sector;
  Ends ends;
  std::vector<std::unique_ptr<Write>> sources;
  std::deque<std::vector<Segment>> pieces;
  std::vector<std::unique_ptr<mq::Bio>> bios;
};

struct Change {
  const char* limit;
  QueueLimits small;
  QueueLimits large;
};

QueueLimits usual() {
  return {.max_sectors = 16,
          .max_segments = 8,
          .max_segment_bytes = 4096,
          .max_discard_sectors = 64,
          .max_write_zeroes_sectors = 64};
}

std::vector<Change> all_changes() {
  std::vector<Change> changes;
  const auto add = [&](const char* limit, auto member, auto small, auto large) {
    Change change{limit, usual(), usual()};
    change.small.*member = small;
    change.large.*member = large;
    changes.push_back(change);
  };
  add("max_sectors", &QueueLimits::max_sectors, 3U, 40U);
  add("max_segments", &QueueLimits::max_segments, 1U, 20U);
  add("max_segment_bytes", &QueueLimits::max_segment_bytes, 1024U, 65536U);
  add("max_discard_sectors", &QueueLimits::max_discard_sectors, 7U, 90U);
  add("max_write_zeroes_sectors", &QueueLimits::max_write_zeroes_sectors, 5U, 80U);
  add("virt_boundary_mask", &QueueLimits::virt_boundary_mask, 4095U, 0U);
  add("dma_alignment_mask", &QueueLimits::dma_alignment_mask, 511U, 0U);
  add("chunk_sectors", &QueueLimits::chunk_sectors, 10U, 0U);
  add("discard_granularity_sectors", &QueueLimits::discard_granularity_sectors, 8U, 48U);
  add("write_zeroes_granularity_sectors", &QueueLimits::write_zeroes_granularity_sectors, 8U, 0U);
  Change all{"all", usual(), usual()};
  all.small = {.max_sectors = 5,
               .max_segments = 1,
               .max_segment_bytes = 1024,
               .virt_boundary_mask = 1023,
               .max_discard_sectors = 9,
               .max_write_zeroes_sectors = 3,
               .dma_alignment_mask = 511,
               .chunk_sectors = 18,
               .discard_granularity_sectors = 6};
  changes.push_back(all);
  return changes;
}

/// Which of the requests that the driver has are requeued, and when.
struct Plan {
  bool auto_kick = true;
  bool quiesced = false;
  unsigned requeue_every = 1;
};

/// Changes the limits from `before` to `after` and back, under the traffic of two contexts, with
/// one I/O in each state: with the driver, requeued, partly issued, not issued.
void change_under_traffic(const QueueLimits& before, const QueueLimits& after, const Plan& plan) {
  Bench bench{{.capacity_sectors = 2 * Traffic::all_sectors,
               .limits = before,
               .depth = 5,
               .auto_kick = plan.auto_kick},
              2};
  ASSERT_NE(bench.disk, nullptr);
  bench.driver.mode = Mode::keep;
  Traffic traffic[2]{Traffic{0}, Traffic{Traffic::all_sectors}};
  for (std::uint32_t i = 0; i != 2; ++i) {
    for (auto& bio : traffic[i].bios) bench.disk->submit(bench.context(i), *bio);
  }
  unsigned turn = 0;
  const auto answer = [&] {
    auto owned = bench.driver.take_kept();
    if (++turn % plan.requeue_every == 0) {
      std::move(owned).requeue();
    } else {
      bench.driver.end(bench.data(), std::move(owned));
    }
  };
  for (const QueueLimits& limits : {after, before, after}) {
    answer();  // one returns before the change, the others during it
    EXPECT_TRUE(!plan.quiesced || bench.quiesce());
    bench.runtime.run();
    Operation operation;
    bench.disk->set_limits(operation.control, limits);
    bench.runtime.run();
    EXPECT_EQ(operation.done, bench.driver.kept.empty());
    for (int i = 0; i != 40 && !operation.done; ++i) {
      if (!bench.driver.kept.empty()) answer();
      bench.runtime.run();
    }
    ASSERT_TRUE(operation.done);
    EXPECT_EQ(operation.control.status(), Status::ok);
    EXPECT_EQ(bench.disk->limits(), limits);
    EXPECT_TRUE(!plan.quiesced || bench.unquiesce());
    bench.disk->kick_requeued();
    bench.runtime.run();
  }
  bench.driver.mode = Mode::end;
  end_kept(bench);
  bench.disk->kick_requeued();
  bench.runtime.run();
  for (Traffic& its : traffic) its.expect_done(bench);
  expect_no_tag_is_taken(bench);
}

TEST(SetLimits, EachLimitShrinksAndGrowsWithIoInEveryState) {
  for (const Change& change : all_changes()) {
    for (const bool shrinks : {true, false}) {
      for (unsigned how = 0; how != 12; ++how) {
        SCOPED_TRACE(std::string{change.limit} + (shrinks ? " shrinks " : " grows ") +
                     std::to_string(how));
        change_under_traffic(shrinks ? change.large : change.small,
                             shrinks ? change.small : change.large,
                             {.auto_kick = (how & 1U) != 0,
                              .quiesced = (how & 2U) != 0,
                              .requeue_every = 1 + how / 4});
        if (HasFailure()) return;
      }
    }
  }
}

// --- requests that were requeued -----------------------------------------------------------------

// Goal: a request that no longer keeps the limits is issued in parts, with the tag that it has,
// even if no other tag is free.
TEST(SetLimits, ARequeuedRequestIsIssuedInPartsWithItsTag) {
  for (const bool auto_kick : {false, true}) {
    Bench bench{{.capacity_sectors = 1024,
                 .limits = {.max_sectors = 32},
                 .depth = 2,
                 .auto_kick = auto_kick}};
    bench.driver.mode = Mode::keep;
    Write writes[3]{Write{0, 32}, Write{64, 30}, Write{128, 20}};
    for (Write& write : writes) bench.disk->submit(bench.context(), *write.bio);
    requeue_and_hold(bench);
    EXPECT_TRUE(change(bench, {.max_sectors = 12}));
    EXPECT_EQ(bench.disk->limits().max_sectors, 12U);
    EXPECT_EQ(bench.disk->config().limits.max_sectors, 32U) << "what the disk was made from";
    finish(bench);
    for (Write& write : writes) write.expect_written(bench);
    // The parts of one request are issued one after another, those of several side by side.
    const mq::Counters counters = bench.disk->counters();
    EXPECT_EQ(counters.started_requests, 3U + 3U + 2U);
    EXPECT_EQ(counters.ended_requests, counters.started_requests);
    expect_no_tag_is_taken(bench);
  }
}

// Goal: a request that is cut is whole again when the limits grow before it is issued, and while
// its rest waits.
TEST(SetLimits, ARequestThatWasCutIsJoinedWhenTheLimitsGrow) {
  Bench bench{{.capacity_sectors = 1024, .limits = {.max_sectors = 32}}};
  bench.driver.mode = Mode::keep;
  Write write{0, 32};
  bench.disk->submit(bench.context(), *write.bio);
  requeue_and_hold(bench);
  EXPECT_TRUE(change(bench, {.max_sectors = 8}) && change(bench, {.max_sectors = 3}));
  EXPECT_TRUE(change(bench, {.max_sectors = 10}));
  bench.driver.seen.clear();
  EXPECT_TRUE(bench.unquiesce());
  EXPECT_EQ(bench.driver.lengths(), std::vector<std::uint64_t>{10});
  requeue_and_hold(bench);  // the driver gives back the first part of a request with a rest
  EXPECT_TRUE(change(bench, {.max_sectors = 20}));
  bench.driver.seen.clear();
  EXPECT_TRUE(bench.unquiesce());
  EXPECT_EQ(bench.driver.lengths(), std::vector<std::uint64_t>{20});
  EXPECT_TRUE(bench.quiesce());
  end_kept(bench);
  EXPECT_EQ(write.ends.count, 0) << "the rest waits";
  EXPECT_TRUE(change(bench, {.max_sectors = 64}));
  finish(bench);
  EXPECT_EQ(bench.driver.lengths(), std::vector<std::uint64_t>{12});
  write.expect_written(bench);
}

TEST(SetLimits, APartThatFailsEndsTheIo) {
  Bench bench{{.capacity_sectors = 1024, .limits = {.max_sectors = 32}, .depth = 1}};
  bench.driver.mode = Mode::keep;
  Write write{0, 32};
  bench.disk->submit(bench.context(), *write.bio);
  requeue_and_hold(bench);
  EXPECT_TRUE(change(bench, {.max_sectors = 12}));
  EXPECT_TRUE(bench.unquiesce());
  end_kept(bench);
  end_kept(bench, Status::medium_error);  // the second of three parts
  EXPECT_EQ(write.ends.statuses, std::vector{Status::medium_error});
  bench.driver.mode = Mode::end;
  Write other{64, 12};
  bench.disk->submit(bench.context(), *other.bio);
  other.expect_written(bench);
  expect_no_tag_is_taken(bench);
}

// Goal: a rest that the limits do not allow ends the I/O with `invalid`. The part before it stays.
TEST(SetLimits, ARestThatTheLimitsDoNotAllowEndsTheIo) {
  Bench bench{{.capacity_sectors = 1024, .depth = 1}};
  bench.driver.mode = Mode::keep;
  Write source{0, 16};
  std::byte* const at = source.memory.data;
  // The block behind the first 8 lies in two pieces with a gap between them.
  const std::vector<Segment> memory{Segment{at, 4096}, Segment{at + 4096, 256},
                                    Segment{at + 5000, 256}};
  mq::Bio bio = mq::Bio::write(0, memory, {&Ends::on_end, &source.ends});
  bench.disk->submit(bench.context(), bio);
  requeue_and_hold(bench);
  EXPECT_TRUE(change(bench, {.virt_boundary_mask = 4095}));
  finish(bench);
  EXPECT_EQ(source.ends.statuses, std::vector{Status::invalid});
  EXPECT_EQ(bench.driver.lengths(), std::vector<std::uint64_t>{8});
  expect_no_tag_is_taken(bench);
}

// Goal: a driver that refuses or requeues a part gets the same part again, before later requests.
TEST(SetLimits, APartThatIsRefusedOrRequeuedIsIssuedAgain) {
  Bench bench{{.capacity_sectors = 1024, .limits = {.max_sectors = 32}}};
  bench.driver.mode = Mode::keep;
  Write write{0, 32, {.nowait = true}};
  bench.disk->submit(bench.context(), *write.bio);
  requeue_and_hold(bench);
  EXPECT_TRUE(change(bench, {.max_sectors = 12}));
  EXPECT_TRUE(bench.unquiesce());
  requeue_kept(bench);
  ASSERT_EQ(bench.driver.kept.size(), 1U);
  bench.driver.seen.clear();
  bench.driver.mode = Mode::busy;
  end_kept(bench);
  EXPECT_TRUE(bench.driver.seen.empty());
  bench.driver.mode = Mode::end;
  bench.clock.pass_ms(10);
  bench.runtime.run();
  EXPECT_EQ(bench.driver.lengths(), (std::vector<std::uint64_t>{12, 8}));
  write.expect_written(bench);
}

/// A disk whose requests can move from one queue to the other, which has a tag of its own.
constexpr mq::DiskConfig two_queues_of_one_tag{.capacity_sectors = 1024,
                                               .limits = {.max_sectors = 32},
                                               .normal_queues = 2,
                                               .max_normal_queues = 2,
                                               .depth = 1};

// Goal: a request with a rest that moves to another queue takes its rest along.
TEST(SetLimits, ARequestThatWasCutMovesToAnotherQueue) {
  for (const bool exchanges : {false, true}) {
    Bench bench{two_queues_of_one_tag, 2};
    bench.driver.mode = Mode::keep;
    Write moved{0, 32}, resident{64, 31}, behind{128, 30};
    bench.disk->submit(bench.context(1), *moved.bio);
    if (exchanges) bench.disk->submit(bench.context(0), *resident.bio);
    bench.disk->submit(bench.context(1), *behind.bio);
    requeue_and_hold(bench);
    EXPECT_TRUE(change(bench, {.max_sectors = 12}));
    EXPECT_TRUE(bench.set_queue_count(1));
    EXPECT_TRUE(change(bench, {.max_sectors = 10}));
    finish(bench);
    for (const fake::Seen& seen : bench.driver.seen) EXPECT_EQ(seen.hw_queue, 0U);
    moved.expect_written(bench);
    if (exchanges) resident.expect_written(bench);
    behind.expect_written(bench);
    expect_no_tag_is_taken(bench);
  }
}

// Goal: a removal ends requests with rests, whichever part the driver has.
TEST(SetLimits, ARemovalEndsRequestsThatWereCut) {
  for (const int state : {0, 1, 2}) {
    Bench bench{{.capacity_sectors = 1024, .limits = {.max_sectors = 32}, .depth = 1}};
    bench.driver.mode = Mode::keep;
    Write write{0, 32};
    bench.disk->submit(bench.context(), *write.bio);
    requeue_and_hold(bench);
    EXPECT_TRUE(change(bench, {.max_sectors = 12}));
    EXPECT_TRUE(state == 0 || bench.unquiesce());
    EXPECT_TRUE(state != 2 || bench.quiesce());
    if (state == 2) end_kept(bench);
    Operation removal;
    bench.disk->remove(removal.control);
    bench.runtime.run();
    EXPECT_EQ(removal.done, state != 1) << "the driver has a part";
    end_kept(bench);
    ASSERT_TRUE(removal.done);
    EXPECT_EQ(write.ends.statuses, std::vector{Status::offline});
    EXPECT_EQ(bench.disk->pool().tags().taken_count(QueueIndex{0}), 0U);
    bench.disk.reset();
  }
}

// Goal: the same for a request that also moved to another queue.
TEST(SetLimits, ARemovalEndsARequestThatWasCutAndMoved) {
  Bench bench{two_queues_of_one_tag, 2};
  bench.driver.mode = Mode::keep;
  Write write{0, 32};
  bench.disk->submit(bench.context(1), *write.bio);
  requeue_and_hold(bench);
  EXPECT_TRUE(change(bench, {.max_sectors = 12}));
  EXPECT_TRUE(bench.set_queue_count(1));
  EXPECT_TRUE(bench.run([&](mq::Control& control) { bench.disk->remove(control); }));
  EXPECT_EQ(write.ends.statuses, std::vector{Status::offline});
  for (const std::uint32_t queue : {0U, 1U}) {
    EXPECT_EQ(bench.disk->pool().tags().taken_count(QueueIndex{queue}), 0U);
  }
  bench.disk.reset();
}

// --- order ---------------------------------------------------------------------------------------

// Goal: writes of a zoned disk keep their order when they are cut, while a reserved command passes.
TEST(SetLimits, WritesOfAZonedDiskKeepTheirOrderWhenTheyAreCut) {
  Bench bench{{.capacity_sectors = 1024,
               .limits = {.max_sectors = 32},
               .zoned = true,
               .zone_sectors = 256,
               .depth = 8,
               .reserved_depth = 1}};
  bench.driver.mode = Mode::keep;
  Write first{0, 32}, second{32, 20}, third{52, 8}, fourth{60, 4};
  bench.disk->submit(bench.context(), *first.bio);
  bench.disk->submit(bench.context(), *second.bio);
  bench.disk->submit(bench.context(), *third.bio);
  requeue_and_hold(bench);
  EXPECT_TRUE(change(bench, {.max_sectors = 12}));
  bench.driver.seen.clear();
  EXPECT_TRUE(bench.unquiesce());
  bench.disk->submit(bench.context(), *fourth.bio);
  EXPECT_EQ(bench.driver.kept.size(), 1U) << "nothing is issued between a part and its rest";
  int commands = 0;
  auto idle = bench.disk->allocate_private(bench.context(), mq::Op::driver_out, true);
  ASSERT_TRUE(idle.has_value());
  bench.disk->execute_private(
      bench.context(), *std::move(idle),
      {[](void* count, mq::Payload<fake::Driver>&) { ++*static_cast<int*>(count); }, &commands});
  bench.runtime.run();
  EXPECT_EQ(bench.driver.kept.size(), 2U) << "an abort of the part";
  requeue_kept(bench);
  for (int i = 0; i != 12 && !bench.driver.kept.empty(); ++i) end_kept(bench);
  EXPECT_EQ(commands, 1);
  std::uint64_t next = 0;
  for (const fake::Seen& seen : bench.driver.seen) {
    if (seen.op != mq::Op::write || (seen.sector == 0 && next != 0 && next != 12)) continue;
    if (seen.sector + seen.length_bytes / 512 <= next) continue;  // the part that was requeued
    EXPECT_EQ(seen.sector, next);
    next = seen.sector + seen.length_bytes / 512;
  }
  EXPECT_EQ(next, 64U);
  for (Write* write : {&first, &second, &third, &fourth}) write->expect_written(bench);
}

// Goal: a write that is submitted while the driver has a part of an earlier write waits for the
// rest, also when a part of a read ends before.
TEST(SetLimits, ALaterWriteOfAZonedDiskDoesNotPassARest) {
  Bench bench{{.capacity_sectors = 1024,
               .limits = {.max_sectors = 32},
               .zoned = true,
               .zone_sectors = 256}};
  bench.driver.mode = Mode::keep;
  Write source{512, 24}, first{0, 32}, later{32, 8};
  mq::Bio read = mq::Bio::read(512, source.memory, {&Ends::on_end, &source.ends});
  bench.disk->submit(bench.context(), read);
  bench.disk->submit(bench.context(), *first.bio);
  requeue_and_hold(bench);
  EXPECT_TRUE(change(bench, {.max_sectors = 12}));
  bench.driver.seen.clear();
  EXPECT_TRUE(bench.unquiesce());
  ASSERT_EQ(bench.driver.kept.size(), 2U) << "a part of each";
  bench.disk->submit(bench.context(), *later.bio);
  bench.runtime.run();
  EXPECT_EQ(bench.driver.kept.size(), 2U);
  bench.driver.end(bench.data(), bench.driver.take_kept());
  bench.runtime.run();
  EXPECT_EQ(bench.driver.kept.size(), 1U) << "the part of the write";
  for (int i = 0; i != 8 && !bench.driver.kept.empty(); ++i) end_kept(bench);
  std::vector<std::uint64_t> writes;
  for (const fake::Seen& seen : bench.driver.seen) {
    if (seen.op == mq::Op::write) writes.push_back(seen.sector);
  }
  EXPECT_EQ(writes, (std::vector<std::uint64_t>{0, 12, 24, 32}));
  EXPECT_EQ(source.ends.statuses, std::vector{Status::ok});
  first.expect_written(bench);
  later.expect_written(bench);
}

// Goal: a write of a zoned disk whose part fails has no rest, and the next write is issued.
TEST(SetLimits, APartOfAZonedWriteThatFailsHoldsUpNoLaterWrite) {
  Bench bench{{.capacity_sectors = 1024,
               .limits = {.max_sectors = 32},
               .zoned = true,
               .zone_sectors = 256}};
  bench.driver.mode = Mode::keep;
  Write first{0, 32}, later{256, 8};
  bench.disk->submit(bench.context(), *first.bio);
  requeue_and_hold(bench);
  EXPECT_TRUE(change(bench, {.max_sectors = 12}));
  EXPECT_TRUE(bench.unquiesce());
  ASSERT_EQ(bench.driver.kept.size(), 1U);
  end_kept(bench, Status::medium_error);
  EXPECT_EQ(first.ends.statuses, std::vector{Status::medium_error});
  bench.driver.mode = Mode::end;
  bench.disk->submit(bench.context(), *later.bio);
  bench.runtime.run();
  later.expect_written(bench);
  expect_no_tag_is_taken(bench);
}

// Goal: requests that were requeued in any order are cut and issued in the order of their first
// issue, and before later bios.
TEST(SetLimits, RequestsThatAreCutKeepTheirPlace) {
  Bench bench{{.capacity_sectors = 1024, .limits = {.max_sectors = 32}, .depth = 4}};
  bench.driver.mode = Mode::keep;
  Write first{0, 32}, second{64, 16}, third{128, 24}, later{192, 24};
  for (Write* write : {&first, &second, &third}) bench.disk->submit(bench.context(), *write->bio);
  std::swap(bench.driver.kept[0], bench.driver.kept[2]);
  requeue_and_hold(bench);
  EXPECT_TRUE(change(bench, {.max_sectors = 16}));
  bench.disk->submit(bench.context(), *later.bio);
  bench.driver.seen.clear();
  EXPECT_TRUE(bench.unquiesce());
  std::vector<std::uint64_t> sectors;
  for (const fake::Seen& seen : bench.driver.seen) sectors.push_back(seen.sector);
  EXPECT_EQ(sectors, (std::vector<std::uint64_t>{0, 64, 128, 192}));
  while (!bench.driver.kept.empty()) end_kept(bench);
  for (Write* write : {&first, &second, &third, &later}) write->expect_written(bench);
}

// --- bios that became impossible -----------------------------------------------------------------

// Goal: memory that the new limits refuse ends a bio with `invalid`, in whatever state it waits.
// What was issued before is not undone.
TEST(SetLimits, MemoryThatIsNoLongerAlignedEndsTheBio) {
  for (const bool auto_kick : {false, true}) {
    Bench bench{{.capacity_sectors = 1024,
                 .limits = {.max_sectors = 8},
                 .depth = 2,
                 .auto_kick = auto_kick}};
    bench.driver.mode = Mode::keep;
    Write partly{0, 32, {}, 256}, waiting{64, 8, {}, 256}, aligned{128, 8}, done{192, 8, {}, 256};
    bench.driver.mode = Mode::end;
    bench.disk->submit(bench.context(), *done.bio);
    bench.driver.mode = Mode::keep;
    for (Write* write : {&partly, &waiting, &aligned}) {
      bench.disk->submit(bench.context(), *write->bio);
    }
    EXPECT_TRUE(bench.quiesce());
    bench.driver.end(bench.data(), bench.driver.take_kept());
    requeue_kept(bench);
    EXPECT_TRUE(change(bench, {.max_sectors = 8, .dma_alignment_mask = 511}));
    EXPECT_EQ(partly.ends.statuses, std::vector{Status::invalid});
    EXPECT_EQ(waiting.ends.statuses, std::vector{Status::invalid});
    Write late{256, 8, {}, 256};
    bench.disk->submit(bench.context(), *late.bio);
    EXPECT_EQ(late.ends.statuses, std::vector{Status::invalid}) << "as at a submit";
    finish(bench);
    aligned.expect_written(bench);
    done.expect_written(bench);
    EXPECT_TRUE(change(bench, {.max_sectors = 8}));
    bench.disk->submit(bench.context(), *late.bio);
    EXPECT_EQ(late.ends.statuses, (std::vector{Status::invalid, Status::ok}));
    expect_no_tag_is_taken(bench);
  }
}

// Goal: a bio whose preflush waits is checked before its data is issued. A bio whose data is
// written gets its postflush.
TEST(SetLimits, AFlushStepThatWaitsEndsWithItsBio) {
  Bench bench{{.capacity_sectors = 1024, .write_cache = true, .depth = 1}};
  bench.driver.mode = Mode::keep;
  Write written{0, 8, {.fua = true}, 256}, flushing{64, 8, {.preflush = true}, 256};
  bench.disk->submit(bench.context(), *written.bio);
  EXPECT_TRUE(bench.quiesce());
  end_kept(bench);  // the postflush waits
  bench.disk->submit(bench.context(), *flushing.bio);
  EXPECT_TRUE(change(bench, {.dma_alignment_mask = 511}));
  EXPECT_EQ(flushing.ends.statuses, std::vector{Status::invalid});
  finish(bench);
  written.expect_written(bench);
  ASSERT_EQ(bench.driver.seen.size(), 1U);
  EXPECT_EQ(bench.driver.seen[0].op, mq::Op::flush);

  // The same with flush requests that were requeued.
  EXPECT_TRUE(change(bench, {}));
  Write again{128, 8, {.fua = true}, 256}, behind{192, 8, {.preflush = true}, 256};
  bench.driver.mode = Mode::keep;
  bench.disk->submit(bench.context(), *again.bio);
  end_kept(bench);
  requeue_and_hold(bench);
  EXPECT_TRUE(change(bench, {.dma_alignment_mask = 511}));
  finish(bench);
  again.expect_written(bench);
  EXPECT_TRUE(change(bench, {}));
  bench.driver.mode = Mode::keep;
  bench.disk->submit(bench.context(), *behind.bio);
  requeue_and_hold(bench);
  EXPECT_TRUE(change(bench, {.dma_alignment_mask = 511}));
  EXPECT_EQ(behind.ends.statuses, std::vector{Status::invalid});
  expect_no_tag_is_taken(bench);
}

// Goal: an operation that the device no longer has ends with not_supported, and a zone append that
// may not be split with invalid.
TEST(SetLimits, AnOperationThatTheDeviceNoLongerHasEnds) {
  for (const bool requeued : {false, true}) {
    const QueueLimits before{
        .max_discard_sectors = 64, .max_write_zeroes_sectors = 64, .max_zone_append_sectors = 16};
    Bench bench{{.capacity_sectors = 1024,
                 .limits = before,
                 .zoned = true,
                 .zone_sectors = 256,
                 .depth = requeued ? 4U : 1U}};
    bench.driver.mode = Mode::keep;
    Ends ends;
    Write source{0, 16}, blocker{512, 8};
    const std::vector<Segment> memory{source.memory};
    mq::Bio discard = mq::Bio::discard(0, 512, {&Ends::on_end, &ends});
    mq::Bio zeroes = mq::Bio::write_zeroes(8, 512, {&Ends::on_end, &ends});
    mq::Bio append = mq::Bio::zone_append(256, memory, {&Ends::on_end, &ends});
    if (!requeued) bench.disk->submit(bench.context(), *blocker.bio);
    for (mq::Bio* bio : {&discard, &zeroes, &append}) bench.disk->submit(bench.context(), *bio);
    requeue_and_hold(bench);
    EXPECT_TRUE(change(bench, {.max_write_zeroes_sectors = 64, .max_zone_append_sectors = 8}));
    EXPECT_EQ(discard.status(), Status::not_supported);
    finish(bench);
    EXPECT_EQ(zeroes.status(), Status::ok);
    EXPECT_EQ(append.status(), Status::invalid) << "too long, and not to be split";
    EXPECT_EQ(ends.count, 3);
    bench.disk->submit(bench.context(), discard);
    EXPECT_EQ(discard.status(), Status::not_supported);
    EXPECT_TRUE(change(bench, before));
    bench.disk->submit(bench.context(), discard);
    EXPECT_EQ(discard.status(), Status::ok);
    expect_no_tag_is_taken(bench);
  }
}

// Goal: a bio that is deferred between the freeze and the thaw, and that must not wait, is not
// split.
TEST(SetLimits, ADeferredBioThatMustNotWaitEndsWithAgainIfItWouldBeSplit) {
  Bench bench{{.capacity_sectors = 1024}, 2};
  Write whole{0, 8, {.nowait = true}}, split{64, 9, {.nowait = true}};
  Operation operation;
  bench.disk->set_limits(operation.control, {.max_sectors = 8});
  static_cast<void>(bench.context(0).run());
  {
    const Judge::Disk::Plug plug{*bench.disk, bench.context(0)};
    bench.disk->submit(bench.context(0), *whole.bio);
    bench.disk->submit(bench.context(0), *split.bio);
    bench.runtime.run();
    EXPECT_TRUE(operation.done);
  }
  whole.expect_written(bench);
  EXPECT_EQ(split.ends.statuses, std::vector{Status::again});
}

// Goal: the capacity and the read-only state are checked when a bio is submitted, and not again
// when a change of limits cuts its request.
TEST(SetLimits, ACutDoesNotCheckTheMediumAgain) {
  Bench bench{{.capacity_sectors = 1024, .limits = {.max_sectors = 32}}};
  bench.driver.mode = Mode::keep;
  Write write{0, 32};
  bench.disk->submit(bench.context(), *write.bio);
  requeue_and_hold(bench);
  EXPECT_FALSE(bench.disk->set_capacity(16).has_value());
  bench.disk->set_read_only(true);
  EXPECT_TRUE(change(bench, {.max_sectors = 12, .dma_alignment_mask = 3}));
  finish(bench);
  write.expect_written(bench);
  EXPECT_TRUE(bench.disk->is_read_only()) << "the limits do not change it";
  bench.disk->set_read_only(false);
  Write odd{0, 8, {}, 1};
  bench.disk->submit(bench.context(), *odd.bio);
  EXPECT_EQ(odd.ends.statuses, std::vector{Status::invalid}) << "nor it the limits";
}

// --- the operation -------------------------------------------------------------------------------

// Goal: limits that Disk::create would refuse are refused, with the name of the limit, in their
// turn.
TEST(SetLimits, RefusedLimitsChangeNothing) {
  Bench bench{{.capacity_sectors = 1024,
               .logical_block_bytes = 4096,
               .limits = {.max_sectors = 16},
               .zoned = true,
               .zone_sectors = 256},
              2};
  const QueueLimits before = bench.disk->limits();
  EXPECT_EQ(before.chunk_sectors, 256U) << "the zones";
  bench.driver.mode = Mode::keep;
  Write write{0, 32};
  bench.disk->submit(bench.context(), *write.bio);
  const auto refused = [&](const QueueLimits& limits) {
    Operation operation;
    bench.disk->set_limits(operation.control, limits);
    bench.runtime.run();
    EXPECT_TRUE(operation.done) << "waits for nothing";
    EXPECT_EQ(operation.control.status(), Status::invalid);
    EXPECT_EQ(bench.disk->limits(), before);
    const auto& error = operation.control.error();
    return error.has_value() ? std::string{error->field} + ": " + to_string(error->reason) : "";
  };
  EXPECT_EQ(refused({.max_sectors = 7}), "max_sectors: too small") << "the block is fixed";
  EXPECT_EQ(refused({.max_segments = 1, .max_segment_bytes = 512}), "max_segments: too small");
  EXPECT_EQ(refused({.virt_boundary_mask = 4096}),
            "virt_boundary_mask: not one less than a power of two");
  EXPECT_EQ(refused({.chunk_sectors = 128}), "chunk_sectors: in contradiction to another field")
      << "the size of a zone is fixed";
  end_kept(bench);
  bench.driver.mode = Mode::end;
  end_kept(bench);
  write.expect_written(bench);
  EXPECT_EQ(bench.driver.lengths(), (std::vector<std::uint64_t>{16, 16}));
  EXPECT_TRUE(change(bench, before));
  EXPECT_TRUE(change(bench, {.max_sectors = 8, .chunk_sectors = 0}));
  EXPECT_EQ(bench.disk->limits().chunk_sectors, 256U);
}

// Goal: a Control whose limits were refused carries no error in its next run.
TEST(SetLimits, TheErrorBelongsToOneRun) {
  Bench bench{{}};
  Operation operation;
  bench.disk->set_limits(operation.control, {.max_sectors = 0});
  bench.runtime.run();
  EXPECT_TRUE(operation.control.error().has_value());
  bench.disk->set_limits(operation.control, {.max_sectors = 1});
  bench.runtime.run();
  EXPECT_FALSE(operation.control.error().has_value());
  EXPECT_EQ(operation.control.status(), Status::ok);
  bench.disk->set_limits(operation.control, {.max_sectors = 0});
  bench.runtime.run();
  EXPECT_TRUE(operation.control.error().has_value());
  bench.disk->set_queue_count(operation.control, 1);
  bench.runtime.run();
  EXPECT_FALSE(operation.control.error().has_value()) << "another kind of operation";
  EXPECT_EQ(operation.control.status(), Status::ok);
}

// Goal: a private request has no range. One that waits for a kick is issued as it was.
TEST(SetLimits, APrivateRequestThatWaitsIsNotCut) {
  Bench bench{{.capacity_sectors = 64, .auto_kick = false}};
  bench.driver.mode = Mode::keep;
  auto idle = bench.disk->allocate_private(bench.context(), mq::Op::driver_in, false);
  ASSERT_TRUE(idle.has_value());
  Status status = Status::aborted;
  bench.disk->execute_private(bench.context(), *std::move(idle),
                              {[](void* its, mq::Payload<fake::Driver>& payload) {
                                 *static_cast<Status*>(its) = payload.status();
                               },
                               &status});
  requeue_kept(bench);
  EXPECT_TRUE(change(bench, {.max_sectors = 1}));
  bench.driver.mode = Mode::end;
  bench.disk->kick_requeued();
  bench.runtime.run();
  EXPECT_EQ(bench.driver.calls, 2);
  EXPECT_EQ(status, Status::ok);
}

// Goal: a change of limits waits for what the driver has, and for nothing that waits for a later
// operation.
TEST(SetLimits, WaitsOnlyForWhatTheDriverHas) {
  for (const bool auto_kick : {false, true}) {
    Bench bench{{.capacity_sectors = 1024,
                 .limits = {.max_sectors = 32},
                 .depth = 1,
                 .auto_kick = auto_kick},
                2};
    bench.driver.mode = Mode::keep;
    Write out{0, 32}, waits{64, 32}, other{128, 32};
    bench.disk->submit(bench.context(0), *out.bio);
    bench.disk->submit(bench.context(0), *waits.bio);
    bench.disk->submit(bench.context(1), *other.bio);
    EXPECT_TRUE(bench.quiesce());
    Operation operation, freeze;
    bench.disk->set_limits(operation.control, {.max_sectors = 16});
    bench.disk->freeze(freeze.control);
    bench.runtime.run();
    EXPECT_FALSE(operation.done);
    EXPECT_EQ(bench.disk->limits().max_sectors, 32U) << "not while the driver has a request";
    requeue_kept(bench);
    EXPECT_TRUE(operation.done);
    EXPECT_TRUE(freeze.done);
    EXPECT_TRUE(change(bench, {.max_sectors = 8})) << "frozen and quiesced";
    EXPECT_TRUE(bench.thaw());
    finish(bench);
    for (Write* write : {&out, &waits, &other}) write->expect_written(bench);
  }
}

TEST(SetLimits, EndsOfflineBehindARemovalAndAfterIt) {
  Bench bench{{.capacity_sectors = 1024}, 2};
  Operation removal, behind, later, refused;
  bench.disk->remove(removal.control);
  bench.disk->set_limits(behind.control, {.max_sectors = 8});
  bench.runtime.run();
  EXPECT_TRUE(removal.done && behind.done);
  EXPECT_EQ(behind.control.status(), Status::offline);
  bench.disk->set_limits(later.control, {.max_sectors = 8});
  bench.disk->set_limits(refused.control, {.max_sectors = 0});
  EXPECT_TRUE(later.done && refused.done) << "within the call";
  EXPECT_EQ(later.control.status(), Status::offline);
  EXPECT_EQ(refused.control.status(), Status::offline);
  EXPECT_EQ(bench.disk->limits(), QueueLimits{});
  bench.disk.reset();
}

// --- threads -------------------------------------------------------------------------------------

/// A driver that ends each request at once, on any number of threads.
struct Ender : fake::Driver {
  Answer queue_rq(Hw&, QueueData&, blkown::Idle<Rq> idle, bool) override {
    std::move(idle).start().end_ok();
    return Answer::accepted();
  }
  void commit_rqs(Hw&, QueueData&) override {}
};

/// Submits two bios on one context again and again: a discard, and a write from an odd place.
struct Submitter : mq::Work {
  Submitter(Ender::Disk& its_disk, mq::Context& its_context)
      : Work{[](void* self, Work&) { static_cast<Submitter*>(self)->run(); }, this},
        disk{its_disk},
        context{its_context} {}
  void run() {
    for (mq::Bio* bio : {&discard, &write}) {
      if (bio->is_in_flight()) continue;
      counts[static_cast<std::size_t>(bio->status())] += 1;
      disk.submit(context, *bio);
    }
    const bool is_over = stops.load(std::memory_order_relaxed);
    if (is_over && !discard.is_in_flight() && !write.is_in_flight()) return over.set();
    context.post(*this);
  }
  Ender::Disk& disk;
  mq::Context& context;
  alignas(512) std::byte memory[1024]{};
  mq::Bio discard = mq::Bio::discard(0, 8 * 512, {});
  mq::Bio write = mq::Bio::write(8, Segment{memory + 16, 512}, {});
  std::array<std::uint64_t, blkown::status_count> counts{};
  std::atomic<bool> stops{false};
  mq::Event over;
};

// Goal: the limits change while threads submit. ThreadSanitizer judges the accesses to the limits:
// a frozen disk still checks the bios that are submitted.
TEST(SetLimits, ThreadsSubmitWhileTheLimitsChange) {
  constexpr std::uint32_t threads = 3;
  Ender driver;
  mq::ThreadRuntime runtime{threads};
  auto disk = *Ender::Disk::create({.capacity_sectors = 1024}, driver, runtime);
  std::vector<std::unique_ptr<Submitter>> submitters;
  for (std::uint32_t i = 0; i != threads; ++i) {
    submitters.push_back(std::make_unique<Submitter>(*disk, runtime.context(i)));
    runtime.context(i).post(*submitters.back());
  }
  for (unsigned i = 0; i != 60; ++i) {
    const QueueLimits limits{.max_discard_sectors = i % 2 == 0 ? 3U : 0U,
                             .dma_alignment_mask = i % 4 < 2 ? 0U : 511U};
    const auto start = [&](mq::Control& control) { disk->set_limits(control, limits); };
    ASSERT_EQ(mq::run_and_wait(runtime, start), Status::ok);
    EXPECT_EQ(disk->limits(), limits);
  }
  for (auto& submitter : submitters) {
    submitter->stops = true;
    static_cast<void>(runtime.wait_for(submitter->over));
    std::uint64_t sum = 0;
    for (const Status status : {Status::ok, Status::invalid, Status::not_supported}) {
      sum += submitter->counts[static_cast<std::size_t>(status)];
      submitter->counts[static_cast<std::size_t>(status)] = 0;
    }
    EXPECT_GT(sum, 0U);
    for (const std::uint64_t count : submitter->counts) EXPECT_EQ(count, 0U);
  }
  EXPECT_EQ(mq::remove(runtime, *disk), Status::ok);
}

// --- a disk on a disk ----------------------------------------------------------------------------

/// A driver that passes each request on to another disk.
struct Upper : fake::Driver {
  /// A request and the bio that carries it.
  struct Passed {
    blkown::Owned<Rq> owned;
    std::vector<Segment> memory;
    std::unique_ptr<mq::Bio> bio;  // does not move
  };

  explicit Upper(Judge::Disk& its_lower) : lower{its_lower} {}

  Answer queue_rq(Hw&, QueueData&, blkown::Idle<Rq> idle, bool) override {
    auto passed = std::make_unique<Passed>(std::move(idle).start());
    const mq::Payload<fake::Driver>& request = passed->owned.data();
    for (const Segment piece : request.segments()) passed->memory.push_back(piece);
    lengths.push_back(request.length_bytes() / 512);
    const auto on_end = [](void* its, mq::Bio& bio) {
      const std::unique_ptr<Passed> all{static_cast<Passed*>(its)};
      std::move(all->owned).end(bio.status());
    };
    passed->bio.reset(
        new mq::Bio(mq::Bio::write(request.sector(), passed->memory, {on_end, passed.get()})));
    mq::Bio& bio = *passed.release()->bio;
    lower.submit(bio);
    return Answer::accepted();
  }

  Judge::Disk& lower;
  std::vector<std::uint64_t> lengths;
};

// Goal: limits are a disk's own. A disk on another one needs no change when the lower disk's limits
// shrink: the lower disk splits what it gets.
TEST(SetLimits, ADiskOnADiskNeedsNoChange) {
  Bench bench{{.capacity_sectors = 1024, .limits = {.max_sectors = 16}, .depth = 2}};
  Upper driver{*bench.disk};
  auto upper = *Upper::Disk::create({.capacity_sectors = 1024, .limits = {.max_sectors = 16}},
                                    driver, bench.runtime);
  bench.driver.mode = Mode::keep;
  Write writes[3]{Write{0, 32}, Write{64, 32}, Write{128, 32}};
  for (Write& write : writes) upper->submit(bench.context(), *write.bio);
  bench.runtime.run();
  EXPECT_EQ(driver.lengths, std::vector<std::uint64_t>(6, 16));
  requeue_and_hold(bench);
  EXPECT_TRUE(change(bench, {.max_sectors = 6}));
  finish(bench);
  for (Write& write : writes) write.expect_written(bench);
  EXPECT_EQ(upper->limits().max_sectors, 16U);
  EXPECT_EQ(mq::remove(bench.runtime, *upper), Status::ok);
}

}  // namespace
}  // namespace set_limits
