// SPDX-License-Identifier: BSL-1.0
//
// Tests of the share that each disk has of a pool's tags.

#include <gtest/gtest.h>

#include <algorithm>
#include <blkown/detail/saturating.hpp>
#include <blkown/mq/sync.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "mq/fake_driver.hpp"

namespace {

namespace mq = blkown::mq;
using blkown::QueueIndex;
using blkown::Status;
using fake::Ends;
using fake::whole;
using Mode = fake::Driver::Mode;
using Pool = mq::TagPool<fake::Driver>;

/// A disk on a shared pool, with a device of its own that ends only what the test reaps.
struct Member {
  using Disk = mq::Disk<fake::Driver>;

  Member(mq::LoopRuntime& its_runtime, Pool& pool, mq::DiskConfig config = {})
      : runtime{its_runtime} {
    config.capacity_sectors = 8;
    driver.mode = Mode::publish;
    disk = *Disk::create(config, driver, runtime, {}, &pool);
  }
  ~Member() {
    finish();
    remove();
  }
  void submit(std::size_t count, std::uint32_t context = 0, mq::IoFlags flags = {}) {
    for (std::size_t i = 0; i != count; ++i) {
      bios.emplace_back(
          new mq::Bio(mq::Bio::read(0, whole(memory), {&Ends::on_end, &ends}, flags)));
      disk->submit(runtime.context(context), *bios.back());
    }
  }
  void reap(std::size_t count = ~std::size_t{0}) {
    driver.reap(disk->queue_data(), count);
    runtime.run();
  }
  void finish() {
    while (disk != nullptr && in_flight() != 0) reap();
  }
  void remove() {
    if (disk == nullptr) return;
    EXPECT_EQ(mq::remove(runtime, *disk), Status::ok);
    disk.reset();
  }
  [[nodiscard]] std::size_t in_flight() const { return driver.published.size(); }
  [[nodiscard]] std::size_t ended() const { return static_cast<std::size_t>(ends.count); }

  mq::LoopRuntime& runtime;
  fake::Driver driver;
  std::vector<std::byte> memory = std::vector<std::byte>(512);
  Ends ends;
  std::vector<std::unique_ptr<mq::Bio>> bios;
  std::unique_ptr<Disk> disk;
};

/// Disks that share a pool of 16 tags.
struct Shared {
  explicit Shared(std::size_t disk_count, blkown::TagSetConfig config = {.depth = 16},
                  std::uint32_t contexts = 1, mq::DiskConfig disk_config = {})
      : runtime{contexts, clock.hooks()} {
    config.layout = blkown::CookieLayout::nbd();
    pool = *Pool::create(config);
    for (std::size_t i = 0; i != disk_count; ++i) {
      disks.push_back(std::make_unique<Member>(runtime, *pool, disk_config));
    }
  }
  Member& operator[](std::size_t i) { return *disks[i]; }
  /// Makes all disks active: each has an I/O.
  void touch() {
    for (auto& disk : disks) {
      disk->submit(1);
      disk->reap();
      disk->ends.count = 0;
    }
  }
  void pass_ms(std::uint64_t ms) {
    clock.pass_ms(ms);
    runtime.run();
  }
  [[nodiscard]] std::size_t in_flight() const {
    std::size_t sum = 0;
    for (const auto& disk : disks) sum += disk->in_flight();
    return sum;
  }

