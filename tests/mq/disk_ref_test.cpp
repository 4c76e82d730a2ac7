// SPDX-License-Identifier: BSL-1.0
//
// Tests of DiskRef and of the data of a TagPool: what a driver keeps beside its disks.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <blkown/mq/thread_runtime.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "fake_driver.hpp"

namespace {

namespace mq = blkown::mq;
using blkown::Status;
using Ref = mq::DiskRef<fake::Driver>;

TEST(DiskRef, GivesTheDiskUntilItIsRemoved) {
  fake::Bench bench;
  const Ref ref = bench.disk->ref();
  const Ref copy = ref;
  {
    const auto access = copy.try_access();
    ASSERT_TRUE(access);
    EXPECT_EQ(&*access, bench.disk.get());
    EXPECT_EQ(access->capacity_sectors(), 1024U);
  }
  EXPECT_TRUE(bench.run([&](mq::Control& control) { bench.disk->remove(control); }));
  EXPECT_FALSE(ref.try_access());
  bench.disk.reset();
  EXPECT_FALSE(ref.try_access()) << "the disk is destroyed";
  EXPECT_FALSE(Ref{}.try_access());
}

// Goal: who uses the disk through a reference is not surprised by the end of a removal.
TEST(DiskRef, ARemovalEndsAfterTheAccessesThatItFinds) {
  fake::Bench bench;
  const Ref ref = bench.disk->ref();
  std::optional access{ref.try_access()};
  std::optional moved{*std::move(access)};
  access.reset();
  mq::Control removal{{[](void*, mq::Control&) {}, nullptr}};
  bench.disk->remove(removal);
  bench.runtime.run_some(1000);
  EXPECT_TRUE(removal.is_running());
  EXPECT_FALSE(ref.try_access()) << "the disk has no request";
  EXPECT_EQ((*moved)->counters().in_flight(), 0U);
  moved.reset();
  bench.runtime.run();
  EXPECT_FALSE(removal.is_running());
  bench.disk.reset();
}

// Goal: a device's thread that completes requests through a reference can do so while the removal
// waits for them.
TEST(DiskRef, GivesTheDiskWhileTheRemovalWaitsForRequests) {
  fake::Bench bench;
  bench.driver.mode = fake::Driver::Mode::publish;
  const Ref ref = bench.disk->ref();
  std::vector<std::byte> memory(512);
  mq::Bio bio = mq::Bio::read(0, fake::whole(memory), {});
  bench.disk->submit(bench.context(), bio);
  mq::Control removal{{[](void*, mq::Control&) {}, nullptr}};
  bench.disk->remove(removal);
  bench.runtime.run_some(1000);
  ASSERT_TRUE(removal.is_running());
  {
    const auto access = ref.try_access();
    ASSERT_TRUE(access);
    bench.driver.reap(access->queue_data());
  }
  bench.runtime.run();
  EXPECT_EQ(bio.status(), Status::ok);
  EXPECT_FALSE(removal.is_running());
  EXPECT_FALSE(ref.try_access());
  bench.disk.reset();
}

struct Keeper : fake::Driver {
  Status init_hctx(Hw& hw, QueueData&) override {
    ref = hw.disk().ref();
    hw.disk().kick_requeued();
    hw.stop();
    hw.start();
    const auto access = ref.try_access();
    if (access) access->kick_requeued();
    has_access = has_access || access;
    return hw.index().value == refused_queue ? Status::io_error : Status::ok;
  }
  Ref ref;
  bool has_access = false;  // in a call of init_hctx
};

TEST(DiskRef, ADriverTakesItWhenItsFirstQueueIsPutIntoUse) {
  fake::Bench<Keeper> bench;
  ASSERT_NE(bench.disk, nullptr);
  EXPECT_FALSE(bench.driver.has_access) << "the disk is not made yet";
  EXPECT_EQ(&*bench.driver.ref.try_access(), bench.disk.get());
  bench.remove();
  EXPECT_FALSE(bench.driver.ref.try_access());
}

// Goal: nothing of a disk that could not be made is queued on a context.
TEST(DiskRef, AnInitHctxMayUseTheDiskBeforeAnotherIsRefused) {
  Keeper driver;
  driver.refused_queue = 1;
  mq::LoopRuntime runtime;
  const auto made =
      Keeper::Disk::create({.capacity_sectors = 64, .normal_queues = 2}, driver, runtime);
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().reason, mq::DiskReason::init_failed);
  EXPECT_FALSE(driver.ref.try_access());
}

/// Starts a device's thread with the first queue.
struct Threaded : fake::Driver {
  Status init_hctx(Hw& hw, QueueData&) override {
    hw.stop();
    thread = std::thread{[&hw, ref = hw.disk().ref()] {
      hw.start();
      while (true) {
        const auto access = ref.try_access();
        if (!access) continue;
        access->kick_requeued();
        EXPECT_EQ(access->hw_queue_count(), 1U);
        EXPECT_LE(access->counters().in_flight(), 1U) << "the test's read";
        return;
      }
    }};
    return Status::ok;
  }
  std::thread thread;
};

