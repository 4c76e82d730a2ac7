// SPDX-License-Identifier: BSL-1.0
//
// Tests of resets that a driver begins while an operation on the disk waits for its requests: the
// operations of the reset may not wait for the operation.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <blkown/mq/mq.hpp>
#include <blkown/mq/thread_runtime.hpp>
#include <blkown/sim/device/random.hpp>
#include <blkown/sim/harness/deterministic_runtime.hpp>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "mq/fake_driver.hpp"
#include "mq/task.hpp"
#include "support/recording.hpp"

namespace recovery {
namespace {

namespace mq = blkown::mq;
using blkown::QueueIndex;
using blkown::Status;
using fake::Bench;
using fake::Read;
using Mode = fake::Driver::Mode;

/// An operation, with a function that is called at its end.
struct Operation {
  mq::Control control{
      {[](void* self, mq::Control&) { static_cast<Operation*>(self)->end(); }, this}};
  void end() {
    ++ends;
    if (then) then();
  }
  [[nodiscard]] bool is_done() const { return ends == 1 && !control.is_running(); }
  [[nodiscard]] Status status() const { return control.status(); }
  int ends = 0;
  std::function<void()> then;
};

/// What holds the disk while the driver recovers its requests.
enum class Waits { freeze, queue_count, limits, remove };
constexpr std::array all_waits{Waits::freeze, Waits::queue_count, Waits::limits, Waits::remove};

template <class Disk>
void start(Disk& disk, Waits what, mq::Control& control) {
  switch (what) {
    case Waits::freeze: return disk.freeze(control);
    case Waits::queue_count: return disk.set_queue_count(control, 1);
    case Waits::limits: return disk.set_limits(control, disk.limits());
    case Waits::remove: return disk.remove(control);
  }
}

/// Requeues all requests that the driver keeps.
void requeue_all(Bench<>& bench) {
  while (!bench.driver.kept.empty()) {
    auto owned = std::move(bench.driver.kept.front());
    bench.driver.kept.pop_front();
    std::move(owned).requeue();
  }
  bench.runtime.run();
}

mq::DiskConfig two_queues() {
  return {.name = "reset",
          .capacity_sectors = 1024,
          .normal_queues = 2,
          .max_normal_queues = 2,
          .depth = 4,
          .reserved_depth = 1};
}

/// A disk with one request in flight on each context, while an operation waits for them.
struct Held {
  explicit Held(Waits what) : waits{what} {
    bench.driver.mode = Mode::keep;
    for (std::uint32_t i = 0; i != 2; ++i) bench.disk->submit(bench.context(i), reads[i].bio);
    start(*bench.disk, waits, holder.control);
    bench.runtime.run();
    EXPECT_EQ(holder.ends, 0) << "the driver has requests";
  }
  /// Undoes what the holder has left behind, and removes the disk.
  void finish() {
    EXPECT_TRUE(holder.is_done());
    bench.driver.mode = Mode::end;
    if (waits == Waits::freeze) {
      EXPECT_TRUE(bench.thaw());
    }
    requeue_all(bench);
    for (const Read& read : reads) EXPECT_EQ(read.ends.statuses, std::vector{expected()});
    if (waits != Waits::remove) bench.remove();
    bench.disk.reset();
  }
  [[nodiscard]] Status expected() const {
    return waits == Waits::remove ? Status::offline : Status::ok;
  }

