// SPDX-License-Identifier: BSL-1.0
//
// Tests of private requests: requests without a bio, reserved tags, their own timeouts.

#include <gtest/gtest.h>

#include <vector>

#include "mq/fake_driver.hpp"

namespace {

namespace mq = blkown::mq;
using blkown::Status;
using fake::Bench;
using fake::Ends;
using fake::PrivateEnd;
using fake::whole;
using Mode = fake::Driver::Mode;

TEST(PrivateRequest, GoesThroughQueueRqAndComesBack) {
  Bench bench;
  bench.driver.mode = Mode::publish;
  auto idle = bench.disk->allocate_private(bench.context(), mq::Op::driver_out, false);
  ASSERT_TRUE(idle.has_value());
  EXPECT_TRUE(idle->data().is_private());
  EXPECT_EQ(idle->data().op(), mq::Op::driver_out);
  idle->data().driver_data.number = 42;
  PrivateEnd end;
  bench.disk->execute_private(bench.context(), *std::move(idle), {&PrivateEnd::on_end, &end});
  ASSERT_EQ(bench.driver.seen.size(), 1U);
  EXPECT_TRUE(bench.driver.seen[0].is_last) << "no other request follows";
  bench.driver.reap(bench.data(), 1, Status::aborted);
  bench.runtime.run();
  EXPECT_EQ(end.count, 1);
  EXPECT_EQ(end.status, Status::aborted);
  EXPECT_EQ(end.number, 42) << "the driver's data can be read";
  EXPECT_EQ(bench.disk->counters().in_flight(), 0U);
}

// Goal: an abort gets a reserved tag while bios use all other tags.
TEST(PrivateRequest, ReservedTagsAreFreeWhenAllOthersAreTaken) {
  Bench bench{{.capacity_sectors = 1024, .depth = 3, .reserved_depth = 1}};
  bench.driver.mode = Mode::publish;
  Ends ends;
  std::vector<std::byte> memory(512);
  std::vector<std::unique_ptr<mq::Bio>> bios;
  for (int i = 0; i != 4; ++i) {
    bios.emplace_back(new mq::Bio(mq::Bio::read(0, whole(memory), {&Ends::on_end, &ends})));
    bench.disk->submit(bench.context(), *bios.back());
  }
  EXPECT_EQ(bench.driver.calls, 2) << "bios do not get the reserved tag";
  EXPECT_FALSE(bench.disk->allocate_private(bench.context(), mq::Op::driver_in, false).has_value());
  PrivateEnd end;
  for (int round = 1; round != 4; ++round) {
    auto idle = bench.disk->allocate_private(bench.context(), mq::Op::driver_in, true);
    ASSERT_TRUE(idle.has_value());
    EXPECT_EQ(idle->tag(), blkown::Tag{0});
    EXPECT_FALSE(
        bench.disk->allocate_private(bench.context(), mq::Op::driver_in, true).has_value());
    bench.driver.next = {Mode::end};
    bench.disk->execute_private(bench.context(), *std::move(idle), {&PrivateEnd::on_end, &end});
    EXPECT_EQ(end.count, round);
  }
  while (ends.count != 4) {
    bench.driver.reap(bench.data());
    bench.runtime.run();
  }
}

TEST(PrivateRequest, WaitsForABusyDriverLikeAnyOther) {
  Bench bench{{.capacity_sectors = 1024, .busy_delay_ms = 2}};
  bench.driver.next = {Mode::busy};
  auto idle = bench.disk->allocate_private(bench.context(), mq::Op::driver_in, false);
  PrivateEnd end;
  bench.disk->execute_private(bench.context(), *std::move(idle), {&PrivateEnd::on_end, &end});
  EXPECT_EQ(end.count, 0);
  auto second = bench.disk->allocate_private(bench.context(), mq::Op::driver_in, false);
  bench.disk->execute_private(bench.context(), *std::move(second), {&PrivateEnd::on_end, &end});
  EXPECT_EQ(bench.driver.calls, 1) << "the driver is still busy";
  bench.clock.pass_ms(2);
  bench.runtime.run();
  EXPECT_EQ(end.count, 2);
}

// Goal: a private request that fails before it is executed does not call the callback of the tag's
// previous private request.
TEST(PrivateRequest, AFailedOneDoesNotCallThePreviousCallback) {
  Bench bench{{.capacity_sectors = 1024, .depth = 1}};
  PrivateEnd end;
  auto first = bench.disk->allocate_private(bench.context(), mq::Op::driver_in, false);
  bench.disk->execute_private(bench.context(), *std::move(first), {&PrivateEnd::on_end, &end});
  EXPECT_EQ(end.count, 1);
  auto second = bench.disk->allocate_private(bench.context(), mq::Op::driver_in, false);
  ASSERT_TRUE(second.has_value());
  std::move(*second).fail(Status::aborted);
  bench.runtime.run();
  EXPECT_EQ(end.count, 1);
  EXPECT_EQ(bench.disk->counters().in_flight(), 0U);
}

// Goal: no private request starts on a frozen disk, because the disk's queues may change.
TEST(PrivateRequest, IsNotAllocatedWhileTheDiskIsFrozen) {
  Bench bench;
  EXPECT_TRUE(bench.freeze());
  EXPECT_FALSE(bench.disk->allocate_private(bench.context(), mq::Op::driver_in, true).has_value());
  EXPECT_FALSE(bench.disk->allocate_private(bench.context(), mq::Op::driver_in, false).has_value());
  EXPECT_TRUE(bench.thaw());
  auto idle = bench.disk->allocate_private(bench.context(), mq::Op::driver_in, false);
  ASSERT_TRUE(idle.has_value());
  bench.disk->execute_private(bench.context(), *std::move(idle), {});
}

// Goal: a freeze also holds back a private request that was allocated before it, does not wait for
// it, and the thaw issues it. On the way the queues may change, as a freeze is for.
TEST(PrivateRequest, AllocatedBeforeAFreezeIsIssuedAfterTheThaw) {
  for (const bool reserved : {false, true}) {
    SCOPED_TRACE(reserved);
    Bench bench{{.capacity_sectors = 1024,
                 .normal_queues = 2,
                 .max_normal_queues = 2,
                 .depth = 4,
                 .reserved_depth = 1},
                2};
    auto idle = bench.disk->allocate_private(bench.context(1), mq::Op::driver_in, reserved);
    ASSERT_TRUE(idle.has_value());
    EXPECT_EQ(idle->data().hw_queue().index(), blkown::QueueIndex{1});
    mq::Control freeze{{[](void*, mq::Control&) {}, nullptr}};
    bench.disk->freeze(freeze);
    bench.runtime.run();
    EXPECT_TRUE(freeze.is_running()) << "the submitter may still use the request";
    idle->data().driver_data.number = 42;
    PrivateEnd end;
    bench.disk->execute_private(bench.context(1), *std::move(idle), {&PrivateEnd::on_end, &end});
    bench.runtime.run();
    EXPECT_FALSE(freeze.is_running())
        << "the freeze does not wait for a request that it holds back";
    EXPECT_EQ(bench.driver.calls, 0) << "nothing is issued while the disk is frozen";
    EXPECT_TRUE(bench.set_queue_count(1));
    EXPECT_EQ(bench.driver.calls, 0);
    EXPECT_TRUE(bench.thaw());
    bench.runtime.run();
    EXPECT_EQ(bench.driver.calls, 1);
    EXPECT_EQ(end.count, 1);
    EXPECT_EQ(end.number, 42);
    EXPECT_EQ(end.status, Status::ok);
  }
}

TEST(PrivateRequest, HeldBackByAFreezeEndsWithTheDisk) {
  Bench bench;
  auto idle = bench.disk->allocate_private(bench.context(), mq::Op::driver_in, false);
  ASSERT_TRUE(idle.has_value());
  mq::Control freeze{{[](void*, mq::Control&) {}, nullptr}};
  bench.disk->freeze(freeze);
  bench.runtime.run();
  PrivateEnd end;
  bench.disk->execute_private(bench.context(), *std::move(idle), {&PrivateEnd::on_end, &end});
  EXPECT_TRUE(bench.run([&](mq::Control& control) { bench.disk->remove(control); }));
  EXPECT_EQ(bench.driver.calls, 0);
  EXPECT_EQ(end.count, 1);
  EXPECT_EQ(end.status, Status::offline);
  bench.disk.reset();
}

TEST(PrivateRequest, IsNotAllocatedOnARemovedDisk) {
  Bench bench;
  auto& disk = *bench.disk;
  EXPECT_TRUE(bench.run([&](mq::Control& control) { disk.remove(control); }));
  EXPECT_FALSE(disk.allocate_private(bench.context(), mq::Op::driver_in, false).has_value());
  bench.disk.reset();
}

}  // namespace
