// SPDX-License-Identifier: BSL-1.0
//
// Tests of the operations on a disk: freeze, quiesce, set_queue_count, remove.

#include <gtest/gtest.h>

#include <vector>

#include "mq/fake_driver.hpp"

namespace {

namespace mq = blkown::mq;
using blkown::Status;
using fake::Bench;
using fake::Ends;
using fake::Read;
using fake::whole;
using Mode = fake::Driver::Mode;

/// An operation that the test observes while it runs.
struct Operation {
  mq::Control control{
      {[](void* self, mq::Control&) { static_cast<Operation*>(self)->is_done = true; }, this}};
  bool is_done = false;
};

TEST(Control, AFreezeIsDoneWhenAllIoHasEnded) {
  Bench bench{{}, 2};
  bench.driver.mode = Mode::publish;
  Read before, after;
  bench.disk->submit(bench.context(1), before.bio);
  Operation freeze;
  bench.disk->freeze(freeze.control);
  bench.runtime.run();
  EXPECT_FALSE(freeze.is_done);
  bench.disk->submit(bench.context(1), after.bio);
  bench.driver.reap(bench.data());
  bench.runtime.run();
  EXPECT_TRUE(freeze.is_done);
  EXPECT_EQ(before.ends.count, 1);
  EXPECT_EQ(bench.driver.calls, 1) << "the second bio waits";
  bench.driver.mode = Mode::end;
  EXPECT_TRUE(bench.thaw());
  bench.runtime.run();
  EXPECT_EQ(after.ends.count, 1);
}

TEST(Control, ARequestRequeuedWhileFrozenIsIssuedAfterTheThaw) {
  Bench bench;
  bench.driver.next = {Mode::keep};
  Read read;
  bench.disk->submit(bench.context(), read.bio);
  Operation freeze;
  bench.disk->freeze(freeze.control);
  bench.runtime.run();
  auto kept = std::move(bench.driver.kept.front());
  bench.driver.kept.clear();
  std::move(kept).requeue();
  bench.runtime.run();
  EXPECT_TRUE(freeze.is_done) << "the driver has no request";
  EXPECT_EQ(bench.driver.calls, 1);
  EXPECT_TRUE(bench.thaw());
  bench.runtime.run();
  EXPECT_EQ(bench.driver.calls, 2);
  EXPECT_EQ(read.ends.count, 1);
}

TEST(Control, AQuiescedDiskDoesNotCallItsDriver) {
  Bench bench{{}, 2};
  bench.driver.next = {Mode::keep};
  Read held, waits;
  bench.disk->submit(bench.context(0), held.bio);
  EXPECT_TRUE(bench.quiesce()) << "done while I/O is in flight";
  auto kept = std::move(bench.driver.kept.front());
  bench.driver.kept.clear();
  std::move(kept).requeue();
  bench.disk->submit(bench.context(1), waits.bio);
  bench.runtime.run();
  EXPECT_EQ(bench.driver.calls, 1);
  EXPECT_TRUE(bench.unquiesce());
  bench.runtime.run();
  EXPECT_EQ(bench.driver.calls, 3);
  EXPECT_EQ(held.ends.count + waits.ends.count, 2);
}

TEST(Control, TheNumberOfQueuesChangesUnderIo) {
  Bench bench{{.capacity_sectors = 1024, .normal_queues = 2, .max_normal_queues = 4}, 4};
  const auto opened = [&] {
    std::vector<int> counts;
    for (std::uint32_t i = 0; i != 4; ++i)
      counts.push_back(bench.disk->hw_queue(blkown::QueueIndex{i}).data.opened);
    return counts;
  };
  const auto used = [&] {
    bench.driver.seen.clear();
    std::vector<std::uint32_t> queues;
    for (std::uint32_t i = 0; i != 4; ++i) {
      Read read;
      bench.disk->submit(bench.context(i), read.bio);
      EXPECT_EQ(read.ends.count, 1);
      queues.push_back(bench.driver.seen.back().hw_queue);
    }
    return queues;
  };
  EXPECT_EQ(used(), (std::vector<std::uint32_t>{0, 1, 0, 1}));
  EXPECT_TRUE(bench.set_queue_count(4));
  EXPECT_EQ(bench.status, Status::ok);
  EXPECT_EQ(opened(), (std::vector{1, 1, 1, 1}));
  EXPECT_EQ(used(), (std::vector<std::uint32_t>{0, 1, 2, 3}));

  // Changes to one queue while an I/O is in flight on a queue that is taken out of use.
  bench.driver.mode = Mode::publish;
  Read out, waits;
  bench.disk->submit(bench.context(3), out.bio);
  Operation change;
  bench.disk->set_queue_count(change.control, 1);
  bench.runtime.run();
  EXPECT_FALSE(change.is_done);
  bench.disk->submit(bench.context(3), waits.bio);
  bench.driver.reap(bench.data());
  bench.driver.mode = Mode::end;
  bench.runtime.run();
  EXPECT_TRUE(change.is_done);
  EXPECT_EQ(opened(), (std::vector{1, 0, 0, 0}));
  EXPECT_EQ(out.ends.count + waits.ends.count, 2);
  EXPECT_EQ(bench.driver.seen.back().hw_queue, 0U)
      << "the waiting bio goes to its context's new queue";
  EXPECT_EQ(used(), (std::vector<std::uint32_t>{0, 0, 0, 0}));
}

TEST(Control, AQueueThatTheDriverRefusesIsNotUsed) {
  Bench bench{{.capacity_sectors = 1024, .normal_queues = 1, .max_normal_queues = 4}, 4};
  bench.driver.refused_queue = 2;
  EXPECT_TRUE(bench.set_queue_count(4));
  EXPECT_EQ(bench.status, Status::resource);
  Read read;
  bench.disk->submit(bench.context(3), read.bio);
  EXPECT_EQ(bench.driver.seen.back().hw_queue, 1U) << "the driver accepted queues 0 and 1";
}

TEST(Control, OperationsAreCarriedOutInOrder) {
  Bench bench{{.capacity_sectors = 1024, .normal_queues = 1, .max_normal_queues = 3}, 2};
  Operation freeze, grow, thaw;
  bench.disk->freeze(freeze.control);
  bench.disk->set_queue_count(grow.control, 3);
  bench.disk->thaw(thaw.control);
  bench.runtime.run();
  EXPECT_TRUE(freeze.is_done && grow.is_done && thaw.is_done);
  Read read;
  bench.disk->submit(bench.context(1), read.bio);
  EXPECT_EQ(read.ends.count, 1) << "thawed as often as frozen";
  EXPECT_EQ(read.bio.status(), Status::ok);
}

// Goal: the callback of an operation may wait for the next operation, which has begun.
TEST(Control, TheCallbackOfAnOperationMayWaitForTheNextOne) {
  Bench bench;
  struct Chain {
    mq::LoopRuntime& runtime;
    mq::Event next_ended;
    bool has_waited = false;
  } chain{bench.runtime, {}};
  mq::Control first{{[](void* its, mq::Control&) {
                       auto& own = *static_cast<Chain*>(its);
                       own.has_waited = own.runtime.wait_for(own.next_ended);
                     },
                     &chain}};
  mq::Control next{
      {[](void* its, mq::Control&) { static_cast<Chain*>(its)->next_ended.set(); }, &chain}};
  bench.disk->freeze(first);
  bench.disk->thaw(next);
  bench.runtime.run();
  EXPECT_TRUE(chain.has_waited);
}

// Goal: after a removal every bio has ended once, whether it was in flight, requeued, waiting for a
// tag or submitted later.
TEST(Control, ARemovalEndsEveryBioOnce) {
  Bench bench{{.capacity_sectors = 1024, .depth = 2, .auto_kick = false}};
  bench.driver.next = {Mode::publish, Mode::requeue};
  Read out, requeued, waits, late;
  for (Read* read : {&out, &requeued, &waits}) {
    bench.disk->submit(bench.context(), read->bio);
  }
  bench.runtime.run();
  Operation removal;
  bench.disk->remove(removal.control);
  bench.runtime.run();
  EXPECT_FALSE(removal.is_done) << "one request is in flight";
  EXPECT_EQ(requeued.ends.statuses, std::vector{Status::offline});
  EXPECT_EQ(waits.ends.statuses, std::vector{Status::offline});
  bench.disk->submit(bench.context(), late.bio);
  EXPECT_EQ(late.ends.statuses, std::vector{Status::offline});
  bench.driver.reap(bench.data());
  bench.runtime.run();
  EXPECT_TRUE(removal.is_done);
  EXPECT_EQ(out.ends.statuses, std::vector{Status::ok});
  EXPECT_EQ(bench.disk->hw_queue(blkown::QueueIndex{0}).data.opened, 0);
  bench.disk.reset();
}

// Goal: a removal ends waiting bios in each completion mode, with and without a blocking driver,
// and on a stopped queue.
TEST(Control, ARemovalEndsWaitingBiosInEveryMode) {
  for (const auto completion : {mq::CompletionMode::immediate, mq::CompletionMode::deferred}) {
    for (const bool blocking : {false, true}) {
      Bench bench{{.capacity_sectors = 1024, .completion = completion, .blocking = blocking}};
      bench.disk->hw_queue(blkown::QueueIndex{0}).stop();
      Read waits;
      bench.disk->submit(bench.context(), waits.bio);
      Operation removal;
      bench.disk->remove(removal.control);
      bench.runtime.run();
      EXPECT_TRUE(removal.is_done);
      EXPECT_EQ(waits.ends.statuses, std::vector{Status::offline});
      bench.disk.reset();
    }
  }
}

// Goal: a request that is requeued during a removal ends, also if it is held for a kick or its
// queue is stopped.
TEST(Control, ARequestRequeuedDuringARemovalEnds) {
  for (const bool auto_kick : {false, true}) {
    Bench bench{{.capacity_sectors = 1024, .write_cache = true, .auto_kick = auto_kick}};
    bench.driver.mode = Mode::publish;
    bench.driver.next = {Mode::keep};
    Read held;
    std::vector<std::byte> memory(512);
    Ends ends;
    mq::Bio flushes_first =
        mq::Bio::write(0, whole(memory), {&Ends::on_end, &ends}, {.preflush = true});
    bench.disk->submit(bench.context(), held.bio);
    bench.disk->submit(bench.context(), flushes_first);
    bench.disk->hw_queue(blkown::QueueIndex{0}).stop();
    Operation removal;
    bench.disk->remove(removal.control);
    bench.runtime.run();
    EXPECT_FALSE(removal.is_done);
    std::move(bench.driver.kept.front()).requeue();
    bench.driver.kept.clear();
    bench.driver.reap(bench.data());  // the preflush; the bio's data has not been issued
    bench.runtime.run();
    EXPECT_TRUE(removal.is_done);
    EXPECT_EQ(held.ends.statuses, std::vector{Status::offline});
    EXPECT_EQ(ends.statuses, std::vector{Status::offline});
    bench.disk.reset();
  }
}

TEST(Control, FailInFlightEndsTheIoOfAStoppedDevice) {
  Bench bench;
  bench.driver.mode = Mode::publish;
  Read a, b;
  bench.disk->submit(bench.context(), a.bio);
  bench.disk->submit(bench.context(), b.bio);
  Operation removal;
  bench.disk->remove(removal.control);
  bench.runtime.run();
  EXPECT_FALSE(removal.is_done);
  bench.disk->fail_in_flight(Status::aborted);
  bench.runtime.run();
  EXPECT_TRUE(removal.is_done);
  EXPECT_EQ(a.ends.statuses, std::vector{Status::aborted});
  EXPECT_EQ(b.ends.statuses, std::vector{Status::aborted});
  bench.driver.reap(bench.data());  // late completions are refused
  EXPECT_EQ(bench.disk->counters().rejected(blkown::LookupReason::idle), 2U);
  bench.disk.reset();
}

TEST(Control, TheDiskMayBeDestroyedInItsRemovalsCallback) {
  Bench bench{{}, 3};
  static int gone = 0;
  gone = 0;
  mq::Control control{{[](void* disk, mq::Control&) {
                         static_cast<std::unique_ptr<mq::Disk<fake::Driver>>*>(disk)->reset();
                         ++gone;
                       },
                       &bench.disk}};
  bench.disk->remove(control);
  bench.runtime.run();
  EXPECT_EQ(gone, 1);
  EXPECT_EQ(bench.disk, nullptr);
}

}  // namespace
