// SPDX-License-Identifier: BSL-1.0
//
// Tests between a disk and its driver: answers, batches, doorbells, and waiting requests.

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>
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

/// `count` reads of one block each, at sectors from 0 on.
struct Reads {
  Reads(std::size_t count, mq::IoFlags flags = {}) : memory(512) {
    for (std::size_t i = 0; i != count; ++i) {
      bios.emplace_back(
          new mq::Bio(mq::Bio::read(i, whole(memory), {&Ends::on_end, &ends}, flags)));
    }
  }
  template <class D>
  void submit(Bench<D>& bench) {
    for (auto& bio : bios) bench.disk->submit(bench.context(), *bio);
  }
  std::vector<std::byte> memory;
  Ends ends;
  std::vector<std::unique_ptr<mq::Bio>> bios;
};

TEST(Dispatch, ARejectionWithAnErrorFailsTheIo) {
  Bench bench;
  bench.driver.mode = Mode::fail;
  Reads reads{1};
  reads.submit(bench);
  EXPECT_EQ(reads.ends.statuses, std::vector{Status::no_space});
}

TEST(Dispatch, ARejectionOfAStartedRequestFailsTheIoToo) {
  Bench bench;
  // A rejection with Status::ok does not end the request as if it had succeeded.
  auto idle = bench.disk->allocate_private(bench.context(), mq::Op::driver_in, false);
  ASSERT_TRUE(idle.has_value());
  auto answer = fake::Driver::Answer::rejected(std::move(*idle).start(), Status::ok);
  EXPECT_FALSE(answer.is_accepted());
  EXPECT_TRUE(answer.settle());
  EXPECT_FALSE(answer.settle()) << "once";
  bench.runtime.run();
  EXPECT_EQ(bench.disk->counters().ended(Status::io_error), 1U);
}

