// SPDX-License-Identifier: BSL-1.0
//
// Goal: an I/O allocates nothing, whether it ends at once or later, is split, waits for a tag, is
// requeued, or arms a timer; nor does an I/O of a coroutine.
// Method: the program replaces the global allocation functions and counts their calls.

// clang-format off: the atomic provider of own_lines_test.cpp must be included first.
#include "support/line_atomic.hpp"
// clang-format on

#include <gtest/gtest.h>

#include <blkown/mq/coroutine.hpp>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <cstddef>
#include <span>
#include <vector>

#include "support/counted_allocation.hpp"

namespace {

namespace mq = blkown::mq;
using blkown::Status;

/// Ends every third request at once, requeues or rejects some, and publishes the others into a ring
/// of fixed size.
struct Driver {
  struct RequestData {};
  struct HwData {};
  struct QueueData {};
  using Rq = mq::Request<Driver>;
  mq::Dispatch<Driver> queue_rq(mq::HwQueue<Driver>& hw, QueueData&, blkown::Idle<Rq> idle, bool) {
    ++calls;
    if (calls % 17 == 0) {
      return mq::Dispatch<Driver>::rejected(std::move(idle), Status::device_resource);
    }
    auto owned = std::move(idle).start();
    if (calls % 3 == 0) {
      std::move(owned).end_ok();
    } else if (calls % 19 == 0) {
      std::move(owned).requeue();
    } else {
      seen = &hw;
      std::move(owned).publish([&](const blkown::Cookie& cookie) { ring[count++] = cookie.value; });
    }
    return mq::Dispatch<Driver>::accepted();
  }
  mq::TimeoutAction timeout(mq::HwQueue<Driver>&, const blkown::ARef<Rq>&, const blkown::Cookie&) {
    return mq::TimeoutAction::rearm;
  }
  void reap() {
    while (count != 0) std::move(*seen->claim(ring[--count])).end_ok();
  }
  unsigned calls = 0;
  std::size_t count = 0;
  std::uint64_t ring[64] = {};
  mq::HwQueue<Driver>* seen = nullptr;
};

TEST(Allocation, NothingIsAllocatedForAnIo) {
  std::uint64_t now_ns = 1'000'000'000;
  mq::LoopRuntime runtime{1,
                          {.argument = &now_ns,
                           .now_ns = [](void* its) { return *static_cast<std::uint64_t*>(its); },
                           .wake = nullptr}};
  Driver driver;
  auto disk = *mq::Disk<Driver>::create(
      {.capacity_sectors = 1024, .limits = {.max_sectors = 8}, .depth = 8}, driver, runtime);
  std::vector<std::byte> memory(32 * 512);
  static std::size_t ended = 0;
  ended = 0;
  const auto on_end = +[](void*, mq::Bio&) { ++ended; };
  const blkown::Segment whole{memory.data(), memory.size()};
  mq::Bio split = mq::Bio::read(0, whole, {on_end, nullptr});
  mq::Bio one = mq::Bio::write(0, whole.part(0, 4096), {on_end, nullptr});
  mq::Bio other = mq::Bio::read(8, whole.part(0, 512), {on_end, nullptr});
  mq::Bio refused = mq::Bio::read(2000, whole, {on_end, nullptr});
  const std::uint64_t before = allocations;
  for (int round = 0; round != 2000; ++round) {
    for (mq::Bio* bio : {&split, &one, &other, &refused}) disk->submit(runtime.context(0), *bio);
    for (int i = 0;
         i != 100 && (split.is_in_flight() || one.is_in_flight() || other.is_in_flight()); ++i) {
      driver.reap();
      now_ns += 1'000'000;  // a rejected request is issued again
      runtime.run();
      if (i == 90) FAIL() << "round " << round << ": bios do not end";
    }
  }
  EXPECT_EQ(allocations, before);
  EXPECT_EQ(ended, 8000U);
  ASSERT_EQ(mq::remove(runtime, *disk), Status::ok);
}

mq::Task<int> read_a_lot(mq::AsyncDisk<Driver> disk, std::vector<std::byte>& memory, int rounds) {
  int good = 0;
  for (int i = 0; i != rounds; ++i) {
    const std::span<std::byte> all{memory};
    const auto [first, second] = co_await mq::when_all(disk.read(0, all), disk.read(8, all));
    good += first == Status::ok && second == Status::ok ? 1 : 0;
  }
  co_return good;
}

TEST(Allocation, ACoroutineAllocatesItsFrameAndNothingForAnIo) {
  std::uint64_t now_ns = 1'000'000'000;
  mq::LoopRuntime runtime{1,
                          {.argument = &now_ns,
                           .now_ns = [](void* its) { return *static_cast<std::uint64_t*>(its); },
                           .wake = nullptr}};
  Driver driver;
  auto disk = *mq::Disk<Driver>::create({.capacity_sectors = 64, .depth = 8}, driver, runtime);
  std::vector<std::byte> memory(512);
  const std::uint64_t before = allocations;
  mq::Task<int> task = read_a_lot(mq::AsyncDisk{*disk}, memory, 100);
  EXPECT_EQ(allocations, before + 1);
  bool is_done = false;
  task.post(runtime.context(0),
            {[](void* its, mq::Task<int>&) { *static_cast<bool*>(its) = true; }, &is_done});
  for (int i = 0; i != 100'000 && !is_done; ++i) {
    runtime.run();
    driver.reap();
    now_ns += 1'000'000;  // a rejected request is issued again
  }
  EXPECT_EQ(allocations, before + 1);
  ASSERT_TRUE(is_done);
  EXPECT_EQ(task.take_result(), 100);
  ASSERT_EQ(mq::remove(runtime, *disk), Status::ok);
}

// Goal: no memory for the frame gives an empty Task.
TEST(Allocation, ACoroutineWithoutMemoryIsAnEmptyTask) {
  mq::LoopRuntime runtime;
  Driver driver;
  auto disk = *mq::Disk<Driver>::create({.capacity_sectors = 64, .depth = 8}, driver, runtime);
  std::vector<std::byte> memory(512);
  is_exhausted = true;
  const mq::Task<int> task = read_a_lot(mq::AsyncDisk{*disk}, memory, 1);
  is_exhausted = false;
  EXPECT_FALSE(task);
  ASSERT_EQ(mq::remove(runtime, *disk), Status::ok);
}

// Goal: whichever allocation of a pool fails, the error says so, with the size of what was too
// large.
TEST(Allocation, APoolWithoutMemoryIsAnError) {
  unsigned of_pool = 0;
  for (std::uint64_t left = 0;; ++left) {
    ASSERT_LT(left, 100U);
    allocations_left = left;
    const auto pool =
        mq::TagPool<Driver>::create({.depth = 8, .layout = blkown::CookieLayout::nbd()});
    allocations_left = ~std::uint64_t{0};
    if (pool.has_value()) break;
    EXPECT_EQ(pool.error().reason, blkown::TagSetReason::out_of_memory);
    of_pool += pool.error().limit == sizeof(mq::TagPool<Driver>) ? 1 : 0;
  }
  EXPECT_EQ(of_pool, 4U) << "the pool, its lines, the requests' rare states and its watches";
}

TEST(Allocation, ADiskWithoutMemoryIsAnError) {
  mq::LoopRuntime runtime;
  Driver driver;
  is_exhausted = true;
  const auto disk = mq::Disk<Driver>::create({.capacity_sectors = 64}, driver, runtime);
  is_exhausted = false;
  ASSERT_FALSE(disk.has_value());
  EXPECT_EQ(disk.error().reason, mq::DiskReason::out_of_memory);
  EXPECT_EQ(disk.error().limit, sizeof(mq::Disk<Driver>));
}

}  // namespace
