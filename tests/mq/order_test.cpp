// SPDX-License-Identifier: BSL-1.0
//
// Tests of the order in which bios and requests are issued: submits from a driver's own hooks.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "mq/fake_driver.hpp"

namespace order {
namespace {

namespace mq = blkown::mq;
using blkown::QueueIndex;
using blkown::Status;
using fake::Bench;
using fake::Ends;
using fake::Read;

/// Calls `in_hook` in each of its hooks, and counts how deep the hooks nest.
struct HookDriver {
  struct RequestData {};
  struct HwData {};
  struct QueueData {
    std::vector<std::byte> medium;
  };
  using Hw = mq::HwQueue<HookDriver>;
  using Rq = mq::Request<HookDriver>;
  enum Hook {
    queue_rq_hook,
    queue_rqs_hook,
    commit_rqs_hook,
    complete_hook,
    timeout_hook,
    poll_hook
  };

  mq::Dispatch<HookDriver> queue_rq(Hw& hw, QueueData&, blkown::Idle<Rq> idle, bool) {
    if (std::exchange(is_rejecting, false)) {
      return mq::Dispatch<HookDriver>::rejected(std::move(idle), Status::no_space);
    }
    issued.push_back(idle.data().sector());
    std::move(idle).start().publish(
        [&](blkown::Cookie cookie) { published.push_back({&hw, cookie.value}); });
    run(queue_rq_hook);
    return mq::Dispatch<HookDriver>::accepted();
  }
  void queue_rqs(Hw&, QueueData&, mq::IdleList<Rq>&) { run(queue_rqs_hook); }
  void commit_rqs(Hw&, QueueData&) { run(commit_rqs_hook); }
  void complete(Hw&, blkown::Claim<Rq> claim) {
    run(complete_hook);
    std::move(claim).end_ok();
  }
  mq::TimeoutAction timeout(Hw&, const blkown::ARef<Rq>&, const blkown::Cookie&) {
    run(timeout_hook);
    return mq::TimeoutAction::rearm;
  }
  unsigned poll(Hw&) {
    run(poll_hook);
    return 0;
  }

  void run(Hook hook) {
    max_depth = std::max(max_depth, ++depth);
    if (in_hook) in_hook(hook);
    --depth;
  }
  /// Completes the published requests, through the complete hook.
  void complete_all() {
    for (const auto& [hw, value] : std::exchange(published, {})) hw->complete(*hw->claim(value));
  }

  std::function<void(Hook)> in_hook;
  std::vector<std::uint64_t> issued;
  std::vector<std::pair<Hw*, std::uint64_t>> published;
  bool is_rejecting = false;  // the next request
  int depth = 0;
  int max_depth = 0;
};
using HookDisk = mq::Disk<HookDriver>;

struct Hooks : testing::Test {
  /// Runs until every bio has ended.
  void finish() {
    bench.driver.in_hook = nullptr;
    do {
      bench.driver.complete_all();
      bench.runtime.run();
    } while (!bench.driver.published.empty());
  }
  mq::Bio& add(mq::IoFlags flags = {}) {
    bios.emplace_back(new mq::Bio(
        mq::Bio::read(bios.size(), fake::whole(memory), {&Ends::on_end, &ends}, flags)));
    return *bios.back();
  }
  void submit() { bench.disk->submit(bench.context(), add()); }