  fake::Clock clock;
  mq::LoopRuntime runtime;
  std::unique_ptr<Pool> pool;
  std::vector<std::unique_ptr<Member>> disks;
};

constexpr std::uint64_t idle_ms = 30'000;  // the timeout of the disks

// Goal: the device of one disk is stuck. The other disk goes on with its share of the tags.
TEST(FairShare, AStuckDiskLeavesTheOtherDiskItsShare) {
  Shared disks{2};
  disks.touch();
  Member &stuck = disks[0], &other = disks[1];
  stuck.submit(40);
  EXPECT_EQ(stuck.in_flight(), 8U) << "half of 16";
  other.submit(100);
  for (std::size_t i = 0; other.ended() != 100 && i != 100; ++i) {
    EXPECT_EQ(other.in_flight(), std::min<std::size_t>(8, 100 - other.ended()));
    other.reap(1);
  }
  EXPECT_EQ(other.ended(), 100U);
  EXPECT_EQ(stuck.in_flight(), 8U) << "the other disk is active until its timeout";
}

// Goal: a disk that has more than its share when another disk becomes active gets no tag until it
// has less.
TEST(FairShare, ADiskAboveItsShareLetsTheOtherDiskHaveTheTagsThatItFrees) {
  Shared disks{2};
  Member &first = disks[0], &second = disks[1];
  first.submit(40);
  EXPECT_EQ(first.in_flight(), 16U) << "the other disk is not active";
  second.submit(20);
  EXPECT_EQ(second.in_flight(), 0U);
  for (std::size_t freed = 1; freed <= 8; ++freed) {
    first.reap(1);
    EXPECT_EQ(first.in_flight(), 16 - freed);
    EXPECT_EQ(second.in_flight(), freed);
  }
  first.reap(1);
  EXPECT_EQ(first.in_flight(), 8U) << "below its share, it issues again";
  EXPECT_EQ(second.in_flight(), 8U);
}

TEST(FairShare, ThreeDisksHaveAThirdEach) {
  Shared disks{3};
  disks.touch();
  for (std::size_t i = 0; i != 3; ++i) disks[i].submit(30);
  EXPECT_EQ(disks[0].in_flight(), 6U) << "a third of 16, rounded up";
  EXPECT_EQ(disks[1].in_flight(), 6U);
  EXPECT_EQ(disks[2].in_flight(), 4U) << "what is left";
  // Whatever the first disk frees goes to the two disks below their shares in turn.
  disks[0].reap(2);
  EXPECT_EQ(disks[0].in_flight(), 5U);
  EXPECT_EQ(disks[2].in_flight(), 5U);
  for (int i = 0; i != 10; ++i) {
    disks[0].reap(1);
    EXPECT_EQ(disks.in_flight(), 16U) << "no tag is unused";
    EXPECT_EQ(disks[1].in_flight(), 6U);
    EXPECT_GE(disks[2].in_flight(), 5U);
    EXPECT_LE(disks[2].in_flight(), 6U);
  }
}

// Goal: a share is at least four tags, and no more than there are.
TEST(FairShare, IsAtLeastFourTags) {
  Shared five{5};
  five.touch();
  five[0].submit(10);
  EXPECT_EQ(five[0].in_flight(), 4U);
  Shared tiny{2, {.depth = 3}};
  tiny.touch();
  tiny[0].submit(10);
  EXPECT_EQ(tiny[0].in_flight(), 3U);
}

// Goal: a disk without I/O for its timeout gives its share back, and wakes the disk that waits.
TEST(FairShare, ADiskThatGoesIdleGivesItsShareBackAfterItsTimeout) {
  Shared disks{2};
  disks.touch();
  Member &busy = disks[0], &idle = disks[1];
  idle.submit(1);
  busy.submit(20);
  disks.pass_ms(10 * idle_ms);
  EXPECT_EQ(busy.in_flight(), 8U) << "the other disk has an I/O in flight";
  idle.reap();
  disks.pass_ms(idle_ms - 1);
  EXPECT_EQ(busy.in_flight(), 8U);
  disks.pass_ms(1);
  EXPECT_EQ(busy.in_flight(), 16U) << "woken by a timer";
}

// Goal: a lane that waited for a free tag when a third disk came is woken when the others have
// become idle, although no request of its own disk ends.
TEST(FairShare, ALaneThatAThirdDiskSendsBackToItsShareIsWokenByTheTimer) {
  Shared disks{3, {.depth = 24}, 1, {.timeout_ms = 0}};
  Member &stuck = disks[0], &second = disks[1], &third = disks[2];
  second.submit(14);
  stuck.submit(11);
  disks.pass_ms(0);  // the second disk was alone, and gives its stash back
  ASSERT_EQ(stuck.in_flight(), 10U) << "no tag is free, and its share is 12";
  third.submit(1);
  second.reap(1);
  ASSERT_EQ(third.in_flight(), 1U);
  ASSERT_EQ(stuck.in_flight(), 10U) << "its share is 8";
  second.reap();
  third.reap();
  ASSERT_EQ(stuck.in_flight(), 10U);
  disks.pass_ms(idle_ms);
  EXPECT_EQ(stuck.in_flight(), 11U);
}

// Goal: a lane at its share does not wait for a free tag, so the contexts of the other disk keep
// their stashes.
TEST(FairShare, ALaneAtItsShareLeavesTheOtherDiskItsStash) {
  Shared disks{2};
  disks.touch();
  disks[0].submit(9);
  ASSERT_EQ(disks[0].in_flight(), 8U);
  disks[1].driver.mode = Mode::end;
  disks[1].submit(1);
  EXPECT_EQ(disks[1].ended(), 1U);
  EXPECT_GT(disks.pool->tags().taken_count(QueueIndex{0}), 8U);
}

// Goal: the time in which the other disk was idle counts, although no disk waited.
TEST(FairShare, ADiskThatWasIdleForLongHasNoShare) {
  Shared disks{2};
  disks.touch();
  disks.pass_ms(idle_ms);
  disks[0].submit(20);
  EXPECT_EQ(disks[0].in_flight(), 16U);
}

TEST(FairShare, ADiskThatComesBackHasItsShareAgain) {
  Shared disks{2};
  disks.touch();
  disks.pass_ms(idle_ms);
  disks[0].submit(40);
  ASSERT_EQ(disks[0].in_flight(), 16U);
  disks[1].submit(20);
  disks[0].reap(8);
  EXPECT_EQ(disks[0].in_flight(), 8U);
  EXPECT_EQ(disks[1].in_flight(), 8U);
}

// Goal: the disk that waits at its share gets the share of a disk that is removed.
TEST(FairShare, ADiskThatIsRemovedGivesItsShareBackAtOnce) {
  Shared disks{3};
  disks.touch();
  disks[0].submit(20);
  EXPECT_EQ(disks[0].in_flight(), 6U);
  disks[2].remove();
  EXPECT_EQ(disks[0].in_flight(), 8U);
  disks[1].remove();
  EXPECT_EQ(disks[0].in_flight(), 16U);
}

// Goal: a disk is removed while it waits at its share, and while others wait for its tags.
TEST(FairShare, ADiskMayBeRemovedWhileItWaitsAtItsShare) {
  Shared disks{2};
  disks.touch();
  disks[0].submit(20);
  disks[1].submit(20);
  mq::Event gone;
  mq::Control control{
      {[](void* event, mq::Control&) { static_cast<mq::Event*>(event)->set(); }, &gone}};
  disks[0].disk->remove(control);
  disks.runtime.run();
  EXPECT_EQ(disks[0].ended(), 12U) << "the bios that wait end with offline";
  EXPECT_FALSE(gone.is_set());
  disks[0].reap();
  EXPECT_TRUE(gone.is_set());
  disks[0].disk.reset();
  EXPECT_EQ(disks[1].in_flight(), 16U);
}

// Goal: a disk that uses the pool alone has all tags.
TEST(FairShare, ADiskThatIsAloneUsesAllTags) {
  Shared disks{1};
  disks.touch();
  disks[0].submit(20);
  EXPECT_EQ(disks[0].in_flight(), 16U);
  Shared two{2};
  two[0].submit(20);
  EXPECT_EQ(two[0].in_flight(), 16U) << "the other disk has had no I/O";
}

// Goal: what a disk had in flight before the second disk was made counts.
TEST(FairShare, CountsTheIoFromBeforeTheSecondDisk) {
  Shared disks{1};
  disks[0].submit(10);
  disks.disks.push_back(std::make_unique<Member>(disks.runtime, *disks.pool));
  disks[1].submit(20);
  disks.pass_ms(0);  // the first disk was alone, and gives its stash back
  EXPECT_EQ(disks[1].in_flight(), 6U);
  disks[0].submit(20);
  disks[0].reap(2);
  EXPECT_EQ(disks[0].in_flight(), 8U);
  EXPECT_EQ(disks[1].in_flight(), 8U);
  disks[0].reap(1);
  EXPECT_EQ(disks[0].in_flight(), 8U);
}

// Goal: a disk that had I/O in flight when the second disk was made has a share until it is idle.
TEST(FairShare, ADiskWithIoFromBeforeTheSecondDiskIsActive) {
  Shared disks{1};
  disks[0].submit(2);
  disks.disks.push_back(std::make_unique<Member>(disks.runtime, *disks.pool));
  disks[1].submit(20);
  EXPECT_EQ(disks[1].in_flight(), 8U);
  disks[0].reap();
  disks.pass_ms(idle_ms);
  EXPECT_EQ(disks[1].in_flight(), 16U);
}

// Goal: reserved tags are neither counted nor divided.
TEST(FairShare, ReservedTagsAreNoPartOfIt) {
  Shared disks{2, {.depth = 16, .reserved_depth = 4}};
  disks.touch();
  Member& disk = disks[0];
  const auto allocate = [&](bool reserved) {
    return disk.disk->allocate_private(disks.runtime.context(0), mq::Op::driver_in, reserved);
  };
  auto first = allocate(true);
  ASSERT_TRUE(first.has_value());
  disk.submit(20);
  EXPECT_EQ(disk.in_flight(), 6U) << "half of 12";
  EXPECT_FALSE(allocate(false).has_value()) << "a private request is part of the share";
  auto second = allocate(true);
  EXPECT_TRUE(second.has_value());
  first.reset();
  second.reset();
  disks.runtime.run();
  EXPECT_EQ(disk.in_flight(), 6U) << "the end of a reserved request makes no room";
  disk.reap(1);
  EXPECT_EQ(disk.in_flight(), 6U);
}

TEST(FairShare, ANowaitBioEndsWithAgainAtTheShare) {
  Shared disks{2};
  disks.touch();
  disks[0].submit(9, 0, {.nowait = true});
  EXPECT_EQ(disks[0].in_flight(), 8U);
  EXPECT_EQ(disks[0].ends.statuses.back(), Status::again);
  EXPECT_FALSE(disks.pool->line(QueueIndex{0}).is_occupied());
  disks[0].reap(1);
  disks[0].submit(1, 0, {.nowait = true});
  EXPECT_EQ(disks[0].in_flight(), 8U);
}

// Goal: several contexts of a disk have one share together, and wait for it in turn.
TEST(FairShare, TheContextsOfADiskShareItInTurn) {
  Shared disks{2, {.depth = 16}, 3};
  disks.touch();
  Member& disk = disks[0];
  disk.submit(20, 0);
  disk.submit(1, 1);
  disk.submit(1, 2);
  disks.runtime.run();
  EXPECT_EQ(disk.in_flight(), 8U);
  for (const std::size_t waiting : {2U, 1U}) {
    disk.reap(1);
    EXPECT_EQ(disk.in_flight(), 8U);
    const mq::Counters now = disk.disk->counters();
    EXPECT_EQ(now.in_flight(), 8U) << waiting;
  }
  disk.reap(6);
  disk.reap(2);
  EXPECT_TRUE(disk.bios[21]->status() == Status::ok && disk.bios[22]->status() == Status::ok);
  EXPECT_EQ(disk.ended(), 10U) << "before the other bios of the first context";
  EXPECT_EQ(disks[1].in_flight(), 0U);
  disks[1].submit(8, 1);
  EXPECT_EQ(disks[1].in_flight(), 8U) << "a line at the share is none for the other disk";
}

// Goal: a lane at its share that cannot issue any more leaves the line, so that another context of
// the disk has the tag.
TEST(FairShare, ALaneThatIsStoppedGivesUpItsPlaceAtTheShare) {
  Shared disks{2, {.queue_count = 1, .depth = 16}, 2, {.normal_queues = 2}};
  disks.touch();
  Member& disk = disks[0];
  disk.submit(8, 0);
  disk.submit(1, 1);
  disk.submit(1, 0);
  disk.disk->hw_queue(QueueIndex{1}).stop();
  disks.runtime.run();
  disk.reap(1);
  EXPECT_EQ(disk.in_flight(), 8U) << "the tag goes to the context that can use it";
  disk.disk->hw_queue(QueueIndex{1}).start();
  disks.runtime.run();
  disk.reap(1);
  EXPECT_EQ(disk.in_flight(), 8U);
}

// Goal: each queue's tags are divided for themselves.
TEST(FairShare, IsCountedForEachQueueOfThePool) {
  Shared disks{2, {.queue_count = 2, .depth = 16}, 2, {.normal_queues = 2}};
  disks.touch();  // on queue 0
  disks[0].submit(20, 0);
  disks[0].submit(20, 1);
  EXPECT_EQ(disks[0].in_flight(), 8U + 16U) << "the other disk is not active on queue 1";
}

// Goal: a requeued request that moves to another queue frees its place in the old queue's share.
TEST(FairShare, ARequestThatMovesToAnotherQueueMovesToItsShare) {
  Shared disks{2, {.queue_count = 2, .depth = 16}, 2, {.normal_queues = 2}};
  Member& disk = disks[0];
  for (std::size_t i = 0; i != 2; ++i) {
    disks[i].submit(1, 0);
    disks[i].submit(1, 1);
    disks[i].reap();
  }
  disk.submit(8, 1);
  const auto change_to = [&](std::uint32_t count) {
    mq::Event done;
    mq::Control control{
        {[](void* event, mq::Control&) { static_cast<mq::Event*>(event)->set(); }, &done}};
    disk.disk->set_queue_count(control, count);
    for (auto& [hw, id] : std::exchange(disk.driver.published, {})) {
      if (auto claim = hw->claim(id)) std::move(*claim).requeue();
    }
    ASSERT_TRUE(disks.runtime.wait_for(done));
    disks.runtime.run();
  };
  change_to(1);
  EXPECT_EQ(disk.in_flight(), 8U);
  disk.submit(1, 0);
  EXPECT_EQ(disk.in_flight(), 8U) << "the share of queue 0 is in use";
  disk.reap();
  EXPECT_EQ(disk.in_flight(), 1U);
  change_to(2);
  disk.submit(20, 1);
  EXPECT_EQ(disk.in_flight(), 9U) << "nothing of queue 1 is counted any more";
}

// Goal: bios with nowait that are collected by a plug and get no tag leave no place in the line.
TEST(FairShare, PluggedNowaitBiosLeaveTheLine) {
  Shared disks{2, {.depth = 1}, 2};
  Member &first = disks[0], &second = disks[1];
  first.submit(1);
  {
    const mq::Disk<fake::Driver>::Plug plug{*first.disk, disks.runtime.context(1)};
    first.submit(1, 1, {.nowait = true});
  }
  EXPECT_EQ(first.ends.statuses, std::vector{Status::again});
  EXPECT_FALSE(disks.pool->line(QueueIndex{0}).is_occupied());
  second.submit(1);
  first.reap();
  EXPECT_EQ(second.in_flight(), 1U);
}

/// Two disks with two contexts and queues, of which the first is alone when it begins a control
/// operation; then the second comes and waits for the tags of queue 1 that the first has stashed.
/// The first learns of the second one when it has left the tags' line.
template <class Begin>
void expect_stash_is_given_back(bool removes, Begin begin) {
  fake::Clock clock;
  mq::LoopRuntime first_runtime{2, clock.hooks()}, second_runtime{2, clock.hooks()};
  auto pool = *Pool::create({.queue_count = 2, .depth = 64, .layout = blkown::CookieLayout::nbd()});
  Member first{first_runtime, *pool, {.normal_queues = 2}};
  first.submit(64, 1);
  first.reap();
  ASSERT_EQ(first.ended(), 64U);
  mq::Event done;
  mq::Control control{
      {[](void* event, mq::Control&) { static_cast<mq::Event*>(event)->set(); }, &done}};
  begin(*first.disk, control);
  Member second{second_runtime, *pool, {.normal_queues = 2}};
  second.submit(64, 1);
  second_runtime.run();
  EXPECT_LT(second.in_flight(), 64U) << "some tags are stashed";
  ASSERT_TRUE(first_runtime.wait_for(done));
  second_runtime.run();
  EXPECT_EQ(second.in_flight(), 64U);
  if (removes) first.disk.reset();
}
TEST(FairShare, ADiskThatIsRemovedWakesALaneThatWaitsForItsStash) {
  expect_stash_is_given_back(
      true, [](Member::Disk& disk, mq::Control& control) { disk.remove(control); });
}
TEST(FairShare, AQueueThatADiskGivesUpWakesALaneThatWaitsForItsStash) {
  expect_stash_is_given_back(
      false, [](Member::Disk& disk, mq::Control& control) { disk.set_queue_count(control, 1); });
}

// Goal: while other disks use the pool, the end of the last I/O is noted, and no other end.
TEST(FairShare, ADiskIsIdleFromTheEndOfItsLastIo) {
  fake::Clock clock;
  mq::LoopRuntime runtime{1, clock.hooks()};
  const mq::Context& context = runtime.context(0);
  mq::detail::TagUse use;
  const auto put = [&](bool has_clock) {
    clock.pass_ms(1);
    use.put(context, has_clock);
    return use.emptied_ns();
  };
  for (int i = 0; i != 3; ++i) use.take();
  const std::uint64_t before = use.emptied_ns();
  EXPECT_EQ(put(true), before) << "one of three";
  EXPECT_EQ(put(true), before);
  EXPECT_EQ(put(true), clock.now_ns);
  use.take();
  const std::uint64_t noted = use.emptied_ns();
  EXPECT_EQ(put(false), noted) << "the disk is alone";
}

/// A line for 16 tags, all free, and two active disks, of which each may use 8. The test counts the
/// tags that the disks use.
struct DividedLine {
  explicit DividedLine(std::uint64_t idle_ns = blkown::detail::never_ns)
      : a{1, 1, idle_ns}, b{1, 1, idle_ns} {
    for (auto* shares : {&a, &b}) line.add(shares->of(queue), 16);
    for (auto* waiter : {&a_first, &a_second}) waiter->share = &a.of(queue);
    b_first.share = &b.of(queue);
    for (auto* waiter : {&a_first, &a_second, &b_first}) line.enter(*waiter);
    line.activate(a.of(queue), 0);
  }
  ~DividedLine() {
    runtime.run();
    for (auto* waiter : {&a_first, &a_second, &b_first}) static_cast<void>(line.leave(*waiter));
    for (auto* waiter : {&a_first, &a_second, &b_first}) line.exit(*waiter);
    runtime.run();
    for (auto* shares : {&a, &b}) line.remove(pool->tags(), queue, shares->of(queue));
  }
  [[nodiscard]] bool join(mq::detail::TagWaiter& waiter, bool had_turn = false) {
    return line.join(pool->tags(), queue, waiter, had_turn);
  }
  void use(mq::detail::TagShares& shares, int count) {
    for (; count != 0; --count) shares.use(0, queue).take();
  }

