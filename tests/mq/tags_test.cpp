// SPDX-License-Identifier: BSL-1.0
//
// Tests of tags: waiting in turn, sharing between queues and disks.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <blkown/mq/sync.hpp>
#include <blkown/mq/thread_runtime.hpp>
#include <blkown/sim/harness/deterministic_runtime.hpp>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "mq/fake_driver.hpp"
#include "stress/effort.hpp"

namespace {

namespace mq = blkown::mq;
using blkown::Status;
using fake::Bench;
using fake::Ends;
using fake::whole;
using Mode = fake::Driver::Mode;

/// A submitter that submits each of its bios again when the bio has ended.
struct Submitter {
  Submitter(Bench<>& its_bench, std::uint32_t its_context, std::size_t bio_count)
      : bench{its_bench}, context{its_context} {
    ends.then = [this](mq::Bio& bio) {
      if (is_running) bench.disk->submit(bio);
    };
    for (std::size_t i = 0; i != bio_count; ++i) {
      bios.emplace_back(new mq::Bio(mq::Bio::read(context, whole(memory), {&Ends::on_end, &ends})));
    }
  }
  void start() {
    for (auto& bio : bios) bench.disk->submit(bench.context(context), *bio);
  }
  Bench<>& bench;
  std::uint32_t context;
  std::vector<std::byte> memory = std::vector<std::byte>(512);
  Ends ends;
  std::vector<std::unique_ptr<mq::Bio>> bios;
  bool is_running = true;
};

// The bios that a context may issue with the tag of one turn.
constexpr int turn_bios = 8;

// Goal: of four contexts that share one tag each gets its turn, although one of them has ten times
// as many bios as the others.
TEST(Tags, NoContextStarvesWhenTheyAreShort) {
  Bench bench{{.capacity_sectors = 1024, .depth = 1}, 4};
  bench.driver.mode = Mode::publish;
  std::array<std::unique_ptr<Submitter>, 4> submitters;
  for (std::uint32_t i = 0; i != 4; ++i) {
    submitters[i] = std::make_unique<Submitter>(bench, i, i == 0 ? 10 : 1);
  }
  for (auto& submitter : submitters) submitter->start();
  for (int i = 0; i != 400; ++i) {
    bench.runtime.run();
    bench.driver.reap(bench.data());
  }
  int total = 0;
  for (auto& submitter : submitters) total += submitter->ends.count;
  EXPECT_GE(total, 390) << "no turn is lost";
  // The first context has its whole turn, the others have one bio each.
  for (auto& submitter : submitters) EXPECT_GE(submitter->ends.count, 390 / (turn_bios + 3));
  for (auto& submitter : submitters) submitter->is_running = false;
  for (int i = 0; i != 20; ++i) {
    bench.driver.reap(bench.data());
    bench.runtime.run();
  }
  EXPECT_EQ(bench.disk->counters().in_flight(), 0U);
}

/// Counts the I/Os that are issued while each bio waits. A bio's sector is its number.
struct CountingDriver : fake::Driver {
  Answer queue_rq(Hw& hw, QueueData& queue, blkown::Idle<Rq> idle, bool is_last) override {
    const std::size_t number = idle.data().sector();
    longest_wait = std::max(longest_wait, calls - submitted_at[number]);
    ++issues[number];
    return Driver::queue_rq(hw, queue, std::move(idle), is_last);
  }
  std::array<int, 64> submitted_at{};
  std::array<int, 64> issues{};
  int longest_wait = 0;
};

// Goal: where tags are short, a bio waits for one turn of each other context for each turn that its
// own context needs to come to it, and for the I/Os of the turns that have begun.
TEST(Tags, ABioWaitsForABoundedNumberOfOthers) {
  constexpr int depth = 4;
  constexpr int bio_count = 64;
  for (const int contexts : {1, 2, 16}) {
    Bench<CountingDriver> bench{{.capacity_sectors = 1024, .depth = depth},
                                static_cast<std::uint32_t>(contexts)};
    bench.driver.mode = Mode::publish;
    std::vector<std::byte> memory(512);
    bool is_running = true;
    Ends ends;
    const auto submit = [&](mq::Bio& bio) {
      bench.driver.submitted_at[bio.sector()] = bench.driver.calls;
      const auto context = static_cast<std::uint32_t>(bio.sector()) % bench.runtime.context_count();
      bench.disk->submit(bench.context(context), bio);
    };
    ends.then = [&](mq::Bio& bio) {
      if (is_running) submit(bio);
    };
    std::vector<std::unique_ptr<mq::Bio>> bios;
    for (std::uint64_t i = 0; i != bio_count; ++i) {
      bios.emplace_back(new mq::Bio(mq::Bio::read(i, whole(memory), {&Ends::on_end, &ends})));
      submit(*bios.back());
    }
    while (ends.count < 50 * bio_count) {
      bench.driver.reap(bench.data());
      bench.runtime.run();
    }
    const int own = bio_count / contexts;  // the bios of its context
    const int turns = (own + turn_bios - 1) / turn_bios;
    EXPECT_LE(bench.driver.longest_wait,
              own + turns * (contexts - 1) * turn_bios + (contexts == 1 ? 0 : depth * turn_bios))
        << contexts << " contexts";
    RecordProperty("longest_wait_of_" + std::to_string(contexts), bench.driver.longest_wait);
    const auto [least, most] = std::ranges::minmax(bench.driver.issues);
    EXPECT_GE(2 * least, most) << "each bio has its part";
    is_running = false;
    while (ends.count != bench.driver.calls || !bench.driver.published.empty()) {
      bench.driver.reap(bench.data());
      bench.runtime.run();
    }
  }
}

// Goal: a context whose bios have held every tag, and which comes back with one more bio while
// another context has many, waits for two turns of the other context, whatever the depth is.
TEST(Tags, AContextThatComesBackWaitsForTwoTurns) {
  for (const std::uint32_t depth : {1U, 4U, 64U}) {
    constexpr std::uint64_t sector = 777;
    std::vector<fake::Read> holders(depth), many(depth * 2);
    fake::Read back{sector};
    Bench bench{{.capacity_sectors = 1024, .depth = depth}, 2};
    bench.driver.mode = Mode::publish;
    for (fake::Read& read : holders) bench.disk->submit(bench.context(1), read.bio);
    bool is_running = true;
    for (fake::Read& read : many) {
      read.ends.then = [&](mq::Bio& bio) {
        if (is_running) bench.disk->submit(bench.context(0), bio);
      };
      bench.disk->submit(bench.context(0), read.bio);
    }
    const auto step = [&] {
      bench.driver.reap(bench.data(), 1);
      bench.runtime.run();
    };
    for (std::uint32_t i = 0; i != depth; ++i) step();
    const auto before = std::ssize(bench.driver.seen);
    bench.disk->submit(bench.context(1), back.bio);
    bench.runtime.run();
    while (back.ends.count == 0 && bench.driver.seen.size() < 100'000) step();
    const auto issue = std::ranges::find(bench.driver.seen, sector, &fake::Seen::sector);
    EXPECT_LE(issue - bench.driver.seen.begin() - before, 2 * turn_bios) << "depth " << depth;
    is_running = false;
    while (!bench.driver.published.empty()) step();
  }
}

// Goal: tags that an allocation gives back, because another context needs one, wake that context. A
// private request takes a tag without a place in the line.
TEST(Tags, AnAllocationThatGivesTagsBackWakesAContextThatWaits) {
  std::vector<fake::Read> held(60);
  fake::Read own, waits;
  Bench bench{{.capacity_sectors = 1024, .depth = 64}, 2};
  bench.driver.mode = Mode::publish;
  for (const std::uint32_t context : {0U, 1U}) {  // each context draws
    fake::Read& first = context == 0 ? own : waits;
    bench.disk->submit(bench.context(context), first.bio);
    bench.driver.reap(bench.data());
    bench.runtime.run();
  }
  for (fake::Read& read : held) bench.disk->submit(bench.context(1), read.bio);
  bench.disk->submit(bench.context(0), own.bio);  // keeps what its refill took beside it
  bench.disk->submit(bench.context(1), waits.bio);
  EXPECT_EQ(waits.ends.count, 1);
  auto idle = bench.disk->allocate_private(bench.context(0), mq::Op::driver_out, false);
  ASSERT_TRUE(idle.has_value());
  const int calls = bench.driver.calls;
  bench.runtime.run();
  EXPECT_EQ(bench.driver.calls, calls + 1) << "the bio that waits is issued";
  bench.disk->execute_private(bench.context(0), *std::move(idle), {[](void*, auto&) {}, nullptr});
  while (!bench.driver.published.empty()) {
    bench.driver.reap(bench.data());
    bench.runtime.run();
  }
  EXPECT_EQ(waits.ends.count, 2);
}

// Goal: a freed tag goes to the context that waits longest, and not back to the context that freed
// it.
TEST(Tags, AreGivenInTheOrderOfTheRequests) {
  Bench bench{{.capacity_sectors = 1024, .depth = 1}, 2};
  bench.driver.mode = Mode::publish;
  std::vector<std::byte> memory(512);
  Ends ends;
  std::vector<std::unique_ptr<mq::Bio>> bios;
  const auto submit = [&](std::uint32_t context) {
    bios.emplace_back(new mq::Bio(mq::Bio::read(0, whole(memory), {&Ends::on_end, &ends})));
    bench.disk->submit(bench.context(context), *bios.back());
  };
  submit(0);
  submit(1);
  for (int i = 0; i != 20; ++i) submit(0);
  while (ends.count != 22) {
    bench.driver.reap(bench.data());
    bench.runtime.run();
  }
  EXPECT_EQ(ends.order[0], bios[0].get());
  EXPECT_EQ(ends.order[1], bios[1].get()) << "before the twenty bios submitted after it";
}

// Goal: a context that waits for the end of its I/O gives back the tags that it stashed.
TEST(Tags, ContextsThatOnlyWaitGiveBackTheirStashes) {
  constexpr std::uint32_t contexts = 17;
  Bench bench{{.capacity_sectors = 1024, .depth = 256}, contexts};
  bench.driver.mode = Mode::publish;
  std::vector<std::byte> memory(512);
  Ends ends;
  std::vector<std::unique_ptr<mq::Bio>> bios;
  for (std::uint32_t i = 0; i != contexts; ++i) {
    bios.emplace_back(new mq::Bio(mq::Bio::read(0, whole(memory), {&Ends::on_end, &ends})));
    bench.disk->submit(bench.context(i), *bios.back());
  }
  bench.runtime.run();
  EXPECT_EQ(bench.driver.published.size(), contexts);
  bench.driver.reap(bench.data());
  bench.runtime.run();
  EXPECT_EQ(ends.count, static_cast<int>(contexts));
}

// Goal: an idle context keeps no tag that another context waits for.
TEST(Tags, AnIdleContextGivesBackItsStash) {
  for (const std::uint32_t idle : {0U, 1U}) {
    Bench bench{{.capacity_sectors = 1024, .depth = 16}, 2};
    std::vector<std::byte> memory(512);
    Ends ends;
    mq::Bio bio = mq::Bio::read(0, whole(memory), {&Ends::on_end, &ends});
    for (int i = 0; i != 40; ++i) bench.disk->submit(bench.context(idle), bio);
    EXPECT_GT(bench.disk->pool().tags().taken_count(blkown::QueueIndex{0}), 0U) << "stashed";
    bench.driver.mode = Mode::publish;
    std::vector<std::unique_ptr<mq::Bio>> bios;
    for (int i = 0; i != 16; ++i) {
      bios.emplace_back(new mq::Bio(mq::Bio::read(0, whole(memory), {&Ends::on_end, &ends})));
      bench.disk->submit(bench.context(1 - idle), *bios.back());
    }
    bench.runtime.run();
    EXPECT_EQ(bench.driver.published.size(), 16U);
    bench.driver.reap(bench.data());
    bench.runtime.run();
    EXPECT_EQ(ends.count, 56);
  }
}

TEST(Tags, SeveralFreedAtOnceServeSeveralContexts) {
  Bench bench{{.capacity_sectors = 1024, .depth = 4}, 5};
  bench.driver.mode = Mode::publish;
  std::vector<std::unique_ptr<Submitter>> submitters;
  submitters.push_back(std::make_unique<Submitter>(bench, 0, 4));
  for (std::uint32_t i = 1; i != 5; ++i) {
    submitters.push_back(std::make_unique<Submitter>(bench, i, 1));
  }
  for (auto& submitter : submitters) {
    submitter->is_running = false;
    submitter->start();
  }
  bench.runtime.run();
  ASSERT_EQ(bench.driver.published.size(), 4U);
  bench.driver.reap(bench.data());
  bench.runtime.run();
  EXPECT_EQ(bench.driver.published.size(), 4U) << "all four tags are in use again";
  bench.driver.reap(bench.data());
  bench.runtime.run();
  for (std::size_t i = 1; i != 5; ++i) EXPECT_EQ(submitters[i]->ends.count, 1);
}

// Goal: a waiting disk whose queue is stopped does not delay the turn of another disk.
TEST(Tags, ADiskThatCannotUseItsTurnPassesItOn) {
  mq::LoopRuntime runtime{2};
  fake::Driver driver;
  driver.mode = Mode::publish;
  auto pool = *mq::TagPool<fake::Driver>::create(
      {.queue_count = 1, .depth = 1, .layout = blkown::CookieLayout::nbd()});
  using Disk = mq::Disk<fake::Driver>;
  auto a = *Disk::create({.capacity_sectors = 8}, driver, runtime, {}, pool.get());
  auto b = *Disk::create({.capacity_sectors = 8}, driver, runtime, {}, pool.get());
  std::vector<std::byte> memory(512);
  Ends ends;
  mq::Bio first = mq::Bio::read(0, whole(memory), {&Ends::on_end, &ends});
  mq::Bio of_a = mq::Bio::read(0, whole(memory), {&Ends::on_end, &ends});
  mq::Bio of_b = mq::Bio::read(0, whole(memory), {&Ends::on_end, &ends});
  a->submit(runtime.context(0), first);
  a->submit(runtime.context(0), of_a);
  b->submit(runtime.context(1), of_b);
  a->hw_queue(blkown::QueueIndex{0}).stop();
  runtime.run();
  driver.reap(a->queue_data());
  runtime.run();
  EXPECT_EQ(ends.order, std::vector{&first});
  EXPECT_EQ(driver.published.size(), 1U) << "b's turn, because a is stopped";
  driver.reap(a->queue_data());
  runtime.run();
  EXPECT_EQ(ends.order, (std::vector{&first, &of_b}));
  a->hw_queue(blkown::QueueIndex{0}).start();
  runtime.run();
  driver.reap(a->queue_data());
  runtime.run();
  EXPECT_EQ(ends.order, (std::vector{&first, &of_b, &of_a}));
  for (auto* disk : {&a, &b}) {
    mq::Event gone;
    mq::Control control{
        {[](void* event, mq::Control&) { static_cast<mq::Event*>(event)->set(); }, &gone}};
    (*disk)->remove(control);
    ASSERT_TRUE(runtime.wait_for(gone));
    disk->reset();
  }
}

// Goal: a nowait bio that got no tag does not delay the bios behind it.
TEST(Tags, ANowaitBioLeavesTheLine) {
  Bench bench{{.capacity_sectors = 1024, .depth = 1}, 3};
  bench.driver.mode = Mode::publish;
  Submitter holds{bench, 0, 1}, waits{bench, 2, 1};
  holds.is_running = waits.is_running = false;
  std::vector<std::byte> memory(512);
  Ends ends;
  mq::Bio nowait = mq::Bio::read(0, whole(memory), {&Ends::on_end, &ends}, {.nowait = true});
  holds.start();
  bench.disk->submit(bench.context(1), nowait);
  EXPECT_EQ(ends.statuses, std::vector{Status::again});
  waits.start();
  bench.driver.reap(bench.data());
  bench.runtime.run();
  EXPECT_EQ(bench.driver.published.size(), 1U) << "the waiting bio has its turn";
  bench.driver.reap(bench.data());
  bench.runtime.run();
  EXPECT_EQ(waits.ends.count, 1);
}

// Goal: a turn that is given while its context asks for a turn is used. After enough lost turns no
// context would be woken.
TEST(Tags, ATurnThatComesWhileItIsAskedForIsNotLost) {
  using R = mq::Request<fake::Driver>;
  mq::LoopRuntime runtime{2};
  auto pool = *mq::TagPool<fake::Driver>::create(
      {.queue_count = 1, .depth = 1, .layout = blkown::CookieLayout::nbd()});
  mq::detail::TagLine<R>& line = pool->line(blkown::QueueIndex{0});
  mq::Work ignored{[](void*, mq::Work&) {}, nullptr};
  mq::detail::TagWaiter first{runtime.context(0), ignored, ignored},
      second{runtime.context(1), ignored, ignored};
  for (int round = 0; round != 3; ++round) {
    ASSERT_TRUE(line.join(pool->tags(), blkown::QueueIndex{0}, first, false))
        << "the first in the line may try";
    ASSERT_FALSE(line.join(pool->tags(), blkown::QueueIndex{0}, second, false));
    EXPECT_FALSE(line.take_turn(first)) << "not yet";
    line.wake_first(pool->tags(), blkown::QueueIndex{0});
    EXPECT_TRUE(line.join(pool->tags(), blkown::QueueIndex{0}, first, false))
        << "it has its turn and may try";
    EXPECT_FALSE(line.leave(first)) << "the turn was used";
    line.wake_first(pool->tags(), blkown::QueueIndex{0});
    EXPECT_TRUE(line.take_turn(second)) << "the turn passes to the second";
    EXPECT_FALSE(line.is_occupied());
  }
  runtime.run();
}

/// Two disks that share a device's tags, each on its own runtime. The first disk is idle and has a
/// stash of tags.
struct TwoDisks {
  using Disk = mq::Disk<fake::Driver>;
  static constexpr std::uint32_t depth = 16;

  TwoDisks() {
    first = *Disk::create({.capacity_sectors = 8}, driver, runtime_of_first, {}, pool.get());
    mq::Bio bio = mq::Bio::read(0, whole(memory), {&Ends::on_end, &ends});
    for (int i = 0; i != 40; ++i) first->submit(runtime_of_first.context(0), bio);
    runtime_of_first.run();
    driver.mode = Mode::publish;
    is_first_called = false;
  }
  ~TwoDisks() {
    if (first != nullptr) static_cast<void>(mq::remove(runtime_of_first, *first));
    if (second != nullptr) static_cast<void>(mq::remove(runtime_of_second, *second));
  }
  [[nodiscard]] std::uint32_t kept() const {
    return pool->tags().taken_count(blkown::QueueIndex{0});
  }
  /// Creates the second disk and submits as many bios as there are tags.
  void ask_for_all() {
    second = *Disk::create({.capacity_sectors = 8}, driver, runtime_of_second, {}, pool.get());
    for (std::uint32_t i = 0; i != depth; ++i) {
      bios.emplace_back(new mq::Bio(mq::Bio::read(0, whole(memory), {&Ends::on_end, &ends})));
      second->submit(runtime_of_second.context(0), *bios.back());
    }
    runtime_of_second.run();
  }
  void finish() {
    runtime_of_second.run();
    EXPECT_EQ(driver.published.size(), depth) << "all tags are in use";
    driver.reap(second->queue_data());
    runtime_of_second.run();
    EXPECT_EQ(ends.count, 40 + static_cast<int>(depth));
  }

  bool is_first_called = false;
  mq::LoopRuntime runtime_of_first{
      1, {.argument = &is_first_called, .now_ns = nullptr, .wake = [](void* flag) {
            *static_cast<bool*>(flag) = true;
          }}};
  mq::LoopRuntime runtime_of_second;
  fake::Driver driver;
  std::unique_ptr<mq::TagPool<fake::Driver>> pool = *mq::TagPool<fake::Driver>::create(
      {.queue_count = 1, .depth = depth, .layout = blkown::CookieLayout::nbd()});
  std::vector<std::byte> memory = std::vector<std::byte>(512);
  Ends ends;
  std::vector<std::unique_ptr<mq::Bio>> bios;
  std::unique_ptr<Disk> first, second;
};

// Goal: an idle context keeps its stash while no other uses the pool, and gives it back to a disk
// that is created later.
TEST(Tags, AnUnsharedStashIsKeptUntilAnotherDiskComes) {
  TwoDisks disks;
  const std::uint32_t kept = disks.kept();
  EXPECT_GT(kept, 0U) << "no other context uses the pool";
  disks.runtime_of_first.run();
  EXPECT_EQ(disks.kept(), kept);
  disks.ask_for_all();
  EXPECT_EQ(disks.driver.published.size(), TwoDisks::depth - kept);
  EXPECT_TRUE(disks.is_first_called) << "the idle context is woken";
  disks.runtime_of_first.run();
  disks.finish();
}

// Goal: the stash also becomes free if the first disk is removed instead.
TEST(Tags, ARemovedDiskGivesBackItsStash) {
  TwoDisks disks;
  disks.ask_for_all();
  EXPECT_LT(disks.driver.published.size(), std::size_t{TwoDisks::depth});
  EXPECT_EQ(mq::remove(disks.runtime_of_first, *disks.first), Status::ok);
  disks.first.reset();
  disks.finish();
  // The second disk is now the only one, and keeps a stash.
  EXPECT_GT(disks.kept(), 0U);
}

// Goal: a disk that is removed while the pool notifies it of another disk is not destroyed before
// the notice has run.
// Method: seeds choose the order of the context's work.
TEST(Tags, ADiskIsNotDestroyedBeforeAPendingNoticeRuns) {
  using Disk = mq::Disk<fake::Driver>;
  for (std::uint64_t seed = 0; seed != 200; ++seed) {
    blkown::sim::DeterministicRuntime runtime{seed, 1};
    fake::Driver driver;
    auto pool = *mq::TagPool<fake::Driver>::create(
        {.queue_count = 1, .depth = 4, .layout = blkown::CookieLayout::nbd()});
    auto first = *Disk::create({.capacity_sectors = 8}, driver, runtime, {}, pool.get());
    std::vector<std::byte> memory(512);
    ASSERT_EQ(mq::read(runtime, *first, 0, memory), Status::ok);
    mq::Event gone;
    mq::Control control{
        {[](void* event, mq::Control&) { static_cast<mq::Event*>(event)->set(); }, &gone}};
    first->remove(control);
    auto second = *Disk::create({.capacity_sectors = 8}, driver, runtime, {}, pool.get());
    Ends ends;
    mq::Bio bio = mq::Bio::read(0, whole(memory), {&Ends::on_end, &ends});
    second->submit(runtime.context(0), bio);
    ASSERT_TRUE(runtime.wait_for(gone));
    ASSERT_TRUE(runtime.run_until_idle(1000));
    EXPECT_EQ(ends.count, 1);
    first.reset();
    EXPECT_EQ(mq::remove(runtime, *second), Status::ok);
  }
}

// Goal: threads may create, use and remove disks on one pool at the same time.
TEST(Tags, DisksOnOnePoolComeAndGoAtTheSameTime) {
  using Disk = mq::Disk<fake::Driver>;
  auto pool = *mq::TagPool<fake::Driver>::create(
      {.queue_count = 1, .depth = 4, .layout = blkown::CookieLayout::nbd()});
  const auto come_and_go = [&pool] {
    mq::ThreadRuntime runtime{1};
    fake::Driver driver;
    std::vector<std::byte> memory(512);
    for (std::uint64_t i = 0; i != stress::scaled(300, 100); ++i) {
      // The queue types have separate hardware queues and share one set of tags.
      auto disk = *Disk::create({.capacity_sectors = 8, .read_queues = 1}, driver, runtime,
                                {std::vector<std::byte>(8 * 512)}, pool.get());
      EXPECT_EQ(mq::write(runtime, *disk, 0, memory), Status::ok);
      EXPECT_EQ(mq::read(runtime, *disk, 0, memory), Status::ok);
      EXPECT_EQ(mq::remove(runtime, *disk), Status::ok);
    }
  };
  std::thread other{come_and_go};
  come_and_go();
  other.join();
}

/// Publishes each request to a device on a thread of its own.
struct ThreadedDriver : fake::Driver {
  Answer queue_rq(Hw&, QueueData&, blkown::Idle<Rq> idle, bool) override {
    std::move(idle).start().publish([&](blkown::Cookie cookie) {
      const std::lock_guard lock{mutex};
      ids.push_back(cookie.value);
    });
    return Answer::accepted();
  }
  void commit_rqs(Hw&, QueueData&) override {}
  /// The device, until it is stopped.
  void complete_all(Hw& hw) {
    while (!is_stopped.load()) {
      std::vector<std::uint64_t> taken;
      {
        const std::lock_guard lock{mutex};
        taken.swap(ids);
      }
      if (taken.empty()) std::this_thread::yield();
      for (const std::uint64_t id : taken) {
        if (auto claim = hw.claim(id)) std::move(*claim).end_ok();
      }
    }
  }
  std::mutex mutex;
  std::vector<std::uint64_t> ids;
  std::atomic<bool> is_stopped{false};
};

/// Bios of one context, each of which is submitted again a number of times.
struct ThreadedBios {
  ThreadedBios(fake::Driver::Disk& its_disk, std::size_t count, std::uint64_t ios,
               std::atomic<std::size_t>& its_pending, mq::Event& its_done)
      : disk{its_disk}, left{ios}, pending{its_pending}, done{its_done} {
    for (std::size_t i = 0; i != count; ++i) {
      bios.emplace_back(new mq::Bio(mq::Bio::read(
          0, whole(memory),
          {[](void* self, mq::Bio& bio) { static_cast<ThreadedBios*>(self)->end(bio); }, this})));
    }
  }
  void end(mq::Bio& bio) {
    if (left != 0) {
      --left;
      disk.submit(bio);
    } else if (pending.fetch_sub(1) == 1) {
      done.set();
    }
  }
  fake::Driver::Disk& disk;
  std::uint64_t left;
  std::atomic<std::size_t>& pending;
  mq::Event& done;
  std::vector<std::byte> memory = std::vector<std::byte>(512);
  std::vector<std::unique_ptr<mq::Bio>> bios;
};

// Goal: threads that draw from few tags lose no turn and no wake-up: every bio ends, with one tag
// as with several, and with contexts that have no bio left while others wait.
TEST(Tags, ThreadsThatShareFewEndAllTheirBios) {
  constexpr std::uint32_t contexts = 3;
  for (const std::uint32_t depth : {1U, 2U, 5U}) {
    mq::ThreadRuntime runtime{contexts};
    ThreadedDriver driver;
    auto disk =
        *fake::Driver::Disk::create({.capacity_sectors = 8, .depth = depth}, driver, runtime);
    std::thread device{[&] { driver.complete_all(disk->hw_queue(blkown::QueueIndex{0})); }};
    mq::Event done;
    std::atomic<std::size_t> pending{0};
    std::vector<std::unique_ptr<ThreadedBios>> all;
    for (const std::size_t count : {1U, 4U, 12U}) {
      pending.fetch_add(count);
      all.push_back(std::make_unique<ThreadedBios>(*disk, count, 400 * count, pending, done));
    }
    for (std::uint32_t i = 0; i != contexts; ++i) {
      runtime.run_on(i, [&] {
        for (auto& bio : all[i]->bios) disk->submit(*bio);
      });
    }
    ASSERT_TRUE(runtime.wait_until(done, runtime.now_ns() + 60'000'000'000)) << "depth " << depth;
    EXPECT_EQ(mq::remove(runtime, *disk), Status::ok);
    driver.is_stopped.store(true);
    device.join();
  }
}

// Goal: only a waiter that was the line's single user is notified of another, and each time that it
// stops being the single user.
TEST(Tags, ASingleUserIsNotifiedOfTheSecond) {
  using R = mq::Request<fake::Driver>;
  mq::LoopRuntime runtime{3};
  mq::detail::TagLine<R> line;
  mq::Work ignored{[](void*, mq::Work&) {}, nullptr};
  mq::Work works[3] = {mq::Work{[](void*, mq::Work&) {}, nullptr},
                       mq::Work{[](void*, mq::Work&) {}, nullptr},
                       mq::Work{[](void*, mq::Work&) {}, nullptr}};
  mq::detail::TagWaiter first{runtime.context(0), ignored, works[0]},
      second{runtime.context(1), ignored, works[1]}, third{runtime.context(2), ignored, works[2]};
  line.enter(first);
  EXPECT_FALSE(line.is_shared());
  EXPECT_EQ(runtime.run(), 0U);
  line.enter(second);
  EXPECT_TRUE(line.is_shared());
  EXPECT_TRUE(works[0].is_queued());
  EXPECT_EQ(runtime.run(), 1U);
  line.enter(third);
  EXPECT_EQ(runtime.run(), 0U) << "the others were notified";
  line.exit(second);
  EXPECT_TRUE(line.is_shared());
  line.exit(first);
  EXPECT_FALSE(line.is_shared());
  line.enter(first);
  EXPECT_TRUE(works[2].is_queued());
  EXPECT_EQ(runtime.run(), 1U);
  line.exit(third);
  line.exit(first);
  EXPECT_FALSE(line.is_shared());
}

TEST(Tags, QueuesMayShareTags) {
  Bench bench{{.capacity_sectors = 1024, .normal_queues = 3, .depth = 2, .shared_tags = true}, 3};
  bench.driver.mode = Mode::publish;
  std::vector<std::byte> memory(512);
  Ends ends;
  std::vector<std::unique_ptr<mq::Bio>> bios;
  for (std::uint32_t i = 0; i != 3; ++i) {
    bios.emplace_back(new mq::Bio(mq::Bio::read(i, whole(memory), {&Ends::on_end, &ends})));
    bench.disk->submit(bench.context(i), *bios.back());
  }
  EXPECT_EQ(bench.driver.seen.size(), 2U) << "two tags for three queues";
  EXPECT_EQ(bench.driver.seen[1].hw_queue, 1U);
  while (ends.count != 3) {
    bench.driver.reap(bench.data());
    bench.runtime.run();
  }
  EXPECT_EQ(bench.driver.seen[2].hw_queue, 2U);
}

TEST(Tags, TheConfigurationOfADiskHasThoseOfItsPool) {
  const blkown::CookieLayout layout = blkown::CookieLayout::nvme();
  const auto pool = *mq::TagPool<fake::Driver>::create(
      {.queue_count = 1, .depth = 16, .reserved_depth = 3, .layout = layout});
  fake::Driver driver;
  mq::LoopRuntime runtime;
  const auto disk = *mq::Disk<fake::Driver>::create(
      {.capacity_sectors = 8, .normal_queues = 2, .depth = 64, .reserved_depth = 1}, driver,
      runtime, {}, pool.get());
  EXPECT_EQ(disk->config().depth, 16U);
  EXPECT_EQ(disk->config().reserved_depth, 3U);
  EXPECT_EQ(disk->config().layout, layout);
  EXPECT_TRUE(disk->config().shared_tags);
  EXPECT_EQ(disk->config().normal_queues, 2U) << "the pool does not replace it";
  EXPECT_EQ(mq::remove(runtime, *disk), Status::ok);
}

TEST(Tags, APoolWithTheWrongQueuesIsRefused) {
  mq::LoopRuntime runtime;
  fake::Driver driver;
  auto pool = *mq::TagPool<fake::Driver>::create(
      {.queue_count = 2, .depth = 4, .layout = blkown::CookieLayout::nbd()});
  auto made = mq::Disk<fake::Driver>::create({.capacity_sectors = 8, .normal_queues = 3}, driver,
                                             runtime, {}, pool.get());
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().reason, mq::DiskReason::does_not_fit);
}

}  // namespace
