// SPDX-License-Identifier: BSL-1.0
//
// Tests of control operations as a driver uses them in resets and at unplug: several parties,
// requeued requests, removal at any time, disks that share tags.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "mq/fake_driver.hpp"
#include "support/recording.hpp"

namespace reset {
namespace {

namespace mq = blkown::mq;
using blkown::QueueIndex;
using blkown::Status;
using fake::Bench;
using fake::PrivateEnd;
using fake::Read;
using Mode = fake::Driver::Mode;
using Disk = mq::Disk<fake::Driver>;

/// An operation that the test observes while it runs.
struct Operation {
  mq::Control control{
      {[](void* self, mq::Control&) { static_cast<Operation*>(self)->end(); }, this}};
  void end() {
    is_done = true;
    if (order != nullptr) order->push_back(this);
  }
  bool is_done = false;
  std::vector<Operation*>* order = nullptr;
};

// --- quiesces count ------------------------------------------------------------------------------

TEST(Reset, OneOfTwoPartiesThatQuiescedUnquiesces) {
  Bench bench{{}, 2};
  Read read;
  EXPECT_TRUE(bench.quiesce() && bench.quiesce() && bench.unquiesce());
  bench.disk->submit(bench.context(1), read.bio);
  bench.runtime.run();
  EXPECT_EQ(bench.driver.calls, 0) << "the other party still relies on its quiesce";
  EXPECT_TRUE(bench.unquiesce());
  bench.runtime.run();
  EXPECT_EQ(read.ends.count, 1);
}

// Goal: a thaw or an unquiesce too many is reported with the disk's name, and changes nothing.
TEST(Reset, AnUnquiesceOrAThawTooManyIsReported) {
  Bench bench{{.name = "twice", .capacity_sectors = 1024}, 2};
  const support::ReportLog log;
  EXPECT_TRUE(bench.unquiesce());
  ASSERT_EQ(log.count(), 1U);
  EXPECT_EQ(std::string{log.last().incident.operation}, "mq::Disk::unquiesce");
  EXPECT_EQ(std::string{log.last().incident.subject}, "twice");
  EXPECT_TRUE(bench.thaw());
  ASSERT_EQ(log.count(), 2U);
  EXPECT_EQ(std::string{log.last().incident.operation}, "mq::Disk::thaw");
  EXPECT_NE(log.last().incident.place.line(), 0U);
  Read quiesced, frozen;
  EXPECT_TRUE(bench.quiesce());
  bench.disk->submit(bench.context(), quiesced.bio);
  EXPECT_EQ(bench.driver.calls, 0) << "the next quiesce is not undone in advance";
  EXPECT_TRUE(bench.unquiesce());
  EXPECT_TRUE(bench.freeze());
  bench.disk->submit(bench.context(), frozen.bio);
  bench.runtime.run();
  EXPECT_EQ(bench.driver.calls, 1) << "nor is the next freeze";
  EXPECT_TRUE(bench.thaw());
  bench.runtime.run();
  EXPECT_EQ(frozen.ends.count, 1);
  EXPECT_EQ(log.count(), 2U);
}

// --- shared tags ---------------------------------------------------------------------------------

/// Two disks that share a pool of two tags. Each has one I/O in flight; then the first disk's next
/// bio waits in line before the second disk's.
struct SharedPool {
  SharedPool() {
    driver.mode = Mode::publish;
    a->submit(runtime.context(0), a_out.bio);
    b->submit(runtime.context(1), b_out.bio);
    a->submit(runtime.context(0), a_waits.bio);
    b->submit(runtime.context(1), b_waits.bio);
    runtime.run();
  }
  ~SharedPool() {
    finish();
    for (auto* disk : {&a, &b}) {
      if (*disk == nullptr) continue;
      EXPECT_EQ(mq::remove(runtime, **disk), Status::ok);
    }
  }
  void finish() {
    while (!driver.published.empty()) {
      driver.reap(b->queue_data(), 1);
      runtime.run();
    }
  }
  /// Ends b's I/O. The freed tag must go to b's waiting bio.
  void expect_the_tag_goes_to_b() {
    const int calls = driver.calls;
    std::swap(driver.published[0], driver.published[1]);
    driver.reap(b->queue_data(), 1);
    runtime.run();
    EXPECT_EQ(b_out.ends.count, 1);
    EXPECT_EQ(driver.calls, calls + 1) << "a cannot use the tag";
    ASSERT_EQ(driver.published.size(), 2U);
    EXPECT_EQ(&driver.published[1].first->disk(), b.get());
  }

