// SPDX-License-Identifier: BSL-1.0
//
// Tests of the hooks that a driver has: what a disk lists, and what a configuration needs.

#include <gtest/gtest.h>

#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fake_driver.hpp"

namespace driver_hooks {
namespace {

namespace mq = blkown::mq;
using blkown::Status;

/// A driver without any optional hook.
template <class D>
struct Basic {
  struct RequestData {};
  struct HwData {};
  struct QueueData {};
  using Rq = mq::Request<D>;
  using Hw = mq::HwQueue<D>;
  mq::Dispatch<D> queue_rq(Hw&, QueueData&, blkown::Idle<Rq> idle, bool) {
    std::move(idle).start().end_ok();
    return mq::Dispatch<D>::accepted();
  }
};

struct Plain : Basic<Plain> {};

/// Names that resemble hooks, with arguments that no hook has.
struct OwnFunctions : Basic<OwnFunctions> {
  void commit() {}
  bool timed_out(std::uint64_t) { return false; }
  unsigned poll_rq() { return 0; }
};

/// A driver with the hooks timeout and poll. fake::Driver has timeout and report_zones.
struct Polled : Basic<Polled> {
  mq::TimeoutAction timeout(Hw&, const blkown::ARef<Rq>&, const blkown::Cookie&) {
    return mq::TimeoutAction::handled;
  }
  unsigned poll(Hw&) { return 0; }
};

/// What create answers: "field: reason", or the timeout of the disk, which is removed again.
template <class D>
std::string made_with(mq::DiskConfig config) {
  config.capacity_sectors = 64;
  D driver;
  mq::LoopRuntime runtime{1};
  auto made = mq::Disk<D>::create(config, driver, runtime);
  if (!made.has_value())
    return made.error().field + std::string{": "} + to_string(made.error().reason);
  const std::string timeout = std::to_string((*made)->config().timeout_ms.value_or(99));
  EXPECT_EQ(mq::remove(runtime, **made), Status::ok);
  return timeout;
}

TEST(DriverHooks, ADiskListsTheHooksOfItsDriver) {
  const auto list = [](std::span<const char* const> names) {
    return std::vector<std::string>(names.begin(), names.end());
  };
  EXPECT_EQ(list(mq::Disk<Plain>::hooks()), std::vector<std::string>{"queue_rq"});
  EXPECT_EQ(list(mq::Disk<OwnFunctions>::hooks()), std::vector<std::string>{"queue_rq"});
  EXPECT_EQ(list(fake::Driver::Disk::hooks()),
            (std::vector<std::string>{"queue_rq", "commit_rqs", "timeout", "init_hctx", "exit_hctx",
                                      "report_zones"}));
  const std::vector<std::string> all{"queue_rq",   "queue_rqs",   "commit_rqs", "complete",
                                     "timeout",    "poll",        "init_hctx",  "exit_hctx",
                                     "map_queues", "report_zones"};
  EXPECT_EQ(list(fake::FullDriver::Disk::hooks()), all);
  EXPECT_EQ(list(mq::detail::HookNames::of<fake::FullDriver>().view()), all) << "at run time, too";
  static_assert(mq::Disk<Polled>::hooks().size() == 3);
}

TEST(DriverHooks, ATimeoutThatIsNotSetIsThirtySecondsWithTheHookAndNeverWithout) {
  EXPECT_EQ(made_with<Polled>({}), "30000");
  EXPECT_EQ(made_with<Polled>({.timeout_ms = 5}), "5");
  EXPECT_EQ(made_with<Polled>({.timeout_ms = 0}), "0");
  EXPECT_EQ(made_with<fake::Driver>({.timeout_ms = 5}), "5");
  EXPECT_EQ(made_with<Plain>({}), "0");
  EXPECT_EQ(made_with<Plain>({.timeout_ms = 0}), "0");
}

TEST(DriverHooks, AConfigurationThatNeedsAHookIsRefusedWithoutIt) {
  EXPECT_EQ(made_with<Plain>({.timeout_ms = 5}), "timeout_ms: the driver lacks the hook timeout");
  EXPECT_EQ(made_with<Plain>({.poll_queues = 1}), "poll_queues: the driver lacks the hook poll");
  EXPECT_EQ(made_with<fake::Driver>({.poll_queues = 1}),
            "poll_queues: the driver lacks the hook poll");
  EXPECT_EQ(made_with<Polled>({.poll_queues = 1}), "30000");
  EXPECT_EQ(made_with<Plain>({.zoned = true, .zone_sectors = 8}),
            "zoned: the driver lacks the hook report_zones");
  EXPECT_EQ(made_with<Polled>({.zoned = true, .zone_sectors = 8}),
            "zoned: the driver lacks the hook report_zones");
  EXPECT_EQ(made_with<fake::Driver>({.zoned = true, .zone_sectors = 8}), "30000");
}

}  // namespace
}  // namespace driver_hooks
