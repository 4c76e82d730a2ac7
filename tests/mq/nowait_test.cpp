// SPDX-License-Identifier: BSL-1.0
//
// Tests of bios with IoFlags::nowait: where they end with Status::again, and where they do not.

#include <gtest/gtest.h>

#include <vector>

#include "mq/fake_driver.hpp"

namespace nowait {
namespace {

namespace mq = blkown::mq;
using blkown::QueueIndex;
using blkown::Status;
using fake::Bench;
using fake::Ends;
using fake::Read;
using fake::whole;
using Mode = fake::Driver::Mode;
using Disk = mq::Disk<fake::Driver>;

/// A nowait bio of `length_bytes`, with its memory and its record of ends.
struct Nowait {
  explicit Nowait(mq::Op op = mq::Op::read, mq::IoFlags flags = {}, std::size_t length_bytes = 512)
      : memory(length_bytes), bio{make(op, flags)} {}
  mq::Bio make(mq::Op op, mq::IoFlags flags) {
    flags.nowait = true;
    const mq::OnEnd<mq::Bio> on_end{&Ends::on_end, &ends};
    if (op == mq::Op::flush) return mq::Bio::flush(on_end, flags);
    return op == mq::Op::write ? mq::Bio::write(0, whole(memory), on_end, flags)
                               : mq::Bio::read(0, whole(memory), on_end, flags);
  }
  std::vector<std::byte> memory;
  Ends ends;
  mq::Bio bio;
};

/// Submits with or without a plug, and runs.
void submit(Bench<>& bench, mq::Bio& bio, bool is_plugged) {
  if (is_plugged) {
    const Disk::Plug plug{*bench.disk, bench.context()};
    bench.disk->submit(bench.context(), bio);
  } else {
    bench.disk->submit(bench.context(), bio);
  }
  bench.runtime.run();
}

TEST(Nowait, ABioThatWouldBeSplitEndsWithAgainBeforeAnythingIsIssued) {
  for (const bool is_plugged : {false, true}) {
    for (const bool is_blocking : {false, true}) {
      Bench bench{
          {.capacity_sectors = 1024, .limits = {.max_sectors = 1}, .blocking = is_blocking}};
      Nowait two_parts{mq::Op::read, {}, 1024}, one{mq::Op::read};
      submit(bench, two_parts.bio, is_plugged);
      EXPECT_EQ(two_parts.ends.statuses, std::vector{Status::again});
      EXPECT_EQ(bench.driver.calls, 0);
      EXPECT_EQ(bench.disk->counters().started_requests, 0U);
      submit(bench, one.bio, is_plugged);
      EXPECT_EQ(one.ends.statuses, std::vector{Status::ok});
    }
  }
}

TEST(Nowait, ABioThatNeedsAFlushStepEndsWithAgainBeforeAnythingIsIssued) {
  struct Case {
    bool write_cache, fua;
    mq::Op op;
    mq::IoFlags flags;
    Status status;
  };
  for (const Case& now :
       {Case{true, false, mq::Op::write, {.preflush = true}, Status::again},
        Case{true, false, mq::Op::read, {.preflush = true}, Status::again},
        Case{true, false, mq::Op::write, {.fua = true}, Status::again},
        Case{true, true, mq::Op::write, {.fua = true}, Status::ok},
        Case{true, true, mq::Op::write, {.preflush = true}, Status::again},
        Case{true, false, mq::Op::read, {.fua = true}, Status::ok},
        Case{true, false, mq::Op::flush, {}, Status::ok},
        Case{true, false, mq::Op::flush, {.preflush = true}, Status::ok},
        Case{false, false, mq::Op::write, {.fua = true, .preflush = true}, Status::ok},
        Case{false, false, mq::Op::flush, {}, Status::ok}}) {
    SCOPED_TRACE(testing::Message() << to_string(now.op) << " cache " << now.write_cache << " fua "
                                    << now.flags.fua << " preflush " << now.flags.preflush);
    Bench bench{{.capacity_sectors = 1024, .write_cache = now.write_cache, .fua = now.fua}};
    Nowait nowait{now.op, now.flags, now.op == mq::Op::flush ? 0U : 512U};
    submit(bench, nowait.bio, false);
    EXPECT_EQ(nowait.ends.statuses, std::vector{now.status});
    EXPECT_TRUE(now.status == Status::ok || bench.driver.calls == 0);
  }
}

/// Why an I/O waits.
enum class Obstacle { no_tag, bio_waits, busy, stopped, quiesced, frozen };

void raise(Bench<>& bench, Obstacle obstacle, Read& first, Read& second) {
  switch (obstacle) {
    case Obstacle::no_tag: submit(bench, first.bio, false); break;
    case Obstacle::bio_waits:
      submit(bench, first.bio, false);
      submit(bench, second.bio, false);
      break;
    case Obstacle::busy:
      bench.driver.next = {Mode::busy};
      submit(bench, first.bio, false);
      break;
    case Obstacle::stopped: bench.disk->hw_queue(QueueIndex{0}).stop(); break;
    case Obstacle::quiesced: bench.quiesce(); break;
    case Obstacle::frozen: bench.freeze(); break;
  }
}

// Method: each obstacle, for a bio that is issued at once, that a plug collects, and that the
// context's work issues. The bio has a preflush that the disk does not need.
TEST(Nowait, ASingleRequestEndsWithAgainWhereverItWouldWait) {
  for (const Obstacle obstacle : {Obstacle::no_tag, Obstacle::bio_waits, Obstacle::busy,
                                  Obstacle::stopped, Obstacle::quiesced, Obstacle::frozen}) {
    for (const int way : {0, 1, 2}) {
      SCOPED_TRACE(testing::Message()
                   << "obstacle " << static_cast<int>(obstacle) << " way " << way);
      const bool has_one_tag = obstacle == Obstacle::no_tag || obstacle == Obstacle::bio_waits;
      Read first, second;
      Nowait nowait{mq::Op::read, {.preflush = true}};
      Bench bench{{.capacity_sectors = 1024,
                   .depth = has_one_tag ? 1U : 64U,
                   .busy_delay_ms = 1000,
                   .blocking = way == 2}};
      bench.driver.mode = Mode::publish;
      raise(bench, obstacle, first, second);
      const int calls = bench.driver.calls;
      submit(bench, nowait.bio, way == 1);
      EXPECT_EQ(nowait.ends.statuses, std::vector{Status::again});
      EXPECT_EQ(bench.driver.calls, calls);
      if (obstacle == Obstacle::quiesced) bench.unquiesce();
      if (obstacle == Obstacle::frozen) bench.thaw();
      bench.clock.pass_ms(1000);
      do {
        bench.runtime.run();
        bench.driver.reap(bench.data());
        bench.runtime.run();
      } while (!bench.driver.published.empty());
      EXPECT_LE(nowait.ends.count, 1);
    }
  }
}

// Goal: a deferred nowait bio behind one that waits does not wait either, and a bio without the
// flag keeps its place.
TEST(Nowait, DeferredBiosBehindAWaitingOneEndWithAgain) {
  Bench bench{{.capacity_sectors = 1024, .depth = 1}};
  bench.driver.mode = Mode::publish;
  Read out{1}, waits{2}, later{3};
  Nowait nowait, last;
  submit(bench, out.bio, false);
  {
    const Disk::Plug plug{*bench.disk, bench.context()};
    for (mq::Bio* bio : {&waits.bio, &nowait.bio, &later.bio, &last.bio}) {
      bench.disk->submit(bench.context(), *bio);
    }
  }
  EXPECT_EQ(nowait.ends.statuses, std::vector{Status::again});
  EXPECT_EQ(last.ends.statuses, std::vector{Status::again});
  for (int i = 0; i != 3; ++i) {
    bench.driver.reap(bench.data());
    bench.runtime.run();
  }
  ASSERT_EQ(bench.driver.seen.size(), 3U);
  EXPECT_EQ(bench.driver.seen[1].sector, 2U);
  EXPECT_EQ(bench.driver.seen[2].sector, 3U);
}

TEST(Nowait, ABusyDriverEndsItWithAgain) {
  for (const bool is_plugged : {false, true}) {
    Bench bench;
    bench.driver.next = {Mode::busy};
    Nowait nowait;
    Read next;
    submit(bench, nowait.bio, is_plugged);
    EXPECT_EQ(nowait.ends.statuses, std::vector{Status::again});
    EXPECT_EQ(bench.driver.calls, 1);
    EXPECT_EQ(bench.disk->counters().in_flight(), 0U) << "the tag is free";
    submit(bench, next.bio, is_plugged);
    EXPECT_EQ(next.ends.statuses, std::vector{Status::ok}) << "the queue is not left busy";
  }
}

// Goal: from the first acceptance on, a nowait bio is requeued like any other. The request that the
// next bio gets with the same tag has not been accepted.
TEST(Nowait, AnAcceptedRequestIsIssuedAgain) {
  Bench bench{{.capacity_sectors = 1024, .depth = 1}};
  bench.driver.next = {Mode::requeue, Mode::busy, Mode::requeue, Mode::busy, Mode::end};
  Nowait nowait, next;
  submit(bench, nowait.bio, false);
  for (int i = 0; i != 4; ++i) {
    bench.clock.pass_ms(10);
    bench.runtime.run();
  }
  EXPECT_EQ(nowait.ends.statuses, std::vector{Status::ok});
  EXPECT_EQ(bench.driver.calls, 5);
  bench.driver.next = {Mode::busy};
  submit(bench, next.bio, false);
  EXPECT_EQ(next.ends.statuses, std::vector{Status::again});
}

}  // namespace
}  // namespace nowait