  const QueueIndex queue{0};
  mq::LoopRuntime runtime;
  std::unique_ptr<Pool> pool =
      *Pool::create({.queue_count = 1, .depth = 16, .layout = blkown::CookieLayout::nbd()});
  mq::detail::TagLine<mq::Request<fake::Driver>>& line = pool->line(queue);
  mq::detail::TagShares a, b;
  mq::Work ignored{[](void*, mq::Work&) {}, nullptr};
  mq::detail::TagWaiter a_first{runtime.context(0), ignored, ignored},
      a_second{runtime.context(0), ignored, ignored}, b_first{runtime.context(0), ignored, ignored};
};

// Goal: a disk that is one tag below its share has one lane admitted, and no more.
TEST(FairShare, OnePlaceInTheShareAdmitsOneLane) {
  DividedLine lanes;
  lanes.line.activate(lanes.b.of(lanes.queue), 0);
  ASSERT_EQ(lanes.line.limit(), 8U);
  lanes.use(lanes.a, 8);
  EXPECT_FALSE(lanes.join(lanes.a_first));
  EXPECT_FALSE(lanes.join(lanes.a_second));
  EXPECT_FALSE(lanes.line.is_occupied()) << "nobody waits for a free tag";
  lanes.a.use(0, lanes.queue).put(lanes.runtime.context(0), true);
  lanes.line.wake_first(lanes.pool->tags(), lanes.queue);
  EXPECT_TRUE(lanes.a.of(lanes.queue).has_line()) << "the second lane waits";
  EXPECT_TRUE(lanes.line.take_turn(lanes.a_first));
  EXPECT_FALSE(lanes.line.take_turn(lanes.a_second));
}

// Goal: a lane that waits for a tag while its disk's share shrinks gets no turn that it cannot use.
TEST(FairShare, ALaneWhoseDiskIsAboveItsShareGetsNoTurn) {
  DividedLine lanes;
  lanes.use(lanes.a, 12);
  EXPECT_TRUE(lanes.join(lanes.a_first)) << "the disk is alone";
  lanes.line.activate(lanes.b.of(lanes.queue), 0);
  EXPECT_FALSE(lanes.join(lanes.b_first)) << "behind the other disk";
  EXPECT_FALSE(lanes.line.take_turn(lanes.a_first));
  EXPECT_TRUE(lanes.line.take_turn(lanes.b_first));
}

// Goal: a turn that is open counts as a tag of the share.
TEST(FairShare, AnOpenTurnIsPartOfTheShare) {
  DividedLine lanes;
  lanes.use(lanes.a, 7);
  EXPECT_TRUE(lanes.join(lanes.a_first)) << "the disk is alone";
  lanes.line.wake_first(lanes.pool->tags(), lanes.queue);
  EXPECT_FALSE(lanes.join(lanes.a_second));
  lanes.line.activate(lanes.b.of(lanes.queue), 0);
  lanes.line.wake_first(lanes.pool->tags(), lanes.queue);
  EXPECT_TRUE(lanes.line.take_turn(lanes.a_first));
  EXPECT_FALSE(lanes.line.take_turn(lanes.a_second));
}

// Goal: the line is closed when its only lane goes back to its share: other disks need no turn.
TEST(FairShare, TheOnlyLaneInLineMayGoBackToItsShare) {
  DividedLine lanes;
  lanes.use(lanes.a, 12);
  EXPECT_TRUE(lanes.join(lanes.a_first)) << "the disk is alone";
  lanes.line.activate(lanes.b.of(lanes.queue), 0);
  ASSERT_TRUE(lanes.line.is_occupied());
  lanes.line.wake_first(lanes.pool->tags(), lanes.queue);
  EXPECT_TRUE(lanes.a.of(lanes.queue).has_line());
  EXPECT_FALSE(lanes.line.is_occupied());
}

// Goal: the place in the share of a lane that leaves the line goes to the next lane of its disk.
TEST(FairShare, ALaneThatLeavesTheLineGivesUpItsPlaceInTheShare) {
  DividedLine lanes;
  lanes.line.activate(lanes.b.of(lanes.queue), 0);
  lanes.use(lanes.a, 7);
  EXPECT_TRUE(lanes.join(lanes.a_first));
  EXPECT_FALSE(lanes.line.leave(lanes.a_first)) << "no other lane waits";
  EXPECT_TRUE(lanes.join(lanes.a_first));
  EXPECT_FALSE(lanes.join(lanes.a_second));
  EXPECT_TRUE(lanes.line.leave(lanes.a_first)) << "another lane may use its place";
  lanes.line.wake_first(lanes.pool->tags(), lanes.queue);
  EXPECT_TRUE(lanes.line.take_turn(lanes.a_second));
}

// Goal: whoever finds out that a disk has become idle gives the lane that waits its turn.
TEST(FairShare, TheShareOfADiskThatIsFoundIdleAdmitsTheLaneThatWaits) {
  constexpr std::uint64_t hour_ns = 3'600'000'000'000;
  DividedLine lanes{hour_ns};
  const std::uint64_t now_ns = lanes.runtime.context(0).now_ns();
  lanes.line.activate(lanes.b.of(lanes.queue), now_ns);
  lanes.use(lanes.a, 8);
  EXPECT_FALSE(lanes.join(lanes.a_first));
  ASSERT_EQ(lanes.line.limit(), 8U);
  lanes.line.expire(lanes.pool->tags(), lanes.queue, now_ns + 2 * hour_ns);
  EXPECT_TRUE(lanes.line.take_turn(lanes.a_first));
}

// Goal: a lane whose disk has reached its share before the lane used its turn passes the turn on.
TEST(FairShare, ATurnThatTheShareDoesNotAllowIsPassedOn) {
  DividedLine lanes;
  lanes.line.activate(lanes.b.of(lanes.queue), 0);
  lanes.use(lanes.a, 7);
  EXPECT_TRUE(lanes.join(lanes.a_first));
  EXPECT_FALSE(lanes.join(lanes.b_first));
  ASSERT_TRUE(lanes.line.take_turn(lanes.a_first));
  lanes.use(lanes.a, 1);
  EXPECT_FALSE(lanes.join(lanes.a_first, true));
  EXPECT_TRUE(lanes.line.take_turn(lanes.b_first));
}

}  // namespace
