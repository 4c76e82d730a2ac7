// SPDX-License-Identifier: BSL-1.0
//
// Goal: a thread that ends or completes another context's request may be preempted anywhere in that
// call. Meanwhile the context may take the request, end its bio, remove the disk and destroy it:
// the call touches nothing of the disk afterwards. An interrupt of the context's own thread may
// complete a request anywhere in a call of the context: the context's run finds it.
//
// Method: the library's atomics are interrupted after each operation of the call in turn.

#include "support/interrupting_atomic.hpp"
//
#include <gtest/gtest.h>

#include <algorithm>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "mq/fake_driver.hpp"

namespace {

namespace mq = blkown::mq;
using blkown::QueueIndex;
using blkown::Status;
using fake::Bench;
using Claim = blkown::Claim<fake::Driver::Rq>;

/// A disk with two reads in flight, which other threads pass back.
struct Stage {
  explicit Stage(mq::DiskConfig config = {}) : bench{config} {
    bench.driver.mode = fake::Driver::Mode::publish;
    for (fake::Read& read : reads) bench.disk->submit(bench.context(), read.bio);
  }

  [[nodiscard]] Claim claim() {
    const auto [hw, value] = bench.driver.published.front();
    bench.driver.published.pop_front();
    return *hw->claim(value);
  }
  /// What the context does while the other thread is preempted: it runs for a reason of its own,
  /// the user removes the disk, and destroys it as soon as it is removed.
  void run_and_remove() {
    bench.disk->hw_queue(QueueIndex{0}).start();
    bench.runtime.run();
    bench.disk->remove(removal);
    bench.runtime.run_some(1'000);
    destroy_if_removed();
  }
  void destroy_if_removed() {
    if (removed) bench.disk.reset();
  }

  fake::Read reads[2];
  Bench<> bench;
  bool removed = false;
  mq::Control removal{{[](void* its, mq::Control&) { *static_cast<bool*>(its) = true; }, &removed}};
};

using PassBack = std::function<void(Stage&)>;

void end(Stage& stage) { stage.claim().end_ok(); }
void complete(Stage& stage) {
  Claim claim = stage.claim();
  stage.bench.disk->hw_queue(QueueIndex{0}).complete(std::move(claim));
}

/// Interrupts `first(stage)` after each of its operations in turn. Meanwhile another thread calls
/// `second`, and the disk is removed. Returns at how many operations the disk was destroyed before
/// the first call was over.
int interrupt_each(const PassBack& first, const PassBack& second) {
  int destroyed_within = 0;
  for (int operations = 1;; ++operations) {
    Stage stage;
    support::interruption.arm(operations, [&] {
      second(stage);
      stage.run_and_remove();
    });
    first(stage);
    const int later = support::interruption.operations_since();
    if (support::interruption.disarm()) {
      second(stage);
      stage.bench.runtime.run();
      return destroyed_within;
    }
    if (stage.removed) {
      ++destroyed_within;
      EXPECT_EQ(later, 0) << "operation " << operations << ": atomics of the destroyed disk";
      if (testing::Test::HasFailure()) return destroyed_within;
    }
    stage.bench.runtime.run();
    stage.destroy_if_removed();
    EXPECT_EQ(stage.bench.disk, nullptr) << "operation " << operations << ": not removed";
    for (const fake::Read& read : stage.reads) {
      EXPECT_EQ(read.ends.statuses, std::vector{Status::ok});
    }
  }
}

TEST(Interrupted, AnEndElsewhereTouchesNothingOfARemovedDisk) {
  EXPECT_GT(interrupt_each(end, end), 0);
  EXPECT_GT(interrupt_each(end, complete), 0);
}

TEST(Interrupted, ACompletionElsewhereTouchesNothingOfARemovedDisk) {
  EXPECT_GT(interrupt_each(complete, complete), 0);
  EXPECT_GT(interrupt_each(complete, end), 0);
}

// Goal: a kick issues what was requeued before it, also if an earlier thread has not posted yet.
TEST(Interrupted, AKickIssuesWhatIsStillOnItsWay) {
  for (int operations = 1;; ++operations) {
    Stage stage{{.auto_kick = false}};
    support::interruption.arm(operations, [&] {
      std::move(*stage.claim().into_owned()).requeue();
      stage.bench.disk->kick_requeued();
      stage.bench.runtime.run();
    });
    end(stage);
    const bool is_over = support::interruption.disarm();
    stage.bench.runtime.run();
    ASSERT_EQ(stage.bench.driver.published.size(), 1U) << "operation " << operations;
    end(stage);
    stage.bench.runtime.run();
    EXPECT_EQ(stage.reads[0].ends.count + stage.reads[1].ends.count, 2);
    if (is_over) break;
  }
}

/// Interrupts the start of a control operation after each of its operations in turn, with nothing
/// in flight. If the contexts can carry the operation out by then, the disk is removed and
/// destroyed. Returns at how many of them it was.
template <class Start>
int interrupt_each_start(Start start) {
  int destroyed_within = 0;
  for (int operations = 1;; ++operations) {
    Stage stage;
    end(stage);
    end(stage);
    stage.bench.runtime.run();
    bool is_done = false;
    mq::Control control{
        {[](void* its, mq::Control&) { *static_cast<bool*>(its) = true; }, &is_done}};
    support::interruption.arm(operations, [&] {
      stage.bench.runtime.run();
      if (is_done) stage.run_and_remove();
    });
    start(*stage.bench.disk, control);
    const int later = support::interruption.operations_since();
    const bool is_over = support::interruption.disarm();
    if (stage.removed) {
      ++destroyed_within;
      EXPECT_EQ(later, 0) << "operation " << operations << ": atomics of the destroyed disk";
    }
    stage.bench.runtime.run();
    EXPECT_TRUE(is_done);
    if (is_over || testing::Test::HasFailure()) return destroyed_within;
  }
}

TEST(Interrupted, TheStartOfAnOperationTouchesNothingOfADiskThatIsRemovedBehindIt) {
  using Disk = fake::Driver::Disk;
  using mq::Control;
  EXPECT_GT(interrupt_each_start([](Disk& disk, Control& control) { disk.freeze(control); }), 0);
  EXPECT_GT(interrupt_each_start([](Disk& disk, Control& control) { disk.quiesce(control); }), 0);
  EXPECT_GT(
      interrupt_each_start([](Disk& disk, Control& control) { disk.set_queue_count(control, 1); }),
      0);
  EXPECT_GT(interrupt_each_start([](Disk& disk, Control& control) {
              disk.set_limits(control, {.max_segments = 8});
            }),
            0);
}

/// Publishes its requests. pass_one() completes the oldest in the device's place, as an interrupt;
/// pass_local() and poll do so as code of the context.
struct PassesDriver : fake::FullDriver {
  Answer queue_rq(Hw& hw, QueueData&, blkown::Idle<Rq> idle, bool) override {
    std::move(idle).start().publish(
        [&](blkown::Cookie cookie) { published.emplace_back(&hw, cookie.value); });
    return Answer::accepted();
  }
  unsigned poll(Hw&) override { return pass_local() ? 1 : 0; }
  bool pass_one() {
    return pass([](Hw& hw, blkown::Claim<Rq> claim) { hw.complete(std::move(claim)); });
  }
  bool pass_local() {
    return pass([](Hw& hw, blkown::Claim<Rq> claim) { hw.complete_local(std::move(claim)); });
  }
  template <class Pass>
  bool pass(Pass pass) {
    if (published.empty()) return false;
    const auto [hw, value] = published.front();
    published.pop_front();
    ++passed;
    auto claim = *hw->claim(value);
    const void* const request = &claim.data();
    const int begin = ++moments;
    pass(*hw, std::move(claim));
    passes.push_back({request, begin, ++moments});
    return true;
  }
  void complete(Hw&, blkown::Claim<Rq> claim) override {
    ++completed;
    order.push_back(&claim.data());
    std::move(claim).end_ok();
  }
  /// Whether no claim was completed before one whose pass was over when its own began.
  [[nodiscard]] bool is_in_order() const {
    const auto place = [&](const Pass& of) { return std::ranges::find(order, of.request); };
    return std::ranges::all_of(passes, [&](const Pass& a) {
      return std::ranges::all_of(
          passes, [&](const Pass& b) { return a.end >= b.begin || place(a) < place(b); });
    });
  }