  fake::Driver driver;
  mq::LoopRuntime runtime{2};
  std::unique_ptr<mq::TagPool<fake::Driver>> pool = *mq::TagPool<fake::Driver>::create(
      {.queue_count = 1, .depth = 2, .layout = blkown::CookieLayout::nbd()});
  std::unique_ptr<Disk> a = *Disk::create({.capacity_sectors = 8}, driver, runtime, {}, pool.get());
  std::unique_ptr<Disk> b = *Disk::create({.capacity_sectors = 8}, driver, runtime, {}, pool.get());
  Read a_out, a_waits, b_out, b_waits;
};

TEST(Reset, ADiskThatIsRemovedGivesUpItsPlaceInTheLineForTags) {
  SharedPool disks;
  Operation removal;
  disks.a->remove(removal.control);
  disks.runtime.run();
  EXPECT_EQ(disks.a_waits.ends.statuses, std::vector{Status::offline});
  EXPECT_FALSE(removal.is_done) << "one I/O is in flight";
  disks.expect_the_tag_goes_to_b();
  disks.finish();
  EXPECT_TRUE(removal.is_done);
  disks.a.reset();
}

TEST(Reset, ADiskThatIsFrozenQuiescedOrStoppedGivesUpItsPlaceInTheLineForTags) {
  for (const int how : {0, 1, 2}) {
    SCOPED_TRACE(how);
    SharedPool disks;
    Operation stop, resume;
    if (how == 0) disks.a->freeze(stop.control);
    if (how == 1) disks.a->quiesce(stop.control);
    if (how == 2) disks.a->hw_queue(QueueIndex{0}).stop();
    disks.runtime.run();
    disks.expect_the_tag_goes_to_b();
    disks.finish();
    if (how == 0) disks.a->thaw(resume.control);
    if (how == 1) disks.a->unquiesce(resume.control);
    if (how == 2) disks.a->hw_queue(QueueIndex{0}).start();
    disks.runtime.run();
    disks.finish();
    EXPECT_EQ(disks.a_waits.ends.statuses, std::vector{Status::ok});
  }
}

// Goal: a nowait bio that found no tag leaves no place in the line behind.
TEST(Reset, ANowaitBioThatEndsWithAgainLeavesTheLineForTags) {
  Bench bench{{.capacity_sectors = 1024, .depth = 1}};
  bench.driver.mode = Mode::publish;
  Read out;
  std::vector<std::byte> memory(512);
  fake::Ends ends;
  mq::Bio no_wait =
      mq::Bio::read(0, fake::whole(memory), {&fake::Ends::on_end, &ends}, {.nowait = true});
  bench.disk->submit(bench.context(), out.bio);
  bench.disk->submit(bench.context(), no_wait);
  EXPECT_EQ(ends.statuses, std::vector{Status::again});
  EXPECT_FALSE(bench.disk->pool().line(QueueIndex{0}).is_occupied());
  bench.driver.reap(bench.data());
  bench.runtime.run();
}

// --- map_queues ----------------------------------------------------------------------------------

/// A driver whose map_queues returns the index that the test sets.
struct Mapper : fake::FullDriver {
  Mapper(mq::QueueType type, unsigned context, unsigned its_answer)
      : wrong_type{type}, wrong_context{context}, answer{its_answer} {}
  Status init_hctx(Hw&, QueueData&) override {
    ++opened;
    return Status::ok;
  }
  void exit_hctx(Hw&, QueueData&) override { --opened; }
  unsigned map_queues(mq::QueueType type, unsigned context, unsigned) override {
    return type == wrong_type && context == wrong_context ? answer : 0;
  }
  mq::QueueType wrong_type;
  unsigned wrong_context;
  unsigned answer;
  int opened = 0;
};

// Goal: an index that map_queues may not return is refused for each type and each context, not
// taken modulo.
TEST(Reset, MapQueuesAnswersAQueueThatDoesNotExist) {
  for (const auto type : {mq::QueueType::normal, mq::QueueType::read, mq::QueueType::poll}) {
    for (const unsigned context : {0U, 2U}) {
      for (const unsigned answer : {2U, 3U, ~0U}) {
        Mapper driver{type, context, answer};
        mq::LoopRuntime runtime{3};
        auto made = Mapper::Disk::create(
            {.capacity_sectors = 8, .normal_queues = 2, .read_queues = 2, .poll_queues = 2}, driver,
            runtime);
        if (made.has_value()) {
          ADD_FAILURE() << "accepted " << answer << " of 2 queues";
          static_cast<void>(mq::remove(runtime, **made));
          continue;
        }
        EXPECT_EQ(std::string{made.error().field}, "map_queues");
        EXPECT_EQ(made.error().reason, mq::DiskReason::too_large);
        EXPECT_EQ(made.error().given, answer);
        EXPECT_EQ(made.error().limit, 1U);
        EXPECT_EQ(driver.opened, 0) << "the queues are closed again";
      }
    }
  }
}

// --- during and after a removal ------------------------------------------------------------------

/// Calls each function of a disk that may be called at any time.
void call_everything(Bench<>& bench) {
  Disk& disk = *bench.disk;
  mq::Context& context = bench.context();
  auto& hw = disk.hw_queue(QueueIndex{0});
  hw.stop();
  hw.start();
  EXPECT_FALSE(hw.is_stopped());
  disk.kick_requeued();
  disk.fail_in_flight(Status::aborted);
  hw.for_each_in_flight([](const auto&, const auto&) {});
  EXPECT_EQ(disk.poll(context), 0U);
  EXPECT_FALSE(disk.allocate_private(context, mq::Op::driver_in, false).has_value());
  EXPECT_FALSE(disk.allocate_private(context, mq::Op::driver_in, true).has_value());
  EXPECT_FALSE(hw.claim(0).has_value());
  Read read, plugged;
  disk.submit(context, read.bio);
  {
    const Disk::Plug plug{disk, context};
    disk.submit(context, plugged.bio);
  }
  EXPECT_EQ(read.ends.statuses, std::vector{Status::offline});
  EXPECT_EQ(plugged.ends.statuses, std::vector{Status::offline});
  static_cast<void>(disk.counters());
  disk.print_in_flight(stderr);
}

TEST(Reset, EveryCallAfterARemovalIsHarmless) {
  for (const bool auto_kick : {false, true}) {
    Bench bench{{.capacity_sectors = 1024, .reserved_depth = 1, .auto_kick = auto_kick}, 2};
    Read read;
    bench.disk->submit(bench.context(), read.bio);
    EXPECT_TRUE(bench.run([&](mq::Control& control) { bench.disk->remove(control); }));
    call_everything(bench);
    bench.disk.reset();
  }
}

TEST(Reset, EveryCallInTheRemovalsCallbackIsHarmless) {
  Bench bench{{}, 2};
  mq::Control removal{{[](void* self, mq::Control&) {
                         auto& its = *static_cast<Bench<>*>(self);
                         its.disk->hw_queue(QueueIndex{0}).start();
                         its.disk->kick_requeued();
                         its.disk.reset();
                       },
                       &bench}};
  bench.disk->remove(removal);
  bench.runtime.run();
  EXPECT_EQ(bench.disk, nullptr);
}

// Goal: a plug of a removed disk leaves no work queued, also if the driver is blocking.
TEST(Reset, APlugOfARemovedDiskLeavesNothingToRun) {
  for (const bool blocking : {false, true}) {
    Bench bench{{.capacity_sectors = 1024, .blocking = blocking}, 2};
    EXPECT_TRUE(bench.run([&](mq::Control& control) { bench.disk->remove(control); }));
    Read read;
    {
      const Disk::Plug plug{*bench.disk, bench.context()};
      bench.disk->submit(bench.context(), read.bio);
    }
    EXPECT_EQ(read.ends.statuses, std::vector{Status::offline});
    EXPECT_EQ(bench.context().runnable(), 0U);
    bench.runtime.run();
    bench.disk.reset();
  }
}

// Goal: a kick during the steps of a removal leaves no work queued after the removal.
TEST(Reset, QueuesAreStartedAtEveryMomentOfARemoval) {
  for (std::uint64_t seed = 0; seed != 100; ++seed) {
    Bench bench{{}, 3};
    Operation removal;
    bench.disk->remove(removal.control);
    for (std::uint64_t i = 0; !removal.is_done && i != 100; ++i) {
      if ((seed >> (i % 7) & 1U) != 0) bench.disk->hw_queue(QueueIndex{0}).start();
      static_cast<void>(bench.context(static_cast<std::uint32_t>((seed + i) % 3)).run());
    }
    ASSERT_TRUE(removal.is_done);
    bench.disk.reset();
  }
}

// Goal: operations queued behind a removal end with `offline` before the removal's own callback, in
// order. Later operations end at once.
TEST(Reset, OperationsBehindARemovalEndOffline) {
  Bench bench{{.capacity_sectors = 1024, .max_normal_queues = 2}, 2};
  std::vector<Operation*> order;
  Operation removal, freeze, thaw, quiesce, unquiesce, grow, again;
  const std::vector<Operation*> behind{&freeze, &thaw, &quiesce, &unquiesce, &grow, &again};
  for (Operation* operation : behind) operation->order = &order;
  removal.order = &order;
  const auto start = [&](Operation& operation) {
    if (&operation == &freeze) bench.disk->freeze(operation.control);
    if (&operation == &thaw) bench.disk->thaw(operation.control);
    if (&operation == &quiesce) bench.disk->quiesce(operation.control);
    if (&operation == &unquiesce) bench.disk->unquiesce(operation.control);
    if (&operation == &grow) bench.disk->set_queue_count(operation.control, 2);
    if (&operation == &again) bench.disk->remove(operation.control);
  };
  const support::ReportLog log;
  bench.disk->remove(removal.control);
  for (Operation* operation : behind) start(*operation);
  bench.runtime.run();
  std::vector<Operation*> expected = behind;
  expected.push_back(&removal);
  EXPECT_EQ(order, expected);
  EXPECT_EQ(removal.control.status(), Status::ok);
  for (Operation* operation : behind) {
    EXPECT_EQ(operation->control.status(), Status::offline);
    operation->is_done = false;
  }
  for (Operation* operation : behind) {
    start(*operation);
    EXPECT_TRUE(operation->is_done) << "within the call";
    EXPECT_EQ(operation->control.status(), Status::offline);
    EXPECT_FALSE(operation->control.is_running());
  }
  EXPECT_EQ(log.count(), 0U) << "the thaw behind the removal is not judged";
  bench.runtime.run();
  bench.disk.reset();
}

// --- reserved private requests -------------------------------------------------------------------

// Goal: a reset can send an admin command while the disk is quiesced.
TEST(Reset, AReservedRequestIsIssuedWhileTheDiskIsQuiesced) {
  Bench bench{{.capacity_sectors = 1024, .depth = 4, .reserved_depth = 1}};
  EXPECT_TRUE(bench.quiesce());
  Read waits;
  PrivateEnd ordinary, reserved;
  bench.disk->submit(bench.context(), waits.bio);
  auto first = bench.disk->allocate_private(bench.context(), mq::Op::driver_out, false);
  auto second = bench.disk->allocate_private(bench.context(), mq::Op::driver_out, true);
  ASSERT_TRUE(first.has_value() && second.has_value());
  second->data().driver_data.number = 7;
  bench.disk->execute_private(bench.context(), *std::move(first), {&PrivateEnd::on_end, &ordinary});
  bench.driver.next = {Mode::busy, Mode::requeue};
  bench.disk->execute_private(bench.context(), *std::move(second),
                              {&PrivateEnd::on_end, &reserved});
  bench.runtime.run();
  EXPECT_EQ(bench.driver.calls, 1) << "the driver was busy";
  bench.clock.pass_ms(10);
  bench.runtime.run();
  EXPECT_EQ(bench.driver.calls, 3) << "and requeued it then";
  EXPECT_EQ(reserved.count, 1);
  EXPECT_EQ(reserved.number, 7);
  EXPECT_EQ(ordinary.count, 0);
  EXPECT_EQ(waits.ends.count, 0);
  EXPECT_TRUE(bench.freeze());
  EXPECT_FALSE(bench.disk->allocate_private(bench.context(), mq::Op::driver_out, true).has_value())
      << "not while it is frozen";
  EXPECT_TRUE(bench.thaw());
  EXPECT_TRUE(bench.unquiesce());
  bench.runtime.run();
  EXPECT_EQ(ordinary.count, 1);
  EXPECT_EQ(waits.ends.count, 1);
}

// --- no operation waits for a later one ----------------------------------------------------------

/// Requeues all requests that the driver keeps.
void requeue_all(Bench<>& bench) {
  while (!bench.driver.kept.empty()) {
    auto owned = std::move(bench.driver.kept.front());
    bench.driver.kept.pop_front();
    std::move(owned).requeue();
  }
  bench.runtime.run();
}

// Goal: the usual reset of a controller that comes back with fewer or more queues ends, with tags
// of each queue and with shared ones, and every I/O is issued on a queue that exists.
TEST(Reset, AResetRequeuesAndChangesTheNumberOfQueues) {
  for (const bool shared_tags : {false, true}) {
    for (const bool auto_kick : {false, true}) {
      for (const std::uint32_t after : {1U, 2U, 4U}) {
        SCOPED_TRACE(after);
        Bench bench{{.capacity_sectors = 1024,
                     .normal_queues = 3,
                     .max_normal_queues = 4,
                     .depth = 4,
                     .reserved_depth = 1,
                     .shared_tags = shared_tags,
                     .auto_kick = auto_kick},
                    4};
        bench.driver.mode = Mode::keep;
        std::vector<std::unique_ptr<Read>> reads;
        PrivateEnd result;
        for (std::uint32_t i = 0; i != 16; ++i) {
          reads.push_back(std::make_unique<Read>(i));
          bench.disk->submit(bench.context(i % 4), reads.back()->bio);
        }
        auto idle = bench.disk->allocate_private(bench.context(2), mq::Op::driver_out, true);
        ASSERT_TRUE(idle.has_value());
        idle->data().driver_data.number = 9;
        bench.disk->execute_private(bench.context(2), *std::move(idle),
                                    {&PrivateEnd::on_end, &result});
        EXPECT_TRUE(bench.quiesce());
        requeue_all(bench);
        if (!auto_kick) bench.disk->kick_requeued();
        Operation change;
        bench.disk->set_queue_count(change.control, after);
        bench.runtime.run();
        requeue_all(bench);  // the reserved request, which the quiesced disk issued again
        ASSERT_TRUE(change.is_done) << "no request is with the driver";
        bench.driver.mode = Mode::end;
        bench.driver.seen.clear();
        requeue_all(bench);  // and that it has issued on its new queue since
        EXPECT_TRUE(bench.unquiesce());
        bench.disk->kick_requeued();
        bench.runtime.run();
        for (const auto& read : reads) EXPECT_EQ(read->ends.statuses, std::vector{Status::ok});
        for (const fake::Seen& seen : bench.driver.seen) EXPECT_LT(seen.hw_queue, after);
        EXPECT_EQ(result.count, 1);
        EXPECT_EQ(result.number, 9) << "the driver's data of a private request moves with it";
        bench.remove();
      }
    }
  }
}

TEST(Reset, AFreezeDoesNotWaitForRequeuedRequests) {
  for (const bool auto_kick : {false, true}) {
    for (const bool quiesced : {false, true}) {
      Bench bench{{.capacity_sectors = 1024, .auto_kick = auto_kick}};
      bench.driver.next = {Mode::keep};
      Read read;
      bench.disk->submit(bench.context(), read.bio);
      EXPECT_TRUE(!quiesced || bench.quiesce());
      Operation freeze;
      bench.disk->freeze(freeze.control);
      bench.runtime.run();
      EXPECT_FALSE(freeze.is_done) << "the driver has the request";
      requeue_all(bench);
      ASSERT_TRUE(freeze.is_done);
      EXPECT_EQ(bench.driver.calls, 1) << "not issued while frozen";
      EXPECT_TRUE(bench.thaw());
      EXPECT_TRUE(!quiesced || bench.unquiesce());
      bench.disk->kick_requeued();
      bench.runtime.run();
      EXPECT_EQ(read.ends.statuses, std::vector{Status::ok});
    }
  }
}

// Goal: a removal ends whatever holds the disk: frozen, quiesced, stopped queues, missing kicks, a
// change of queues with requeued requests before it.
TEST(Reset, ARemovalAlwaysEnds) {
  for (unsigned state = 0; state != 16; ++state) {
    SCOPED_TRACE(state);
    Bench bench{{.capacity_sectors = 1024,
                 .normal_queues = 2,
                 .max_normal_queues = 2,
                 .depth = 2,
                 .auto_kick = (state & 8U) == 0},
                2};
    bench.driver.mode = Mode::keep;
    Read reads[6];
    for (unsigned i = 0; i != 6; ++i) {
      bench.disk->submit(bench.context(i % 2), reads[i].bio);
    }
    Operation freeze, quiesce, change, removal;
    if ((state & 1U) != 0) bench.disk->quiesce(quiesce.control);
    if ((state & 2U) != 0) bench.disk->freeze(freeze.control);
    if ((state & 4U) != 0) bench.disk->hw_queue(QueueIndex{1}).stop();
    bench.disk->set_queue_count(change.control, 1);
    bench.disk->remove(removal.control);
    bench.runtime.run();
    EXPECT_FALSE(removal.is_done) << "the driver has requests";
    for (int i = 0; i != 8 && !removal.is_done; ++i) requeue_all(bench);
    ASSERT_TRUE(removal.is_done);
    for (const Read& read : reads) EXPECT_EQ(read.ends.statuses, std::vector{Status::offline});
    bench.disk.reset();
  }
}

// Goal: requests that moved between queues and then fail give back the tags that they kept.
TEST(Reset, RequestsThatMovedToAnotherQueueGiveBackTheirTags) {
  Bench bench{{.capacity_sectors = 1024, .normal_queues = 2, .max_normal_queues = 2, .depth = 2},
              2};
  bench.driver.mode = Mode::keep;
  Read reads[4];
  for (unsigned i = 0; i != 4; ++i) bench.disk->submit(bench.context(1), reads[i].bio);
  EXPECT_TRUE(bench.quiesce());
  requeue_all(bench);
  EXPECT_TRUE(bench.set_queue_count(1));
  EXPECT_TRUE(bench.run([&](mq::Control& c) { bench.disk->remove(c); }));
  for (const Read& read : reads) EXPECT_EQ(read.ends.statuses, std::vector{Status::offline});
  for (const std::uint32_t queue : {0U, 1U}) {
    EXPECT_EQ(bench.disk->pool().tags().taken_count(QueueIndex{queue}), 0U);
  }
  bench.disk.reset();
}

// Goal: a request that moved, and that is before the requests that hold all tags of its new queue,
// is issued, and in its order.
TEST(Reset, ARequestThatMovedGetsATagOfTheRequestsBehindIt) {
  for (const Mode mode : {Mode::end, Mode::keep}) {
    Bench bench{{.capacity_sectors = 1024,
                 .normal_queues = 2,
                 .max_normal_queues = 2,
                 .depth = 2,
                 .auto_kick = false},
                2};
    bench.driver.mode = Mode::keep;
    Read moved[2]{Read{1}, Read{2}}, behind[2]{Read{3}, Read{4}};
    for (Read& read : moved) bench.disk->submit(bench.context(1), read.bio);
    requeue_all(bench);
    EXPECT_TRUE(bench.set_queue_count(1));
    for (Read& read : behind) bench.disk->submit(bench.context(1), read.bio);
    ASSERT_EQ(bench.driver.kept.size(), 2U);
    bench.disk->kick_requeued();
    bench.runtime.run();
    requeue_all(bench);
    bench.driver.mode = mode;
    bench.driver.seen.clear();
    bench.disk->kick_requeued();
    bench.runtime.run();
    EXPECT_EQ(bench.driver.kept.size(), mode == Mode::keep ? 2U : 0U)
        << "as many as there are tags";
    bench.driver.mode = Mode::end;
    for (auto& owned : std::exchange(bench.driver.kept, {})) std::move(owned).end_ok();
    bench.runtime.run();
    ASSERT_EQ(bench.driver.seen.size(), 4U);
    for (unsigned i = 0; i != 4; ++i) {
      EXPECT_EQ(bench.driver.seen[i].sector, i + 1);
      EXPECT_EQ(bench.driver.seen[i].hw_queue, 0U);
    }
    for (Read* read : {&moved[0], &moved[1], &behind[0], &behind[1]}) {
      EXPECT_EQ(read->ends.statuses, std::vector{Status::ok});
    }
    EXPECT_EQ(bench.disk->pool().tags().taken_count(QueueIndex{1}), 0U);
  }
}

// Goal: each of two private requests that exchange their tags takes its callback, its data and its
// timeout along.
// Method: those that moved have timeouts of their own, and those behind them do not.
TEST(Reset, PrivateRequestsThatExchangeTheirTagsKeepTheirCallbacksAndTimeouts) {
  Bench bench{{.capacity_sectors = 1024,
               .normal_queues = 2,
               .max_normal_queues = 2,
               .depth = 2,
               .timeout_ms = 1000,
               .auto_kick = false},
              2};
  bench.driver.mode = Mode::keep;
  PrivateEnd moved[2], behind[2];
  for (int i = 0; i != 2; ++i) ASSERT_TRUE(execute_private(bench, 1, 1 + i, moved[i], 40));
  requeue_all(bench);
  EXPECT_TRUE(bench.set_queue_count(1));
  for (int i = 0; i != 2; ++i) ASSERT_TRUE(execute_private(bench, 1, 3 + i, behind[i]));
  ASSERT_EQ(bench.driver.kept.size(), 2U) << "they have all tags of the queue";
  bench.disk->kick_requeued();
  bench.runtime.run();
  requeue_all(bench);
  bench.driver.mode = Mode::publish;
  bench.disk->kick_requeued();
  bench.runtime.run();
  for (int pair = 0; pair != 2; ++pair) {  // as many as there are tags
    bench.pass_ms(60);
    EXPECT_EQ(bench.driver.timeouts, 2) << "only of those that moved";
    bench.driver.reap(bench.data());
    bench.runtime.run();
  }
  for (int i = 0; i != 2; ++i) {
    EXPECT_EQ(moved[i].count, 1);
    EXPECT_EQ(moved[i].number, 1 + i);
    EXPECT_EQ(behind[i].count, 1);
    EXPECT_EQ(behind[i].number, 3 + i);
  }
}

// Goal: a request that moved away gives its tag to the context that waits for it.
TEST(Reset, TheTagOfARequestThatMovedGoesToTheContextThatWaits) {
  Bench bench{{.capacity_sectors = 1024, .normal_queues = 2, .max_normal_queues = 3, .depth = 1},
              3};
  bench.driver.mode = Mode::keep;
  Read moves{1}, waits{2};
  bench.disk->submit(bench.context(2), moves.bio);
  EXPECT_EQ(bench.driver.seen.back().hw_queue, 0U);
  EXPECT_TRUE(bench.quiesce());
  requeue_all(bench);
  bench.disk->submit(bench.context(0), waits.bio);
  EXPECT_TRUE(bench.set_queue_count(3));
  Operation unquiesce;
  bench.disk->unquiesce(unquiesce.control);
  bench.context(0).run();  // asks for the tag before the other request moves
  bench.runtime.run();
  EXPECT_EQ(bench.driver.kept.size(), 2U) << "one on queue 0, one on queue 2";
  for (auto& owned : std::exchange(bench.driver.kept, {})) std::move(owned).end_ok();
  bench.runtime.run();
  EXPECT_EQ(moves.ends.count + waits.ends.count, 2);
}

// Goal: a private request takes its data and its timeout along to a tag that a bio has used before.
TEST(Reset, APrivateRequestThatMovedKeepsItsData) {
  Bench bench{{.capacity_sectors = 1024,
               .normal_queues = 2,
               .max_normal_queues = 2,
               .depth = 1,
               .timeout_ms = 1000},
              2};
  Read read;
  bench.disk->submit(bench.context(0), read.bio);
  bench.driver.mode = Mode::keep;
  auto idle = bench.disk->allocate_private(bench.context(1), mq::Op::driver_out, false);
  ASSERT_TRUE(idle.has_value());
  idle->data().driver_data.number = 42;
  PrivateEnd result;
  bench.disk->execute_private(bench.context(1), *std::move(idle), {&PrivateEnd::on_end, &result},
                              40);
  EXPECT_TRUE(bench.quiesce());
  requeue_all(bench);
  EXPECT_TRUE(bench.set_queue_count(1));
  bench.driver.mode = Mode::publish;
  EXPECT_TRUE(bench.unquiesce());
  EXPECT_EQ(bench.driver.seen.back().hw_queue, 0U);
  bench.pass_ms(60);
  EXPECT_EQ(bench.driver.timeouts, 1);
  bench.driver.reap(bench.data());
  bench.runtime.run();
  EXPECT_EQ(result.count, 1);
  EXPECT_EQ(result.number, 42);
}

// Goal: a reserved request that moved waits for a reserved tag of its new queue, and is asked about
// again.
TEST(Reset, AReservedRequestThatMovedWaitsForAReservedTag) {
  Bench bench{{.capacity_sectors = 1024,
               .normal_queues = 2,
               .max_normal_queues = 2,
               .depth = 2,
               .reserved_depth = 1},
              2};
  bench.driver.mode = Mode::keep;
  PrivateEnd results[2];
  EXPECT_TRUE(bench.quiesce());
  for (std::uint32_t i = 0; i != 2; ++i) {
    auto idle = bench.disk->allocate_private(bench.context(i), mq::Op::driver_out, true);
    ASSERT_TRUE(idle.has_value());
    idle->data().driver_data.number = static_cast<int>(10 + i);
    bench.disk->execute_private(bench.context(i), *std::move(idle),
                                {&PrivateEnd::on_end, &results[i]});
  }
  Operation freeze, change, thaw;
  bench.disk->freeze(freeze.control);
  bench.runtime.run();
  requeue_all(bench);
  bench.driver.mode = Mode::publish;
  bench.disk->set_queue_count(change.control, 1);
  bench.disk->thaw(thaw.control);
  bench.runtime.run();
  EXPECT_TRUE(thaw.is_done);
  EXPECT_EQ(bench.driver.published.size(), 1U) << "the queue has one reserved tag";
  for (int i = 0; i != 2; ++i) {
    bench.driver.reap(bench.data());
    bench.runtime.run();
    bench.clock.pass_ms(10);
    bench.runtime.run();
  }
  for (int i = 0; i != 2; ++i) {
    EXPECT_EQ(results[i].count, 1);
    EXPECT_EQ(results[i].number, 10 + i);
  }
  EXPECT_TRUE(bench.unquiesce());
}

/// A driver whose data in requests cannot move.
struct Fixed : fake::FullDriver {
  static_assert(!std::is_swappable_v<RequestData>);
  Answer queue_rq(Hw&, QueueData&, blkown::Idle<Rq> idle, bool) override {
    blkown::Owned<Rq> owned = std::move(idle).start();
    if (requeues) {
      std::move(owned).requeue();
    } else {
      std::move(owned).end_ok();
    }
    return Answer::accepted();
  }
  bool requeues = true;
};

// Goal: a request whose data cannot move ends with a status, and a bio's request is issued.
TEST(Reset, APrivateRequestWhoseDataCannotMoveEnds) {
  Fixed driver;
  mq::LoopRuntime runtime{2};
  auto disk = *Fixed::Disk::create({.capacity_sectors = 8,
                                    .normal_queues = 2,
                                    .max_normal_queues = 2,
                                    .depth = 4,
                                    .auto_kick = false},
                                   driver, runtime);
  Status status = Status::ok;
  Read read;
  disk->submit(runtime.context(1), read.bio);
  disk->execute_private(runtime.context(1),
                        *disk->allocate_private(runtime.context(1), mq::Op::driver_out, false),
                        {[](void* its, mq::Payload<fake::FullDriver>& payload) {
                           *static_cast<Status*>(its) = payload.status();
                         },
                         &status});
  runtime.run();
  EXPECT_EQ(mq::run_and_wait(runtime, [&](mq::Control& c) { disk->set_queue_count(c, 1); }),
            Status::ok);
  driver.requeues = false;
  disk->kick_requeued();
  runtime.run();
  EXPECT_EQ(status, Status::aborted);
  EXPECT_EQ(read.ends.statuses, std::vector{Status::ok});
  EXPECT_EQ(mq::remove(runtime, *disk), Status::ok);
  for (const std::uint32_t queue : {0U, 1U}) {
    EXPECT_EQ(disk->pool().tags().taken_count(QueueIndex{queue}), 0U);
  }
  disk.reset();
}

}  // namespace
}  // namespace reset