  Ends ends;
  std::vector<std::byte> memory = std::vector<std::byte>(512);
  std::vector<std::unique_ptr<mq::Bio>> bios;
  Bench<HookDriver> bench{
      {.capacity_sectors = 1024, .poll_queues = 1, .depth = 256, .timeout_ms = 100}};
};

// Goal: the stack does not grow with the number of bios that queue_rq submits to its own disk.
TEST_F(Hooks, ASubmitInQueueRqIsIssuedAfterQueueRqHasReturned) {
  bench.driver.in_hook = [&](int) {
    if (bios.size() < 100) submit();
  };
  submit();
  EXPECT_EQ(bench.driver.issued.size(), 100U) << "issued before the outermost submit returns";
  EXPECT_TRUE(std::ranges::is_sorted(bench.driver.issued));
  EXPECT_EQ(bench.driver.max_depth, 1);
  finish();
  EXPECT_EQ(ends.count, 100);
}

// Method: each hook submits a bio once. No other hook is called within it, and the bio is issued
// before the disk's code is left.
TEST_F(Hooks, ASubmitInAnyHookIsIssuedAfterTheHookHasReturned) {
  unsigned seen = 0;
  bench.driver.in_hook = [&](HookDriver::Hook hook) {
    if ((seen >> hook & 1) != 0) return;
    seen |= 1U << hook;
    submit();
  };
  {
    const HookDisk::Plug plug{*bench.disk, bench.context()};
    submit();
    submit();
  }
  static_cast<void>(bench.disk->poll(bench.context()));
  bench.driver.is_rejecting = true;  // so that commit_rqs must follow
  submit();
  bench.runtime.run();
  for (int i = 0; i != 2; ++i) {  // the first scan finds the requests, the second their deadlines
    bench.clock.pass_ms(150);
    bench.runtime.run();
  }
  bench.driver.complete_all();
  bench.runtime.run();
  EXPECT_EQ(seen, 0b111111U) << "every hook has run";
  EXPECT_EQ(bench.driver.issued.size(), bios.size() - 1);
  EXPECT_EQ(bench.driver.max_depth, 1);
  finish();
  EXPECT_EQ(ends.count, static_cast<int>(bios.size()));
}

// Goal: neither the destructor of a plug within a hook nor that of an inner plug issues.
TEST_F(Hooks, AnInnerPlugDoesNotIssue) {
  bool is_first = true;
  bench.driver.in_hook = [&](int) {
    if (!std::exchange(is_first, false)) return;
    const HookDisk::Plug plug{*bench.disk, bench.context()};
    submit();
    submit();
  };
  submit();
  EXPECT_EQ(bench.driver.max_depth, 1);
  EXPECT_EQ(bench.driver.issued, (std::vector<std::uint64_t>{0, 1, 2}));
  {
    const HookDisk::Plug plug{*bench.disk, bench.context()};
    {
      const HookDisk::Plug inner{*bench.disk, bench.context()};
      submit();
    }
    EXPECT_EQ(bench.driver.issued.size(), 3U);
  }
  EXPECT_EQ(bench.driver.issued.size(), 4U);
  finish();
}

// Goal: private requests do not recurse either.
TEST_F(Hooks, APrivateRequestThatAHookExecutesIsIssuedAfterTheHookHasReturned) {
  int left = 100;
  const auto execute = [&] {
    auto idle = bench.disk->allocate_private(bench.context(), mq::Op::driver_in, false);
    ASSERT_TRUE(idle.has_value());
    bench.disk->execute_private(bench.context(), *std::move(idle), {});
  };
  bench.driver.in_hook = [&](int) {
    if (left-- > 0) execute();
  };
  execute();
  EXPECT_EQ(bench.driver.issued.size(), 101U);
  EXPECT_EQ(bench.driver.max_depth, 1);
  finish();
}

// Goal: a bio that was issued in part stays before the bios that queue_rq submits.
TEST(Order, ABioIssuedInPartKeepsItsPlaceBeforeBiosThatQueueRqSubmits) {
  Bench<HookDriver> bench{{.capacity_sectors = 1024, .limits = {.max_sectors = 1}, .depth = 2}};
  Ends ends;
  std::vector<std::byte> memory(4 * 512);
  auto bio = mq::Bio::read(0, fake::whole(memory), {&Ends::on_end, &ends});
  Read behind{100};
  bool is_first = true;
  bench.driver.in_hook = [&](HookDriver::Hook hook) {
    if (hook == HookDriver::queue_rq_hook && std::exchange(is_first, false)) {
      bench.disk->submit(bench.context(), behind.bio);
    }
  };
  bench.disk->submit(bench.context(), bio);
  for (int i = 0; i != 4; ++i) {
    bench.driver.complete_all();
    bench.runtime.run();
  }
  EXPECT_EQ(bench.driver.issued, (std::vector<std::uint64_t>{0, 1, 2, 3, 100}));
}

}  // namespace
}  // namespace order