  struct Pass {
    const void* request;
    int begin;
    int end;
  };
  std::deque<std::pair<Hw*, std::uint64_t>> published;
  std::vector<Pass> passes;
  std::vector<const void*> order;  // of the calls of complete()
  int moments = 0;
  int passed = 0;
  int completed = 0;
};

/// A disk with reads in flight, and one more read.
struct OwnStage {
  explicit OwnStage(bool is_polled)
      : bench{{.capacity_sectors = 1024, .poll_queues = is_polled ? 1U : 0U}} {
    for (fake::Read& read : reads) {
      read.bio.set_read(0, fake::whole(read.memory), {&fake::Ends::on_end, &read.ends},
                        {.polled = is_polled});
      if (&read != &last()) submit(read);
    }
  }
  void submit(fake::Read& read) { bench.disk->submit(bench.context(), read.bio); }
  [[nodiscard]] fake::Read& last() { return reads[3]; }
  [[nodiscard]] int ended() const {
    int count = 0;
    for (const fake::Read& read : reads) count += read.ends.count;
    return count;
  }

  fake::Read reads[4];
  Bench<PassesDriver> bench;
  bool removed = false;
  mq::Control removal{{[](void* its, mq::Control&) { *static_cast<bool*>(its) = true; }, &removed}};
};

/// Interrupts `call(stage)` after each of its operations in turn, on the context's own thread, by a
/// completion of a read in flight. Returns the number of operations. The claims are completed in
/// the order of their passes, whatever order the context's works are run in.
template <class Call>
int interrupt_own(bool is_polled, bool removes, bool last_first, Call call) {
  for (int operations = 1;; ++operations) {
    OwnStage stage{is_polled};
    PassesDriver& driver = stage.bench.driver;
    if (removes) stage.bench.disk->remove(stage.removal);
    bool is_over = false;
    {
      const mq::Context::Scope scope{stage.bench.context()};
      support::interruption.arm(operations, [&] { driver.pass_one(); });
      call(stage);
      is_over = support::interruption.disarm();
    }
    while (last_first && stage.bench.context().runnable() != 0) {
      stage.bench.context().run_one(stage.bench.context().runnable() - 1);
    }
    stage.bench.runtime.run();
    EXPECT_EQ(driver.completed, driver.passed) << "operation " << operations << ": a lost claim";
    EXPECT_TRUE(driver.is_in_order()) << "operation " << operations;
    if (stage.last().ends.count == 0 && !stage.last().bio.is_in_flight())
      stage.submit(stage.last());
    while (driver.pass_one()) stage.bench.runtime.run();
    stage.bench.runtime.run();
    EXPECT_EQ(stage.ended(), 4) << "operation " << operations;
    EXPECT_EQ(stage.removed, removes) << "operation " << operations;
    if (stage.removed) stage.bench.disk.reset();
    if (testing::Test::HasFailure()) std::abort();  // the disk cannot be destroyed
    if (is_over) return operations;
  }
}

template <class Call>
int interrupt_own(bool is_polled, bool removes, Call call) {
  return std::min(interrupt_own(is_polled, removes, false, call),
                  interrupt_own(is_polled, removes, true, call));
}

TEST(Interrupted, AClaimThatAnInterruptOfTheContextPassesWithinASubmitIsCompleted) {
  for (const bool removes : {false, true}) {
    EXPECT_GT(interrupt_own(false, removes, [](OwnStage& stage) { stage.submit(stage.last()); }),
              3);
  }
}

TEST(Interrupted, AClaimThatAnInterruptOfTheContextPassesWithinARunIsCompleted) {
  for (const bool removes : {false, true}) {
    const auto run = [](OwnStage& stage) {
      stage.bench.disk->hw_queue(QueueIndex{0}).start();
      stage.bench.driver.pass_one();
      stage.bench.runtime.run();
    };
    EXPECT_GT(interrupt_own(false, removes, run), 3);
  }
}

TEST(Interrupted, AClaimThatAnInterruptOfTheContextPassesWithinAPollIsCompleted) {
  for (const bool removes : {false, true}) {
    EXPECT_GT(interrupt_own(true, removes,
                            [](OwnStage& stage) { stage.bench.disk->poll(stage.bench.context()); }),
              3);
  }
}

TEST(Interrupted, AClaimThatAnInterruptOfTheContextPassesBetweenLocalOnesIsCompleted) {
  for (const bool removes : {false, true}) {
    const auto pass_two = [](OwnStage& stage) {
      EXPECT_TRUE(stage.bench.driver.pass_local());
      stage.bench.driver.pass_local();
    };
    EXPECT_GT(interrupt_own(false, removes, pass_two), 3);
  }
}

}  // namespace