  Waits waits;
  Bench<> bench{two_queues(), 2};
  Operation holder;
  Read reads[2];
};

// Goal: a driver that quiesces the disk, gives back its requests and unquiesces ends whatever waits
// for its requests. This is the order of Linux's nvme_dev_disable: nvme_start_freeze, then
// nvme_quiesce_io_queues.
TEST(Recovery, AResetBeginsWhileAnOperationWaitsForTheRequests) {
  for (const Waits waits : all_waits) {
    SCOPED_TRACE(static_cast<int>(waits));
    Held held{waits};
    Bench<>& bench = held.bench;
    Operation quiesce, unquiesce;
    bench.disk->quiesce(quiesce.control);
    bench.runtime.run();
    ASSERT_TRUE(quiesce.is_done()) << "it waits for no request";
    EXPECT_EQ(quiesce.status(), held.expected());
    EXPECT_EQ(held.holder.ends, 0);
    requeue_all(bench);
    EXPECT_TRUE(held.holder.is_done());
    EXPECT_EQ(bench.driver.calls, 2) << "the disk is quiesced";
    bench.disk->unquiesce(unquiesce.control);
    bench.runtime.run();
    EXPECT_TRUE(unquiesce.is_done());
    held.finish();
  }
}

// Goal: a driver whose reset ends before it gives its requests back.
TEST(Recovery, AResetEndsWhileAnOperationWaitsForTheRequests) {
  for (const Waits waits : all_waits) {
    SCOPED_TRACE(static_cast<int>(waits));
    Held held{waits};
    const support::ReportLog log;
    Operation quiesce, unquiesce;
    held.bench.disk->quiesce(quiesce.control);
    held.bench.disk->unquiesce(unquiesce.control);
    held.bench.runtime.run();
    EXPECT_TRUE(quiesce.is_done());
    EXPECT_TRUE(unquiesce.is_done());
    EXPECT_EQ(unquiesce.status(), held.expected());
    EXPECT_EQ(held.holder.ends, 0);
    EXPECT_EQ(log.count(), 0U);
    requeue_all(held.bench);
    held.finish();
  }
}

// Goal: the quiesce was in force before the operation that waits.
TEST(Recovery, AResetThatBeganEarlierEndsWhileAnOperationWaits) {
  for (const Waits waits : all_waits) {
    SCOPED_TRACE(static_cast<int>(waits));
    Bench bench{two_queues(), 2};
    bench.driver.mode = Mode::keep;
    Read read;
    Operation quiesce, holder, unquiesce;
    bench.disk->submit(bench.context(1), read.bio);
    bench.disk->quiesce(quiesce.control);
    start(*bench.disk, waits, holder.control);
    bench.disk->unquiesce(unquiesce.control);
    bench.runtime.run();
    EXPECT_TRUE(quiesce.is_done());
    EXPECT_TRUE(unquiesce.is_done());
    EXPECT_EQ(holder.ends, 0);
    requeue_all(bench);
    ASSERT_TRUE(holder.is_done());
    if (waits == Waits::freeze) {
      EXPECT_TRUE(bench.thaw());
    }
    bench.driver.mode = Mode::end;
    requeue_all(bench);
    EXPECT_EQ(read.ends.count, 1);
  }
}

// Goal: quiesces of two parties count while an operation waits.
TEST(Recovery, TwoPartiesQuiesceWhileAnOperationWaits) {
  for (const Waits waits : {Waits::freeze, Waits::queue_count, Waits::limits}) {
    SCOPED_TRACE(static_cast<int>(waits));
    Held held{waits};
    Bench<>& bench = held.bench;
    Operation first, second, undo_first, undo_second;
    bench.disk->quiesce(first.control);
    bench.disk->quiesce(second.control);
    bench.disk->unquiesce(undo_first.control);
    bench.runtime.run();
    EXPECT_TRUE(first.is_done() && second.is_done() && undo_first.is_done());
    requeue_all(bench);
    EXPECT_TRUE(held.holder.is_done());
    if (waits == Waits::freeze) {
      EXPECT_TRUE(bench.thaw());
      held.waits = Waits::queue_count;
    }
    bench.runtime.run();
    EXPECT_EQ(bench.driver.calls, 2) << "the second party has not unquiesced";
    bench.driver.mode = Mode::end;
    bench.disk->unquiesce(undo_second.control);
    bench.runtime.run();
    EXPECT_EQ(bench.driver.calls, 4);
    held.finish();
  }
}

// Goal: a quiesce passes operations that are queued behind the one that waits, and the others keep
// their order: what was started before an unquiesce is told to the contexts before it.
TEST(Recovery, AQuiescePassesTheOperationsThatAreQueued) {
  Held held{Waits::freeze};
  Bench<>& bench = held.bench;
  std::string order;
  Operation thaw, change, quiesce, removal;
  thaw.then = [&] { order += 't'; };
  change.then = [&] { order += 'c'; };
  quiesce.then = [&] { order += 'q'; };
  removal.then = [&] { order += 'r'; };
  held.holder.then = [&] { order += 'f'; };
  bench.disk->thaw(thaw.control);
  bench.disk->set_queue_count(change.control, 1);
  bench.disk->remove(removal.control);
  bench.disk->quiesce(quiesce.control);
  bench.runtime.run();
  EXPECT_EQ(order, "q");
  EXPECT_EQ(quiesce.status(), Status::ok);
  requeue_all(bench);
  EXPECT_EQ(order, "qftcr");
  EXPECT_EQ(bench.driver.calls, 2) << "quiesced, then removed";
  for (const Read& read : held.reads) EXPECT_EQ(read.ends.statuses, std::vector{Status::offline});
  bench.disk.reset();
}

TEST(Recovery, ResetsThatAreStartedAtOnceIssueOnTheNewQueuesOnly) {
  Bench bench{two_queues(), 2};
  bench.driver.mode = Mode::keep;
  Read reads[2];
  Operation quiesce, change, unquiesce;
  for (std::uint32_t i = 0; i != 2; ++i) bench.disk->submit(bench.context(i), reads[i].bio);
  bench.disk->quiesce(quiesce.control);
  bench.disk->set_queue_count(change.control, 1);
  bench.disk->unquiesce(unquiesce.control);
  bench.runtime.run();
  EXPECT_TRUE(unquiesce.is_done());
  EXPECT_EQ(change.ends, 0);
  bench.driver.seen.clear();
  bench.driver.mode = Mode::end;
  requeue_all(bench);
  EXPECT_TRUE(change.is_done());
  ASSERT_EQ(bench.driver.seen.size(), 2U);
  for (const fake::Seen& seen : bench.driver.seen) EXPECT_EQ(seen.hw_queue, 0U);
}

// --- during a removal ----------------------------------------------------------------------------

// Goal: no operation that a driver starts during a removal waits for the removal, except another
// removal. Each ends with `offline`, in order.
TEST(Recovery, OperationsEndWhileARemovalWaits) {
  Held held{Waits::remove};
  Bench<>& bench = held.bench;
  const support::ReportLog log;
  Operation freeze, thaw, quiesce, unquiesce, change, limits, again, last;
  std::vector<Operation*> order;
  const std::vector<Operation*> others{&freeze,    &thaw,   &quiesce, &change,
                                       &unquiesce, &limits, &last};
  for (Operation* operation : others) {
    operation->then = [&order, operation] { order.push_back(operation); };
  }
  bench.disk->freeze(freeze.control);
  bench.disk->thaw(thaw.control);
  bench.disk->quiesce(quiesce.control);
  bench.disk->remove(again.control);
  bench.disk->set_queue_count(change.control, 1);
  bench.disk->unquiesce(unquiesce.control);
  bench.disk->set_limits(limits.control, {});
  bench.disk->freeze(last.control);
  EXPECT_EQ(order.size(), 0U) << "callbacks run on a context, not within the calls";
  bench.runtime.run();
  EXPECT_EQ(order, others);
  for (const Operation* operation : others) {
    EXPECT_TRUE(operation->is_done());
    EXPECT_EQ(operation->status(), Status::offline);
  }
  EXPECT_EQ(log.count(), 0U) << "the thaw has an effect no more, and is not judged";
  EXPECT_EQ(held.holder.ends, 0);
  EXPECT_EQ(again.ends, 0) << "a second removal ends when the disk is removed";
  requeue_all(bench);
  EXPECT_TRUE(again.is_done());
  EXPECT_EQ(again.status(), Status::offline);
  held.finish();
}

// Goal: the whole reset of a driver in its timeout hook, during a removal that waits for a mute
// device. The callback of the quiesce gives the requests up.
TEST(Recovery, ATimeoutDuringARemovalResetsTheDevice) {
  Bench bench{two_queues(), 2};
  bench.driver.mode = Mode::publish;
  Read read;
  Operation removal, quiesce, change, unquiesce;
  quiesce.then = [&] {
    bench.disk->fail_in_flight(Status::aborted);
    bench.disk->kick_requeued();
    bench.disk->set_queue_count(change.control, 1);
  };
  change.then = [&] { bench.disk->unquiesce(unquiesce.control); };
  unquiesce.then = [&] { EXPECT_EQ(removal.ends, 0); };
  bench.driver.on_timeout = [&](auto&, const auto&, const auto&) {
    if (bench.driver.timeouts == 1) bench.disk->quiesce(quiesce.control);
    EXPECT_EQ(quiesce.ends, 0) << "the callback does not run within the hook";
    return mq::TimeoutAction::rearm;
  };
  bench.disk->submit(bench.context(1), read.bio);
  bench.disk->remove(removal.control);
  for (int i = 0; i != 8; ++i) {
    bench.runtime.run();
    bench.clock.pass_ms(20'000);
  }
  bench.runtime.run();
  ASSERT_TRUE(removal.is_done());
  EXPECT_TRUE(quiesce.is_done() && change.is_done() && unquiesce.is_done());
  EXPECT_EQ(change.status(), Status::offline);
  EXPECT_EQ(read.ends.statuses, std::vector{Status::aborted});
  bench.disk.reset();
}

// Goal: an unquiesce that the driver starts in or after the removal's callback ends at once.
TEST(Recovery, AnUnquiesceAfterTheRemovalEndsWithinTheCall) {
  for (const bool in_callback : {false, true}) {
    Held held{Waits::remove};
    Operation quiesce, unquiesce;
    const auto undo = [&] {
      held.bench.disk->unquiesce(unquiesce.control);
      EXPECT_TRUE(unquiesce.is_done());
      EXPECT_EQ(unquiesce.status(), Status::offline);
    };
    if (in_callback) held.holder.then = undo;
    held.bench.disk->quiesce(quiesce.control);
    held.bench.runtime.run();
    requeue_all(held.bench);
    if (!in_callback) undo();
    EXPECT_TRUE(unquiesce.is_done());
    held.finish();
  }
}

// Goal: a private request that was allocated before a removal is not sent once the disk is removed.
TEST(Recovery, APrivateRequestThatIsExecutedDuringARemovalEndsOffline) {
  for (const bool reserved : {false, true}) {
    Bench bench{two_queues(), 2};
    auto idle = bench.disk->allocate_private(bench.context(1), mq::Op::driver_out, reserved);
    ASSERT_TRUE(idle.has_value());
    Operation removal;
    bench.disk->remove(removal.control);
    bench.runtime.run();
    EXPECT_EQ(removal.ends, 0) << "its submitter has the request";
    Status status = Status::ok;
    bench.disk->execute_private(bench.context(1), *std::move(idle),
                                {[](void* its, mq::Payload<fake::Driver>& payload) {
                                   *static_cast<Status*>(its) = payload.status();
                                 },
                                 &status});
    bench.runtime.run();
    EXPECT_EQ(bench.driver.calls, 0);
    EXPECT_EQ(status, Status::offline);
    EXPECT_TRUE(removal.is_done());
    bench.disk.reset();
  }
}

// Goal: a removal and a reset meet a plug, and bios that the plug collects.
TEST(Recovery, ARemovalWhilePluggedEndsThePluggedBios) {
  Held held{Waits::remove};
  Bench<>& bench = held.bench;
  Read before, during;
  {
    const mq::Disk<fake::Driver>::Plug plug{*bench.disk, bench.context(1)};
    bench.disk->submit(bench.context(1), during.bio);
    Operation quiesce;
    bench.disk->quiesce(quiesce.control);
    bench.runtime.run();
    EXPECT_TRUE(quiesce.is_done());
    requeue_all(bench);
    EXPECT_EQ(during.ends.statuses, std::vector{Status::offline});
  }
  held.finish();
}

/// A driver whose queue_rq runs the contexts, as a blocking one may that waits for other I/O.
struct Nested : fake::Driver {
  Answer queue_rq(Hw&, QueueData&, blkown::Idle<Rq> idle, bool) override {
    is_inside = true;
    if (const auto call = std::exchange(inside, nullptr)) call();
    is_inside = false;
    kept.push_back(std::move(idle).start());
    return Answer::accepted();
  }
  std::function<void()> inside;
  bool is_inside = false;
};

// Goal: a quiesce that passes a removal ends after the queue_rq that is running, and no other is
// called.
TEST(Recovery, AQuiesceThatPassesWaitsForAQueueRqThatIsRunning) {
  for (const bool blocking : {false, true}) {
    for (const Waits waits : all_waits) {
      SCOPED_TRACE(static_cast<int>(waits));
      Nested driver;
      mq::LoopRuntime runtime{2};
      auto disk = *Nested::Disk::create({.capacity_sectors = 8, .depth = 4, .blocking = blocking},
                                        driver, runtime);
      Operation holder, quiesce, thaw, unquiesce;
      quiesce.then = [&] { EXPECT_FALSE(driver.is_inside); };
      driver.inside = [&] {
        start(*disk, waits, holder.control);
        disk->quiesce(quiesce.control);
        static_cast<void>(runtime.context(1).run());
        EXPECT_EQ(quiesce.ends, 0);
      };
      Read first, second;
      {
        const Nested::Disk::Plug plug{*disk, runtime.context(0)};
        disk->submit(runtime.context(0), first.bio);
        disk->submit(runtime.context(0), second.bio);
      }
      runtime.run();
      EXPECT_TRUE(quiesce.is_done());
      EXPECT_EQ(holder.ends, 0);
      const auto requeue = [&] {
        while (!driver.kept.empty()) {
          auto owned = std::move(driver.kept.front());
          driver.kept.pop_front();
          std::move(owned).requeue();
        }
        runtime.run();
      };
      requeue();
      EXPECT_TRUE(driver.kept.empty()) << "issued while quiesced";
      EXPECT_TRUE(holder.is_done());
      if (waits != Waits::remove) {
        Operation removal;
        disk->remove(removal.control);
        runtime.run();
        EXPECT_TRUE(removal.is_done());
      }
      EXPECT_EQ(first.ends.statuses, std::vector{Status::offline});
      EXPECT_EQ(second.ends.statuses, std::vector{Status::offline});
      disk.reset();
    }
  }
}

// Goal: a callback of a quiesce that runs the contexts lets the removal end, and the disk is
// destroyed in it.
TEST(Recovery, TheRemovalEndsInsideTheCallbackOfAQuiesce) {
  Held held{Waits::remove};
  Bench<>& bench = held.bench;
  Operation quiesce;
  held.holder.then = [&] { bench.disk.reset(); };
  quiesce.then = [&] {
    requeue_all(bench);
    for (int i = 0; i != 100; ++i) bench.runtime.run();
  };
  bench.disk->quiesce(quiesce.control);
  bench.runtime.run();
  bench.runtime.run();
  EXPECT_TRUE(held.holder.is_done());
  EXPECT_EQ(bench.disk, nullptr);
}

// --- at random -----------------------------------------------------------------------------------

class World;

/// A driver whose device is mute.
struct Mute : fake::Driver {
  explicit Mute(World& its_world) : world{its_world} {}
  Answer queue_rq(Hw& hw, QueueData&, blkown::Idle<Rq> idle, bool) override;
  mq::TimeoutAction timeout(Hw&, const blkown::ARef<Rq>&, const blkown::Cookie&) override;
  World& world;
};

/// A disk on the mute device. Each request ends because the driver resets the device: in the
/// timeout hook it quiesces the disk, then it fails or requeues what is in flight, may change the
/// number of queues, and unquiesces. Two other parties freeze, quiesce, and change queues and
/// limits. At last the disk is removed, twice.
class World {
 public:
  explicit World(std::uint64_t seed) : random_{seed}, runtime_{seed, context_count} {
    mq::DiskConfig config = two_queues();
    config.timeout_ms = 1 + static_cast<std::uint32_t>(random_.below(4));
    config.auto_kick = random_.chance(1, 2);
    removal_step_ = 100 + random_.below(1000);
    disk_ = *Mute::Disk::create(config, driver_, runtime_);
    quiesce_.then = [this] { quiesced(); };
    change_.then = [this] { unquiesce(); };
    unquiesce_.then = [this] { is_resetting_ = false; };
    for (Party& party : parties_) {
      party.doing.then = [this, &party] { undo(party); };
      party.undoing.then = [&party] { party.is_busy = false; };
    }
    removals_[0].then = [this] { disk_.reset(); };
    for (std::uint32_t i = 0; i != context_count; ++i) {
      tasks_.push_back(std::make_unique<fake::Task>([this, i] { submit(i); }));
    }
  }

  /// Runs until the disk is removed and nothing is left to run.
  void run() {
    for (std::uint64_t step = 0; disk_ != nullptr; ++step) {
      ASSERT_LT(step, 100'000U) << "the removal has not ended";
      is_removing_ = is_removing_ || step == removal_step_;
      if (step == removal_step_) disk_->remove(removals_[0].control);
      if (step == removal_step_ + 5) disk_->remove(removals_[1].control);
      act();
      static_cast<void>(runtime_.step());
    }
    ASSERT_TRUE(runtime_.run_until_idle(100'000));
    EXPECT_TRUE(removals_[0].is_done());
    EXPECT_TRUE(removals_[1].ends == 0 || removals_[1].status() == Status::offline);
    EXPECT_FALSE(removals_[1].control.is_running());
    EXPECT_FALSE(is_resetting_);
    for (const auto& read : reads_) EXPECT_EQ(read->ends.count, 1);
  }
  [[nodiscard]] int resets_during_removals() const { return resets_during_removals_; }

  void judge_issue() const {
    EXPECT_EQ(quiesced_, 0) << "queue_rq of a disk that is quiesced";
    EXPECT_EQ(frozen_, 0) << "queue_rq of a disk that is frozen";
  }
  /// Begins a reset, unless one is in progress.
  void reset() {
    if (std::exchange(is_resetting_, true)) return;
    quiesce_.ends = change_.ends = unquiesce_.ends = 0;
    disk_->quiesce(quiesce_.control);
  }

 private:
  static constexpr std::uint32_t context_count = 3;
  enum class Kind : std::uint8_t { freeze, quiesce, limits, queue_count };
  struct Party {
    Operation doing, undoing;
    Kind kind{};
    bool is_busy = false;
    bool is_held = false;
  };

  void quiesced() {
    ++quiesced_;
    if (is_removing_) ++resets_during_removals_;
    const bool fails = random_.chance(1, 2);
    for (std::uint32_t i = 0; i != disk_->hw_queue_count(); ++i) {
      disk_->hw_queue(QueueIndex{i}).for_each_in_flight([&](const auto& pin, const auto& cookie) {
        auto claim = blkown::claim(pin, cookie);
        if (!claim.has_value()) return;
        if (fails) return std::move(*claim).end(Status::timed_out);
        std::move(*claim).requeue();
      });
    }
    if (random_.chance(1, 2)) return unquiesce();
    disk_->set_queue_count(change_.control, queue_count());
  }
  void unquiesce() {
    --quiesced_;
    disk_->unquiesce(unquiesce_.control);
  }
  void hold(Party& party) {
    if (std::exchange(party.is_busy, true)) return;
    party.doing.ends = party.undoing.ends = 0;
    party.kind = static_cast<Kind>(random_.below(4));
    switch (party.kind) {
      case Kind::freeze: return disk_->freeze(party.doing.control);
      case Kind::quiesce: return disk_->quiesce(party.doing.control);
      case Kind::limits: return disk_->set_limits(party.doing.control, disk_->limits());
      case Kind::queue_count: return disk_->set_queue_count(party.doing.control, queue_count());
    }
  }
  void undo(Party& party) {
    const bool is_ok = party.doing.status() == Status::ok;
    if (party.kind == Kind::freeze && is_ok) ++frozen_;
    if (party.kind == Kind::quiesce && is_ok) ++quiesced_;
    if (party.kind == Kind::limits || party.kind == Kind::queue_count) party.is_busy = false;
    party.is_held = party.is_busy;
  }
  [[nodiscard]] std::uint32_t queue_count() {
    return 1 + static_cast<std::uint32_t>(random_.below(2));
  }
  void release(Party& party) {
    if (!std::exchange(party.is_held, false)) return;
    const bool is_ok = party.doing.status() == Status::ok;
    if (party.kind == Kind::freeze) {
      if (is_ok) --frozen_;
      return disk_->thaw(party.undoing.control);
    }
    if (is_ok) --quiesced_;
    disk_->unquiesce(party.undoing.control);
  }
  void submit(std::uint32_t context) {
    if (disk_ == nullptr || reads_.size() == 40) return;
    reads_.push_back(std::make_unique<Read>(reads_.size()));
    disk_->submit(runtime_.context(context), reads_.back()->bio);
  }
  /// Does something at random, outside of the contexts.
  void act() {
    if (disk_ == nullptr) return;
    switch (random_.below(40)) {
      case 0: return hold(parties_[0]);
      case 1: return hold(parties_[1]);
      case 2:
      case 3: return release(parties_[0]);
      case 4:
      case 5: return release(parties_[1]);
      case 6: return disk_->kick_requeued();
      case 7: {
        const auto context = static_cast<std::uint32_t>(random_.below(context_count));
        return runtime_.context(context).post(*tasks_[context]);
      }
      default: return;
    }
  }

  blkown::sim::Random random_;
  blkown::sim::DeterministicRuntime runtime_;
  Mute driver_{*this};
  std::vector<std::unique_ptr<fake::Task>> tasks_;
  std::vector<std::unique_ptr<Read>> reads_;
  std::unique_ptr<Mute::Disk> disk_;
  Operation quiesce_, change_, unquiesce_;
  std::array<Operation, 2> removals_;
  std::array<Party, 2> parties_;
  std::uint64_t removal_step_ = 0;
  bool is_resetting_ = false;
  bool is_removing_ = false;
  int quiesced_ = 0;
  int frozen_ = 0;
  int resets_during_removals_ = 0;
};

Mute::Answer Mute::queue_rq(Hw&, QueueData&, blkown::Idle<Rq> idle, bool) {
  world.judge_issue();
  std::move(idle).start().publish([](const blkown::Cookie&) {});
  return Answer::accepted();
}
mq::TimeoutAction Mute::timeout(Hw&, const blkown::ARef<Rq>&, const blkown::Cookie&) {
  world.reset();
  return mq::TimeoutAction::rearm;
}

// Goal: with resets, two other parties and two removals in every order, each removal ends, each
// bio ends once, and no request is issued while a party has the disk quiesced or frozen.
TEST(Recovery, FromSeeds) {
  int resets_during_removals = 0;
  for (std::uint64_t seed = 0; seed != 300; ++seed) {
    SCOPED_TRACE(seed);
    World world{seed};
    world.run();
    if (HasFailure()) std::exit(1);  // a running Control may not be destroyed
    resets_during_removals += world.resets_during_removals();
  }
  EXPECT_GT(resets_during_removals, 100);
}

// --- on threads ----------------------------------------------------------------------------------

/// A driver whose requests end because a thread resets the device.
struct Kept : fake::Driver {
  Answer queue_rq(Hw&, QueueData&, blkown::Idle<Rq> idle, bool) override {
    if (is_quiesced.load(std::memory_order_relaxed)) calls_while_quiesced.fetch_add(1);
    const std::lock_guard lock{mutex};
    kept.push_back(std::move(idle).start());
    return Answer::accepted();
  }
  void commit_rqs(Hw&, QueueData&) override {}
  /// Ends half of what the driver has, and requeues the other half.
  void give_up() {
    const std::lock_guard lock{mutex};
    for (bool ends = false; !kept.empty(); ends = !ends) {
      auto owned = std::move(kept.front());
      kept.pop_front();
      if (ends) {
        std::move(owned).end_ok();
      } else {
        std::move(owned).requeue();
      }
    }
  }
  std::mutex mutex;  // guards `kept`
  std::atomic<bool> is_quiesced{false};
  std::atomic<int> calls_while_quiesced{0};
};

/// A bio that is submitted again at each end, until the disk is removed.
struct Again {
  static void on_end(void* self, mq::Bio& bio) {
    auto& its = *static_cast<Again*>(self);
    if (bio.status() != Status::offline) return its.disk->submit(bio);
    its.is_over.set();
  }
  Kept::Disk* disk = nullptr;
  std::vector<std::byte> memory = std::vector<std::byte>(512);
  mq::Bio bio = mq::Bio::read(0, fake::whole(memory), {&on_end, this});
  mq::Event is_over;
};

// Goal: threads that are no contexts reset the device, freeze the disk and change its queues while
// another one removes the disk. Every operation ends.
TEST(Recovery, OnThreads) {
  for (int round = 0; round != 20; ++round) {
    Kept driver;
    std::array<Again, 4> bios;
    mq::ThreadRuntime runtime{3};
    auto disk = *Kept::Disk::create(two_queues(), driver, runtime);
    for (std::uint32_t i = 0; i != bios.size(); ++i) {
      bios[i].disk = disk.get();
      runtime.run_on(i % 3, [&] { disk->submit(bios[i].bio); });
    }
    std::atomic<int> resets{0};
    std::atomic<bool> is_removed{false};
    std::thread reset{[&] {
      while (!is_removed.load()) {
        static_cast<void>(mq::run_and_wait(runtime, [&](auto& c) { disk->quiesce(c); }));
        driver.is_quiesced = !is_removed.load();
        driver.give_up();
        driver.is_quiesced = false;
        static_cast<void>(mq::run_and_wait(runtime, [&](auto& c) { disk->unquiesce(c); }));
        ++resets;
      }
    }};
    std::thread party{[&] {
      for (std::uint32_t i = 0; !is_removed.load(); ++i) {
        static_cast<void>(mq::run_and_wait(runtime, [&](auto& c) { disk->freeze(c); }));
        static_cast<void>(
            mq::run_and_wait(runtime, [&](auto& c) { disk->set_queue_count(c, 1 + i % 2); }));
        static_cast<void>(mq::run_and_wait(runtime, [&](auto& c) { disk->thaw(c); }));
      }
    }};
    while (resets.load() < 20) std::this_thread::yield();
    EXPECT_EQ(mq::remove(runtime, *disk), Status::ok);
    is_removed = true;
    reset.join();
    party.join();
    for (Again& again : bios) runtime.wait_for(again.is_over);
    EXPECT_EQ(driver.calls_while_quiesced, 0);
    for (std::uint32_t i = 0; i != 3; ++i) runtime.run_on(i, [] {});
    disk.reset();
  }
}

}  // namespace
}  // namespace recovery