// Goal: a Claim is rejected with and without a pin of another party, with each kind of status.
TEST(Dispatch, ARejectionOfAClaimTakesEffectWhenNoPinIsLeft) {
  for (const bool is_pinned : {false, true}) {
    for (const Status status : {Status::offline, Status::ok, Status::device_resource}) {
      Bench bench;
      bench.driver.next = {Mode::publish};
      Reads reads{1};
      reads.submit(bench);
      auto claim =
          bench.disk->hw_queue(blkown::QueueIndex{0}).claim(bench.driver.published.front().second);
      ASSERT_TRUE(claim.has_value());
      auto pin = is_pinned ? std::optional{claim->pin()} : std::nullopt;
      auto answer = fake::Driver::Answer::rejected(*std::move(claim), status);
      EXPECT_EQ(answer.is_accepted(), is_pinned);
      EXPECT_EQ(answer.status(), is_pinned ? Status::ok : status);
      EXPECT_EQ(answer.settle(), !is_pinned);
      bench.runtime.run();
      EXPECT_EQ(reads.ends.statuses.empty(), is_pinned);
      pin.reset();
      bench.clock.pass_ms(1'000);
      bench.runtime.run();
      const Status expected = mq::is_busy(status)    ? Status::ok
                              : status == Status::ok ? Status::io_error
                                                     : status;
      EXPECT_EQ(reads.ends.statuses, std::vector{expected});
      EXPECT_EQ(bench.disk->counters().requeued_requests, mq::is_busy(status) ? 1U : 0U);
    }
  }
}

// Goal: a request that is rejected as busy is issued again as soon as another request has ended.
TEST(Dispatch, ABusyDriverIsAskedAgainWhenAnIoHasEnded) {
  for (const Status busy : {Status::device_resource, Status::resource}) {
    Bench bench;
    bench.driver.busy_status = busy;
    bench.driver.next = {Mode::publish, Mode::busy};
    Reads reads{3};
    reads.submit(bench);
    EXPECT_EQ(bench.driver.calls, 2) << "the third waits behind the second";
    bench.runtime.run();
    EXPECT_EQ(bench.driver.calls, 2) << "no retry before an end";
    bench.driver.reap(bench.data());
    bench.runtime.run();
    EXPECT_EQ(reads.ends.statuses, std::vector(3, Status::ok));
    ASSERT_EQ(bench.driver.seen.size(), 3U);
    EXPECT_EQ(bench.driver.seen[1].sector, 1U) << "in order";
    EXPECT_EQ(bench.driver.seen[2].sector, 2U);
    EXPECT_EQ(bench.disk->counters().requeued_requests, 1U);
  }
}

TEST(Dispatch, ABusyDriverIsAskedAgainAfterADelayIfNothingEnds) {
  Bench bench{{.capacity_sectors = 1024, .busy_delay_ms = 5}};
  bench.driver.next = {Mode::busy};
  Reads reads{1};
  reads.submit(bench);
  bench.clock.pass_ms(4);
  bench.runtime.run();
  EXPECT_EQ(reads.ends.count, 0);
  bench.clock.pass_ms(1);
  bench.runtime.run();
  EXPECT_EQ(reads.ends.statuses, std::vector{Status::ok});
}

TEST(Dispatch, ARequeuedRequestIsIssuedAgain) {
  Bench bench;
  bench.driver.next = {Mode::requeue, Mode::requeue};
  Reads reads{1};
  reads.submit(bench);
  bench.runtime.run();
  EXPECT_EQ(bench.driver.calls, 3);
  EXPECT_EQ(reads.ends.statuses, std::vector{Status::ok});
  EXPECT_EQ(bench.disk->counters().requeued_requests, 2U);
  EXPECT_EQ(bench.disk->counters().started_requests, 1U) << "with the same tag";
}

TEST(Dispatch, WithoutAutoKickARequeuedRequestWaitsForTheKick) {
  Bench bench{{.capacity_sectors = 1024, .auto_kick = false}};
  bench.driver.next = {Mode::requeue};
  Reads reads{2};
  reads.submit(bench);
  bench.runtime.run();
  EXPECT_EQ(reads.ends.count, 1) << "the second read is not held";
  bench.disk->kick_requeued();
  bench.runtime.run();
  EXPECT_EQ(reads.ends.count, 2);
}

// Goal: a request that the driver rejected is not held for a kick.
TEST(Dispatch, ARejectedRequestNeedsNoKick) {
  Bench bench{{.capacity_sectors = 1024, .auto_kick = false}};
  bench.driver.next = {Mode::busy};
  Reads reads{1};
  reads.submit(bench);
  bench.clock.pass_ms(5);
  bench.runtime.run();
  EXPECT_EQ(reads.ends.statuses, std::vector{Status::ok});
}

TEST(Dispatch, AStoppedQueueIsNotIssuedOn) {
  Bench bench;
  bench.disk->hw_queue(blkown::QueueIndex{0}).stop();
  Reads reads{2};
  reads.submit(bench);
  bench.runtime.run();
  EXPECT_EQ(bench.driver.calls, 0);
  EXPECT_EQ(bench.disk->counters().started_requests, 0U) << "no tag is taken";
  bench.disk->hw_queue(blkown::QueueIndex{0}).start();
  EXPECT_EQ(bench.driver.calls, 0) << "start() may be called from an interrupt";
  bench.runtime.run();
  EXPECT_EQ(reads.ends.count, 2);
}

TEST(Dispatch, APlugCollectsAndRingsOnce) {
  Bench bench;
  Reads reads{4};
  {
    const fake::Driver::Disk::Plug plug{*bench.disk, bench.context()};
    const fake::Driver::Disk::Plug inner{*bench.disk, bench.context()};
    reads.submit(bench);
    EXPECT_EQ(bench.driver.calls, 0);
  }
  ASSERT_EQ(bench.driver.seen.size(), 4U);
  for (std::size_t i = 0; i != 4; ++i) {
    EXPECT_EQ(bench.driver.seen[i].sector, i);
    EXPECT_EQ(bench.driver.seen[i].is_last, i == 3);
  }
  EXPECT_EQ(bench.driver.commits, 0);
  EXPECT_EQ(reads.ends.count, 4);
}

// Goal: a list of bios is one batch, in order. Refused bios, wherever they stand, end with their
// own statuses, and the callbacks come after the last submission.
TEST(Dispatch, AListOfBiosIsOneBatchWithoutTheRefusedOnes) {
  Bench bench{{.capacity_sectors = 1024}};
  Read beyond{5000}, first{7}, odd{3}, second{5}, late{1024};
  odd.bio.set_discard(3, 512, {&Ends::on_end, &odd.ends});
  Read* const all[] = {&beyond, &first, &odd, &second, &late};
  std::vector<mq::Bio*> bios;
  for (Read* const read : all) {
    bios.push_back(&read->bio);
    read->ends.then = [&](mq::Bio&) { EXPECT_EQ(bench.disk->counters().submitted_bios, 5U); };
  }
  bench.disk->submit(bench.context(), bios);
  ASSERT_EQ(bench.driver.seen.size(), 2U);
  EXPECT_EQ(bench.driver.seen[0].sector, 7U);
  EXPECT_FALSE(bench.driver.seen[0].is_last);
  EXPECT_EQ(bench.driver.seen[1].sector, 5U);
  EXPECT_TRUE(bench.driver.seen[1].is_last);
  EXPECT_EQ(bench.driver.commits, 0);
  const std::vector expected{Status::invalid, Status::ok, Status::not_supported, Status::ok,
                             Status::invalid};
  for (std::size_t i = 0; i != 5; ++i) {
    EXPECT_EQ(all[i]->ends.statuses, std::vector{expected[i]}) << i;
  }
}

// Goal: an empty list does nothing, a list within a Plug waits for the Plug, and a callback may
// submit a list.
TEST(Dispatch, AListOfBiosIsSubmittedAnywhere) {
  Bench bench;
  bench.disk->submit(bench.context(), std::span<mq::Bio* const>{});
  EXPECT_EQ(bench.driver.calls, 0);
  Read first{1}, second{2}, third{3}, fourth{4};
  first.ends.then = [&](mq::Bio&) {
    bench.disk->submit(std::array{&third.bio, &fourth.bio});
    EXPECT_EQ(bench.driver.calls, 2) << "nothing is issued within a callback's Entry";
  };
  {
    const fake::Driver::Disk::Plug plug{*bench.disk, bench.context()};
    bench.disk->submit(bench.context(), std::array{&first.bio, &second.bio});
    EXPECT_EQ(bench.driver.calls, 0);
  }
  ASSERT_EQ(bench.driver.seen.size(), 4U);
  for (std::size_t i = 0; i != 4; ++i) EXPECT_EQ(bench.driver.seen[i].sector, i + 1);
  EXPECT_EQ(fourth.ends.statuses, std::vector{Status::ok});
}

// Goal: commit_rqs is called if no request with is_last follows one without.
TEST(Dispatch, AnInterruptedBatchIsCommitted) {
  Bench bench{{.capacity_sectors = 1024, .depth = 2}};
  bench.driver.mode = Mode::publish;
  Reads reads{4};
  {
    const fake::Driver::Disk::Plug plug{*bench.disk, bench.context()};
    reads.submit(bench);
  }
  ASSERT_EQ(bench.driver.seen.size(), 2U) << "two tags";
  EXPECT_FALSE(bench.driver.seen[1].is_last);
  EXPECT_EQ(bench.driver.commits, 1);
  while (reads.ends.count != 4) {
    bench.driver.reap(bench.data());
    bench.runtime.run();
  }
}

TEST(Dispatch, ARejectionWithinABatchCommitsTheRequestsBefore) {
  Bench bench;
  bench.driver.next = {Mode::publish, Mode::fail};
  Reads reads{2};
  {
    const fake::Driver::Disk::Plug plug{*bench.disk, bench.context()};
    reads.submit(bench);
  }
  EXPECT_EQ(bench.driver.commits, 1);
  bench.driver.reap(bench.data());
  bench.runtime.run();
  EXPECT_EQ(reads.ends.count, 2);
}

TEST(Dispatch, NowaitFailsAtOnceWhenNoTagIsFree) {
  Bench bench{{.capacity_sectors = 1024, .depth = 1}};
  bench.driver.mode = Mode::publish;
  Reads first{1};
  first.submit(bench);
  Reads second{1, {.nowait = true}};
  second.submit(bench);
  EXPECT_EQ(second.ends.statuses, std::vector{Status::again});
  bench.driver.reap(bench.data());
  bench.runtime.run();
  EXPECT_EQ(first.ends.count, 1);
  Reads third{1, {.nowait = true}};
  third.submit(bench);
  bench.driver.reap(bench.data());
  bench.runtime.run();
  EXPECT_EQ(third.ends.statuses, std::vector{Status::ok}) << "no other bio waits";
}

// Goal: a nowait bio that a plug collects, or that the context's work issues, does not wait for a
// tag.
TEST(Dispatch, NowaitDoesNotWaitBehindAPlugOrForABlockingDriver) {
  for (const bool blocking : {false, true}) {
    Bench bench{{.capacity_sectors = 1024, .depth = 1, .blocking = blocking}};
    bench.driver.mode = Mode::publish;
    Reads first{1}, second{2, {.nowait = true}};
    {
      const fake::Driver::Disk::Plug plug{*bench.disk, bench.context()};
      first.submit(bench);
      second.submit(bench);
    }
    bench.runtime.run();
    EXPECT_EQ(second.ends.statuses, (std::vector{Status::again, Status::again}));
    bench.driver.reap(bench.data());
    bench.runtime.run();
    EXPECT_EQ(first.ends.statuses, std::vector{Status::ok});
  }
}

/// Takes batches, and at most `max_batch` requests of each.
struct BatchDriver : fake::FullDriver {
  Answer queue_rq(Hw&, QueueData&, blkown::Idle<Rq> idle, bool is_last) override {
    singles.push_back(idle.data().sector());
    last_of_singles.push_back(is_last);
    std::move(idle).start().end_ok();
    return Answer::accepted();
  }
  void queue_rqs(Hw&, QueueData&, mq::IdleList<Rq>& list) override {
    batches.push_back(0);
    for (int i = 0; i != max_batch; ++i) {
      auto idle = list.pop_front();
      if (!idle.has_value()) return;
      ++batches.back();
      batched.push_back(idle->data().sector());
      std::move(*idle).start().end_ok();
    }
  }

  int max_batch = 1000;
  std::vector<int> batches;  // the number taken of each
  std::vector<std::uint64_t> singles, batched;
  std::vector<bool> last_of_singles;
};

// Goal: a trace has each request that the driver gets, also those that queue_rqs takes.
TEST(Dispatch, ATraceHasTheRequestsOfABatch) {
  Bench<BatchDriver> bench{{.capacity_sectors = 1024}};
  bench.driver.max_batch = 2;
  std::string text;
  bench.disk->set_trace({[](void* to, const mq::TraceEvent& event) {
                           if (event.step == mq::TraceStep::allocated) return;
                           *static_cast<std::string*>(to) += std::string{to_string(event.step)} +
                                                             ' ' + std::to_string(event.sector) +
                                                             '\n';
                         },
                         &text});
  Reads reads{3};
  {
    const BatchDriver::Disk::Plug plug{*bench.disk, bench.context()};
    reads.submit(bench);
  }
  EXPECT_EQ(text.substr(text.find("issued")),
            "issued 0\nissued 1\nissued 2\nissued 2\nended 0\nended 1\nended 2\n")
      << text;
}

TEST(Dispatch, ADriverWithQueueRqsGetsWholeBatches) {
  Bench<BatchDriver> bench{{.capacity_sectors = 1024, .depth = 128}};
  Reads reads{40};
  {
    const BatchDriver::Disk::Plug plug{*bench.disk, bench.context()};
    reads.submit(bench);
  }
  EXPECT_EQ(bench.driver.batches, (std::vector{32, 8}));
  EXPECT_TRUE(bench.driver.singles.empty());
  EXPECT_EQ(reads.ends.count, 40);
}

TEST(Dispatch, RequestsLeftInABatchComeOneByOne) {
  Bench<BatchDriver> bench{{.capacity_sectors = 1024, .depth = 128}};
  bench.driver.max_batch = 3;
  Reads reads{5};
  {
    const BatchDriver::Disk::Plug plug{*bench.disk, bench.context()};
    reads.submit(bench);
  }
  EXPECT_EQ(bench.driver.batched, (std::vector<std::uint64_t>{0, 1, 2}));
  EXPECT_EQ(bench.driver.singles, (std::vector<std::uint64_t>{3, 4}));
  EXPECT_EQ(bench.driver.last_of_singles, (std::vector<bool>{false, true}));
  EXPECT_EQ(reads.ends.count, 5);
}

/// Publishes every request, and reaps when it is polled.
struct PollDriver : fake::FullDriver {
  Answer queue_rq(Hw& hw, QueueData&, blkown::Idle<Rq> idle, bool) override {
    types.push_back(hw.type());
    publish(hw, std::move(idle));
    return Answer::accepted();
  }
  unsigned poll(Hw& hw) override {
    unsigned count = 0;
    for (const std::uint64_t value : std::exchange(hw.data.published, {})) {
      if (auto claim = hw.claim(value)) {
        std::move(*claim).end_ok();
        ++count;
      }
    }
    return count;
  }
  std::vector<mq::QueueType> types;
};

TEST(Dispatch, EachTypeHasItsQueueAndPollReapsPolledIo) {
  Bench<PollDriver> bench{
      {.capacity_sectors = 1024, .normal_queues = 1, .read_queues = 1, .poll_queues = 1}};
  Ends ends;
  std::vector<std::byte> memory(512);
  mq::Bio write = mq::Bio::write(0, whole(memory), {&Ends::on_end, &ends});
  mq::Bio read = mq::Bio::read(0, whole(memory), {&Ends::on_end, &ends});
  mq::Bio polled = mq::Bio::read(0, whole(memory), {&Ends::on_end, &ends}, {.polled = true});
  for (mq::Bio* bio : {&write, &read, &polled}) bench.disk->submit(bench.context(), *bio);
  EXPECT_EQ(bench.driver.types,
            (std::vector{mq::QueueType::normal, mq::QueueType::read, mq::QueueType::poll}));
  EXPECT_EQ(bench.disk->poll(bench.context()), 1U);
  ASSERT_EQ(ends.count, 1) << "the bio ends before poll() returns";
  EXPECT_EQ(ends.order[0], &polled);
  EXPECT_EQ(bench.disk->poll(bench.context()), 0U);
  for (std::uint32_t i = 0; i != 3; ++i)
    bench.driver.poll(bench.disk->hw_queue(blkown::QueueIndex{i}));
  bench.runtime.run();
  EXPECT_EQ(ends.count, 3);
}

// Goal: the hook is not called for a queue of another type, nor after the removal.
TEST(Dispatch, PollDoesNothingWithoutAQueueForIt) {
  Bench<PollDriver> bench{{.capacity_sectors = 1024}};
  Ends ends;
  std::vector<std::byte> memory(512);
  mq::Bio polled = mq::Bio::read(0, whole(memory), {&Ends::on_end, &ends}, {.polled = true});
  bench.disk->submit(bench.context(), polled);
  EXPECT_EQ(bench.driver.types, std::vector{mq::QueueType::normal});
  EXPECT_EQ(bench.disk->poll(bench.context()), 0U);
  EXPECT_EQ(ends.count, 0);
  bench.driver.poll(bench.disk->hw_queue(blkown::QueueIndex{0}));
  bench.runtime.run();
  EXPECT_EQ(ends.count, 1);
  bench.run([&](mq::Control& control) { bench.disk->remove(control); });
  EXPECT_EQ(bench.disk->poll(bench.context()), 0U);
  bench.disk.reset();
}

/// Passes its claims to the submitting context, and ends them in its complete hook.
struct HalvesDriver : fake::FullDriver {
  unsigned poll(Hw& hw) override {
    unsigned count = 0;
    for (const std::uint64_t value : std::exchange(hw.data.published, {})) {
      hw.complete_local(*hw.claim(value));
      ++count;
    }
    return count;
  }
  void complete(Hw&, blkown::Claim<Rq> claim) override {
    completed_on.push_back(mq::Context::current());
    std::move(claim).end(Status::protection_error);
  }
  std::vector<mq::Context*> completed_on;
};

TEST(Dispatch, CompleteRunsOnTheSubmittingContext) {
  Bench<HalvesDriver> bench{{.capacity_sectors = 1024}, 2};
  Reads reads{1};
  bench.disk->submit(bench.context(1), *reads.bios[0]);
  auto& hw = bench.disk->hw_queue(blkown::QueueIndex{0});
  auto claim = hw.claim(hw.data.published.at(0));
  ASSERT_TRUE(claim.has_value());
  hw.complete(*std::move(claim));
  EXPECT_TRUE(bench.driver.completed_on.empty()) << "not on this thread";
  bench.runtime.run();
  EXPECT_EQ(bench.driver.completed_on, std::vector{&bench.context(1)});
  EXPECT_EQ(reads.ends.statuses, std::vector{Status::protection_error});
}

// Goal: claims that the poll hook passes to HwQueue::complete_local are completed before Disk::poll
// returns, and leave nothing for a run.
TEST(Dispatch, PollCompletesItsClaimsBeforeItReturns) {
  Bench<HalvesDriver> bench{{.capacity_sectors = 1024, .poll_queues = 1}};
  Ends ends;
  std::vector<std::byte> memory(512);
  mq::Bio polled = mq::Bio::read(0, whole(memory), {&Ends::on_end, &ends}, {.polled = true});
  bench.disk->submit(bench.context(), polled);
  EXPECT_EQ(bench.disk->poll(bench.context()), 1U);
  EXPECT_EQ(ends.count, 1);
  EXPECT_EQ(bench.context().runnable(), 0U);
  bench.runtime.run();
  EXPECT_EQ(ends.count, 1);
}

/// Completes each request in queue_rq, through the hook `complete`. That passes each claim on once
/// more for `again` times.
struct CompletesInQueueRq : fake::FullDriver {
  Answer queue_rq(Hw& hw, QueueData&, blkown::Idle<Rq> idle, bool) override {
    if (is_at_once) {
      hw.complete_local(std::move(idle).start().into_claim());
    } else {
      publish(hw, std::move(idle));
    }
    return Answer::accepted();
  }
  unsigned poll(Hw&) override { return 0; }
  void complete(Hw& hw, blkown::Claim<Rq> claim) override {
    ++completed;
    if (again != 0) {
      --again;
      return hw.complete_local(std::move(claim));
    }
    std::move(claim).end_ok();
  }
  int completed = 0;
  int again = 0;
  bool is_at_once = true;
};

// Goal: a claim that a hook completes waits for the context's work, and nothing is posted for it.
TEST(Dispatch, AClaimThatQueueRqCompletesNeedsNoPost) {
  Bench<CompletesInQueueRq> bench;
  Reads reads{3};
  for (int round = 1; round != 3; ++round) {
    reads.submit(bench);
    EXPECT_TRUE(bench.context().is_inbox_empty());
    EXPECT_EQ(bench.driver.completed, 3 * round - 3) << "not before the context runs";
    bench.runtime.run();
    EXPECT_EQ(bench.driver.completed, 3 * round);
    EXPECT_EQ(reads.ends.count, 3 * round);
  }
}

// Goal: the complete hook is called for claims in the order of HwQueue::complete.
TEST(Dispatch, CompleteKeepsTheOrderOfTheClaims) {
  Bench<HalvesDriver> bench{{.capacity_sectors = 1024}, 2};
  Reads reads{3};
  for (auto& bio : reads.bios) bench.disk->submit(bench.context(1), *bio);
  auto& hw = bench.disk->hw_queue(blkown::QueueIndex{0});
  for (const std::size_t i : {2U, 0U, 1U}) hw.complete(*hw.claim(hw.data.published.at(i)));
  bench.runtime.run();
  EXPECT_EQ(bench.driver.completed_on.size(), 3U);
  EXPECT_EQ(reads.ends.order,
            (std::vector{reads.bios[2].get(), reads.bios[0].get(), reads.bios[1].get()}));
}

/// Publishes its requests, and completes those that come later in queue_rq.
struct PublishesFirst : HalvesDriver {
  Answer queue_rq(Hw& hw, QueueData&, blkown::Idle<Rq> idle, bool) override {
    if (is_published) {
      hw.complete_local(std::move(idle).start().into_claim());
    } else {
      publish(hw, std::move(idle));
      is_published = true;
    }
    return Answer::accepted();
  }
  bool is_published = false;
};

// Goal: the same, if an interrupt of the context passes a claim before the Entry in which a hook
// passes another one.
TEST(Dispatch, CompleteKeepsTheOrderOfAClaimBeforeAnEntryAndOneWithin) {
  Bench<PublishesFirst> bench;
  Reads reads{2};
  bench.disk->submit(bench.context(), *reads.bios[0]);
  auto& hw = bench.disk->hw_queue(blkown::QueueIndex{0});
  {
    const mq::Context::Scope scope{bench.context()};
    hw.complete(*hw.claim(hw.data.published.at(0)));
  }
  bench.disk->submit(bench.context(), *reads.bios[1]);
  bench.runtime.run();
  EXPECT_EQ(reads.ends.order, (std::vector{reads.bios[0].get(), reads.bios[1].get()}));
}

// Goal: the same, if the claim of the hook comes first, and the context's works run in another
// order than they were posted in.
TEST(Dispatch, CompleteKeepsTheOrderOfALocalClaimAndOneOfAnInterrupt) {
  for (const bool last_work_first : {false, true}) {
    Bench<PublishesFirst> bench;
    Reads reads{2};
    bench.disk->submit(bench.context(), *reads.bios[0]);
    bench.disk->submit(bench.context(), *reads.bios[1]);
    auto& hw = bench.disk->hw_queue(blkown::QueueIndex{0});
    hw.complete(*hw.claim(hw.data.published.at(0)));
    const std::size_t works = bench.context().runnable();
    ASSERT_EQ(works, 2U);
    bench.context().run_one(last_work_first ? works - 1 : 0);
    bench.runtime.run();
    EXPECT_EQ(reads.ends.order, (std::vector{reads.bios[1].get(), reads.bios[0].get()}));
  }
}

// Goal: code that runs on the context outside of a call of the disk may pass claims, too.
TEST(Dispatch, AWorkCompletesLocally) {
  Bench<HalvesDriver> bench{{.capacity_sectors = 1024}, 2};
  Reads reads{2};
  for (auto& bio : reads.bios) bench.disk->submit(bench.context(1), *bio);
  mq::Work work{[](void* hw, mq::Work&) {
                  auto& its = *static_cast<mq::HwQueue<fake::FullDriver>*>(hw);
                  for (const std::uint64_t value : its.data.published) {
                    its.complete_local(*its.claim(value));
                  }
                },
                &bench.disk->hw_queue(blkown::QueueIndex{0})};
  bench.context(1).post(work);
  bench.context(1).run_some(1);
  EXPECT_TRUE(bench.driver.completed_on.empty()) << "not within the call";
  EXPECT_TRUE(bench.context(1).is_inbox_empty());
  bench.runtime.run();
  EXPECT_EQ(bench.driver.completed_on, (std::vector{&bench.context(1), &bench.context(1)}));
  EXPECT_EQ(reads.ends.order, (std::vector{reads.bios[0].get(), reads.bios[1].get()}));
}

// Goal: a claim of another context's request, which a device may name, goes to its own context.
TEST(Dispatch, ALocalClaimOfAnotherContextGoesThere) {
  for (const bool has_context : {false, true}) {
    Bench<HalvesDriver> bench{{.capacity_sectors = 1024}, 2};
    Reads reads{1};
    bench.disk->submit(bench.context(1), *reads.bios[0]);
    auto& hw = bench.disk->hw_queue(blkown::QueueIndex{0});
    {
      std::optional<mq::Context::Scope> scope;
      if (has_context) scope.emplace(bench.context(0));
      hw.complete_local(*hw.claim(hw.data.published.at(0)));
    }
    EXPECT_FALSE(bench.context(1).is_inbox_empty());
    bench.runtime.run();
    EXPECT_EQ(bench.driver.completed_on, std::vector{&bench.context(1)});
    EXPECT_EQ(reads.ends.statuses, std::vector{Status::protection_error});
  }
}

// Goal: a run calls the hook for the claims that it finds, and no more, so that a hook that passes
// claims on does not keep other works waiting.
TEST(Dispatch, ARunCompletesWhatItFinds) {
  for (const bool is_polled : {false, true}) {
    Bench<CompletesInQueueRq> bench{{.capacity_sectors = 1024, .poll_queues = 1}};
    bench.driver.again = 7;
    Reads reads{3};
    reads.submit(bench);
    if (is_polled) {
      EXPECT_EQ(bench.disk->poll(bench.context()), 0U);
    } else {
      bench.context().run_some(1);
    }
    EXPECT_EQ(bench.driver.completed, 3);
    bench.context().run_some(1);
    EXPECT_EQ(bench.driver.completed, 6);
    bench.runtime.run();
    EXPECT_EQ(bench.driver.completed, 10);
    EXPECT_EQ(reads.ends.count, 3);
  }
}

// Method: the stack's work runs before the disk's work, and finds a claim of either kind. The hook
// passes each on once more.
TEST(Dispatch, ARunForOtherThreadsCompletesWhatItFinds) {
  Bench<CompletesInQueueRq> bench;
  bench.driver.again = 2;
  Reads reads{2};
  bench.disk->submit(bench.context(), *reads.bios[0]);
  bench.driver.is_at_once = false;
  bench.disk->submit(bench.context(), *reads.bios[1]);
  auto& hw = bench.disk->hw_queue(blkown::QueueIndex{0});
  hw.complete(*hw.claim(hw.data.published.at(0)));
  const std::size_t works = bench.context().runnable();
  ASSERT_EQ(works, 2U);
  bench.context().run_one(works - 1);
  EXPECT_EQ(bench.driver.completed, 2) << "each claim once";
  bench.runtime.run();
  EXPECT_EQ(bench.driver.completed, 4);
  EXPECT_EQ(reads.ends.order, (std::vector{reads.bios[0].get(), reads.bios[1].get()}));
}

// Goal: operations wait for claims that wait for the hook.
TEST(Dispatch, OperationsWaitForLocalClaims) {
  Bench<CompletesInQueueRq> bench;
  bench.driver.again = 5;
  Reads reads{3};
  reads.submit(bench);
  EXPECT_TRUE(bench.freeze());
  EXPECT_EQ(reads.ends.count, 3);
  EXPECT_TRUE(bench.thaw());
  bench.driver.again = 5;
  reads.submit(bench);
  bench.remove();
  EXPECT_EQ(reads.ends.count, 6);
  EXPECT_EQ(bench.driver.completed, 16);
}

/// Has no hook `complete`.
struct PassesWithoutAHook {
  struct RequestData {};
  struct HwData {};
  struct QueueData {
    std::vector<std::byte> medium;
  };
  using Disk = mq::Disk<PassesWithoutAHook>;

  mq::Dispatch<PassesWithoutAHook> queue_rq(mq::HwQueue<PassesWithoutAHook>& hw, QueueData&,
                                            blkown::Idle<mq::Request<PassesWithoutAHook>> idle,
                                            bool) {
    hw.complete_local(std::move(idle).start().into_claim());
    return mq::Dispatch<PassesWithoutAHook>::accepted();
  }
};

TEST(Dispatch, ALocalClaimEndsWithoutAHook) {
  Bench<PassesWithoutAHook> bench;
  Reads reads{2};
  reads.submit(bench);
  bench.runtime.run();
  EXPECT_EQ(reads.ends.statuses, (std::vector{Status::ok, Status::ok}));
}

}  // namespace