// Goal: a device's thread that is started with the first queue has the whole disk or none of it.
TEST(DiskRef, AThreadMayUseItWhileTheDiskIsMade) {
  for (int round = 0; round != 50; ++round) {
    Threaded driver;
    mq::ThreadRuntime runtime{2};
    const auto disk = *Threaded::Disk::create({.capacity_sectors = 64}, driver, runtime);
    std::vector<std::byte> memory(512);
    EXPECT_EQ(mq::read(runtime, *disk, 0, memory), Status::ok) << "the queue was started";
    driver.thread.join();
    EXPECT_EQ(mq::remove(runtime, *disk), Status::ok);
  }
}

// Goal: a reference to a disk that could not be made gives none.
TEST(DiskRef, OfADiskThatCouldNotBeMadeGivesNone) {
  struct Refuser : Keeper {
    Status init_hctx(Hw& hw, QueueData&) override {
      ref = hw.disk().ref();
      return Status::io_error;
    }
  };
  fake::Bench<Refuser> bench;
  EXPECT_EQ(bench.disk, nullptr);
  EXPECT_FALSE(bench.driver.ref.try_access());
}

// Goal: threads that use a disk through a reference at any moment never see a destroyed one.
TEST(DiskRef, ThreadsMayUseItDuringTheRemoval) {
  for (int round = 0; round != 20; ++round) {
    fake::Driver driver;
    mq::ThreadRuntime runtime{2};
    auto disk =
        *fake::Driver::Disk::create({.name = "ref", .capacity_sectors = 64}, driver, runtime);
    std::atomic<int> began{0};
    std::array<std::thread, 2> users;
    for (std::thread& user : users) {
      user = std::thread{[&began, ref = disk->ref()] {
        bool is_first = true;
        while (const auto access = ref.try_access()) {
          access->kick_requeued();
          EXPECT_EQ(access->capacity_sectors(), 64U);
          if (std::exchange(is_first, false)) began.fetch_add(1);
        }
        if (is_first) began.fetch_add(1);
      }};
    }
    while (began.load() != 2) std::this_thread::yield();
    EXPECT_EQ(mq::remove(runtime, *disk), Status::ok);
    disk.reset();
    for (std::thread& user : users) user.join();
  }
}

/// A driver of two disks of one device. The device's data is in the pool.
struct Namespaces {
  struct RequestData {};
  struct HwData {};
  struct QueueData {
    std::uint32_t id = 0;
  };
  struct PoolData {
    std::unique_ptr<std::vector<std::uint32_t>> commands;  // the ids of the disks, in order
    bool* is_gone = nullptr;

    PoolData() = default;
    PoolData(PoolData&& other) noexcept
        : commands{std::move(other.commands)}, is_gone{std::exchange(other.is_gone, nullptr)} {}
    PoolData& operator=(PoolData&&) = delete;
    ~PoolData() {
      if (is_gone != nullptr) *is_gone = true;
    }
  };
  using Disk = mq::Disk<Namespaces>;
  mq::Dispatch<Namespaces> queue_rq(mq::HwQueue<Namespaces>& hw, QueueData& disk,
                                    blkown::Idle<mq::Request<Namespaces>> idle, bool) {
    hw.pool().data().commands->push_back(disk.id);
    std::move(idle).start().end_ok();
    return mq::Dispatch<Namespaces>::accepted();
  }
};

TEST(PoolData, IsSharedByTheDisksOfThePoolAndGoesWithIt) {
  bool is_gone = false;
  {
    Namespaces driver;
    mq::LoopRuntime runtime;
    Namespaces::PoolData data;
    data.commands = std::make_unique<std::vector<std::uint32_t>>();
    data.is_gone = &is_gone;
    const auto pool = *mq::TagPool<Namespaces>::create(
        {.depth = 8, .layout = blkown::CookieLayout::nbd()}, std::move(data));
    std::vector<std::byte> memory(512);
    for (const std::uint32_t id : {1U, 2U}) {
      const auto disk =
          *Namespaces::Disk::create({.capacity_sectors = 8}, driver, runtime, {id}, pool.get());
      EXPECT_EQ(&disk->pool().data(), &pool->data());
      mq::Bio bio = mq::Bio::read(0, fake::whole(memory), {});
      disk->submit(runtime.context(0), bio);
      EXPECT_EQ(mq::remove(runtime, *disk), Status::ok);
    }
    EXPECT_EQ(*pool->data().commands, (std::vector<std::uint32_t>{1, 2}));
    EXPECT_FALSE(is_gone);
  }
  EXPECT_TRUE(is_gone);
}

// Goal: a disk without a pool of others has data of its own pool, made without arguments.
TEST(PoolData, OfADisksOwnPoolIsMadeWithoutArguments) {
  Namespaces driver;
  mq::LoopRuntime runtime;
  const auto disk = *Namespaces::Disk::create({.capacity_sectors = 8}, driver, runtime);
  EXPECT_EQ(disk->pool().data().commands, nullptr);
  EXPECT_EQ(mq::remove(runtime, *disk), Status::ok);
}

}  // namespace
