// SPDX-License-Identifier: BSL-1.0
//
// Tests of the hooks that a driver has: what a disk lists, and what a configuration needs.

#include <gtest/gtest.h>

#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
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

/// A driver that records, in each hook of an I/O, whether its disk is calling out.
struct CallsOut {
  struct RequestData {};
  struct HwData {};
  struct QueueData {};
  using Rq = mq::Request<CallsOut>;
  using Hw = mq::HwQueue<CallsOut>;
  using Answer = mq::Dispatch<CallsOut>;

  void note(const char* where) { seen[where] = disk->is_calling_out(); }
  void queue_rqs(Hw&, QueueData&, mq::IdleList<Rq>&) { note("queue_rqs"); }
  Answer queue_rq(Hw& hw, QueueData&, blkown::Idle<Rq> idle, bool is_last) {
    note("queue_rq");
    if (refuses && is_last) return Answer::rejected(std::move(idle), blkown::Status::io_error);
    std::optional<blkown::Cookie> sent;
    std::move(idle).start().publish([&](const blkown::Cookie& cookie) { sent = cookie; });
    if (completes) hw.complete(disk->pool().tags().claim(sent->queue, sent->value).value());
    return Answer::accepted();
  }
  void commit_rqs(Hw&, QueueData&) { note("commit_rqs"); }
  void complete(Hw&, blkown::Claim<Rq> claim) {
    note("complete");
    std::move(claim).end_ok();
  }
  mq::TimeoutAction timeout(Hw&, const blkown::ARef<Rq>& pin, const blkown::Cookie& cookie) {
    note("timeout");
    blkown::claim(pin, cookie).value().end_ok();
    return mq::TimeoutAction::handled;
  }
  unsigned poll(Hw&) {
    note("poll");
    return 0;
  }

  mq::Disk<CallsOut>* disk = nullptr;
  std::map<std::string, bool> seen;
  bool completes = true;
  bool refuses = false;
};

/// What a callback records, and the callbacks.
struct Note {
  void take() { driver.note(where); }
  template <class Ended>
  static void on_end(void* its, Ended&) {
    static_cast<Note*>(its)->take();
  }
  CallsOut& driver;
  const char* where;
};

/// A disk on two contexts, used on the second.
class IsCallingOut : public testing::Test {
 protected:
  IsCallingOut() { driver.disk = disk.get(); }
  [[nodiscard]] mq::Bio read() {
    return mq::Bio::read(0, blkown::Segment{memory, 512}, {&Note::on_end<mq::Bio>, &bio_note});
  }
  /// Two bios of a batch, the last of which is refused: commit_rqs follows.
  void send_batch() {
    mq::Bio first = read();
    mq::Bio second = read();
    {
      const mq::Disk<CallsOut>::Plug plug{*disk, context};
      disk->submit(context, first);
      disk->submit(context, second);
      driver.refuses = true;
    }
    runtime.run();
    driver.refuses = false;
  }
  void send_private() {
    auto idle = disk->allocate_private(context, mq::Op::driver_in, true);
    disk->execute_private(context, std::move(*idle),
                          {&Note::on_end<mq::Payload<CallsOut>>, &private_note});
    runtime.run();
  }
  void time_out() {
    driver.completes = false;
    mq::Bio late = read();
    disk->submit(context, late);
    for (int i = 0; i != 10 && late.is_in_flight(); ++i) {
      now_ns += 1'000'000;
      runtime.run();
    }
    EXPECT_FALSE(late.is_in_flight());
  }

  std::uint64_t now_ns = 0;
  mq::LoopRuntime runtime{2, {.argument = &now_ns, .now_ns = [](void* its) {
                                return *static_cast<std::uint64_t*>(its);
                              }}};
  mq::Context& context = runtime.context(1);
  CallsOut driver;
  Note bio_note{driver, "bio"};
  Note private_note{driver, "private"};
  std::byte memory[512];
  std::unique_ptr<mq::Disk<CallsOut>> disk = *mq::Disk<CallsOut>::create(
      {.capacity_sectors = 8, .poll_queues = 1, .reserved_depth = 1, .timeout_ms = 1}, driver,
      runtime);
};

// Goal: a disk knows on each of its contexts that it has called a hook or the end callback of a bio
// or of a private request. It does not count a call from a Work, a Control's callback or no
// context.
TEST_F(IsCallingOut, InEachHookAndInTheCallbacksOfIo) {
  send_batch();
  send_private();
  static_cast<void>(disk->poll(context));
  time_out();
  const std::map<std::string, bool> all{
      {"queue_rqs", true}, {"queue_rq", true}, {"commit_rqs", true}, {"complete", true},
      {"timeout", true},   {"poll", true},     {"bio", true},        {"private", true}};
  EXPECT_EQ(driver.seen, all);
  driver.seen.clear();
  driver.note("no context");
  Note work_note{driver, "work"};
  mq::Work work{&Note::on_end<mq::Work>, &work_note};
  context.post(work);
  Note control_note{driver, "control"};
  mq::Control control{{&Note::on_end<mq::Control>, &control_note}};
  disk->remove(control);
  runtime.run();
  const std::map<std::string, bool> none{
      {"no context", false}, {"work", false}, {"control", false}};
  EXPECT_EQ(driver.seen, none);
}

}  // namespace
}  // namespace driver_hooks
