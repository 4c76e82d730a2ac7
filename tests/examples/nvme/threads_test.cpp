// SPDX-License-Identifier: BSL-1.0
//
// The driver of examples/nvme on threads: two contexts submit, a third one runs the controller, and
// the test's own thread resets it.

#include <gtest/gtest.h>
#include <array>
#include <atomic>
#include <blkown/mq/mq.hpp>
#include <blkown/mq/sync.hpp>
#include <blkown/mq/thread_runtime.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "examples/nvme/machine.hpp"
#include "examples/nvme/verifier.hpp"

namespace {

namespace mq = blkown::mq;
namespace sim = blkown::sim;
using blkown::Status;
using nvme_test::Verifier;
using Threads = nvme_test::MachineOn<blkown::mq::ThreadRuntime>;

/// Two verifiers on each disk, with 16 ranges of 4 KiB to 64 KiB each.
[[nodiscard]] std::vector<std::unique_ptr<Verifier>> begin(Threads& machine) {
  std::vector<std::unique_ptr<Verifier>> verifiers;
  for (std::uint32_t lane = 0; lane != 8; ++lane) {
    std::vector<Verifier::Range> ranges;
    for (std::size_t i = 0; i != 16; ++i) {
      ranges.push_back({lane * 512, std::size_t{4096} << (i % 5), 4 * i});
    }
    verifiers.push_back(std::make_unique<Verifier>(
        machine.disk(lane % 2), machine.runtime.context(lane / 2 % Threads::submitters), ranges));
  }
  return verifiers;
}

TEST(NvmeDriverOnThreads, IoIsVerifiedOnSeveralQueues) {
  nvme_test::MachineConfig config;
  config.timeout_ms = 20'000;
  Threads machine{config};
  ASSERT_TRUE(machine.start());
  const auto verifiers = begin(machine);
  for (const auto& verifier : verifiers) {
    ASSERT_TRUE(machine.runtime.wait_for(verifier->done()));
    EXPECT_TRUE(verifier->failures().empty());
  }
  EXPECT_NE(machine.registers.submission_doorbells(1), 0U);
  EXPECT_NE(machine.registers.submission_doorbells(2), 0U);
  for (const auto& disk : machine.disks) {
    EXPECT_EQ(disk->counters().timed_out_requests, 0U) << "a timeout repairs a lost completion";
  }
  EXPECT_TRUE(machine.shut_down());
}

TEST(NvmeDriverOnThreads, ResetsUnderIoLoseNothing) {
  nvme_test::MachineConfig config;
  config.driver.max_tries = 1'000;
  Threads machine{config};
  ASSERT_TRUE(machine.start());
  const auto verifiers = begin(machine);
  for (const auto& verifier : verifiers) {
    while (!verifier->done().is_set()) {
      machine.driver->reset();
      while (machine.driver->is_resetting()) std::this_thread::yield();
    }
    EXPECT_TRUE(verifier->failures().empty());
  }
  EXPECT_NE(machine.driver->resets(), 0U);
  EXPECT_FALSE(machine.driver->is_offline());
  EXPECT_TRUE(machine.shut_down());
}

/// The driver, which tells of completions that were looked up before their queue's gate is left.
class TellingDriver : public nvme_driver::DriverOf<TellingDriver, nvme_test::WatchedRegisters,
                                                   sim::Iommu, nvme_test::SteppedPlatform> {
 public:
  using DriverOf::DriverOf;

  std::function<void()> on_taken;  ///< Changes while no I/O is in flight.

 private:
  friend DriverOf;
  friend IoPath;

  void take(Hw& lookup, std::span<const nvme_driver::CompletionEntry> taken, Caller caller) {
    IoPath::take(lookup, taken, caller);
    if (on_taken) on_taken();
  }
};

using Telling = nvme_test::MachineOn<mq::ThreadRuntime, TellingDriver>;

/// Holds the gate of the first I/O queue: a thread takes a completion, and stays in the gate until
/// it is let go. The completion's I/O ends.
class HeldGate {
 public:
  explicit HeldGate(Telling& machine) : machine_{machine} {}
  HeldGate(const HeldGate&) = delete;
  HeldGate& operator=(const HeldGate&) = delete;
  ~HeldGate() { let_go(); }

  /// Reads from `disk`, and takes the completion.
  /// Precondition: no I/O is in flight.
  void hold(Telling::Disk& disk) {
    machine_.driver->on_taken = [this] { stay(); };
    machine_.lost_interrupts = 1;
    thread_ = std::thread{[this] {
      while (!is_held_.load()) machine_.driver->interrupt(1);
    }};
    std::vector<std::byte> memory(4096);
    EXPECT_EQ(mq::read(machine_.runtime, disk, 0, memory), Status::ok);
    while (!is_held_.load()) std::this_thread::yield();
  }
  void let_go() {
    is_let_go_.store(true);
    if (thread_.joinable()) thread_.join();
  }

 private:
  void stay() {
    if (is_held_.exchange(true)) return;
    while (!is_let_go_.load()) std::this_thread::yield();
  }

  Telling& machine_;
  std::atomic<bool> is_held_{false};
  std::atomic<bool> is_let_go_{false};
  std::thread thread_;
};

/// Stops the first thread that waits for the gate until the test lets it go on, at most 200 ms: a
/// removal that has to wait for the stopped one never lets it go on.
class StoppedWaiter {
 public:
  void on_pause() {
    if (is_stopped_.exchange(true)) return;
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds{200};
    while (!is_let_go_.load() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  }
  void wait_until_stopped() const {
    while (!is_stopped_.load()) std::this_thread::yield();
  }
  void let_go() { is_let_go_.store(true); }

 private:
  std::atomic<bool> is_stopped_{false};
  std::atomic<bool> is_let_go_{false};
};

TEST(NvmeDriverOnThreads, ARemovedDiskLeavesItsLookupsToNoneThatIsRemovedAtTheSameTime) {
  nvme_test::MachineConfig config;
  config.timeout_ms = 20'000;
  Telling machine{config};
  ASSERT_TRUE(machine.start());
  // Disk 0 has the lookups, and disk 1 stays. The last one has contexts of its own: its removal
  // goes on while the removal of disk 0 keeps a context of the machine.
  mq::ThreadRuntime own{1};
  const nvme_driver::NamespaceInfo info = machine.disk(1).queue_data();
  auto last = *Telling::Disk::create(machine.disk(1).config(), *machine.driver, own, info,
                                     machine.pool.get());
  std::atomic<unsigned> lookups{0};
  last->set_trace({[](void* count, const mq::TraceEvent& event) {
                     if (event.step != mq::TraceStep::looked_up) return;
                     static_cast<std::atomic<unsigned>*>(count)->fetch_add(1);
                   },
                   &lookups});
  StoppedWaiter waiter;
  HeldGate gate{machine};
  gate.hold(machine.disk(1));
  machine.platform.on_pause = [&] { waiter.on_pause(); };
  std::thread first_removal{
      [&] { EXPECT_EQ(mq::remove(machine.runtime, machine.disk(0)), Status::ok); }};
  waiter.wait_until_stopped();
  gate.let_go();
  EXPECT_EQ(mq::remove(own, *last), Status::ok);
  waiter.let_go();
  first_removal.join();
  std::vector<std::byte> memory(4096);
  EXPECT_EQ(mq::read(machine.runtime, machine.disk(1), 0, memory), Status::ok);
  EXPECT_EQ(lookups.load(), 0U) << "of the removed disk";
  last.reset();
  machine.platform.on_pause = {};
  EXPECT_TRUE(machine.shut_down());
}

/// A read on each context of a runtime.
class Reads {
 public:
  Reads(mq::ThreadRuntime& runtime, Telling::Disk& disk) {
    for (std::uint32_t i = 0; i != runtime.context_count(); ++i) {
      One& one = *all_.emplace_back(std::make_unique<One>());
      runtime.run_on(i, [&, i] { disk.submit(runtime.context(i), one.bio); });
    }
  }
  /// The number of reads that have ended well. Waits for them, at most ten seconds.
  [[nodiscard]] int good() const {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{10};
    int count = 0;
    for (const auto& one : all_) {
      while (one->result.load() == 0 && std::chrono::steady_clock::now() < end) {
        std::this_thread::yield();
      }
      if (one->result.load() == 1) ++count;
    }
    return count;
  }

 private:
  struct One {
    std::vector<std::byte> memory = std::vector<std::byte>(4096);
    std::array<blkown::Segment, 1> pieces{blkown::Segment{memory.data(), memory.size()}};
    std::atomic<int> result{0};  // 1: ended well; -1: ended with an error
    mq::Bio bio = mq::Bio::read(0, pieces,
                                {[](void* self, mq::Bio& its) {
                                   const bool is_good = its.status() == Status::ok;
                                   static_cast<One*>(self)->result.store(is_good ? 1 : -1);
                                 },
                                 this});
  };

  std::vector<std::unique_ptr<One>> all_;
};

// Goal: a disk that is made while the last other one is removed has its completions looked up.
// Method: the removal stops after it has found no other disk, and before it has left the lookups:
// the gate of the first queue is held.
TEST(NvmeDriverOnThreads, ANewDiskKeepsItsLookupsWhileTheLastOtherOneIsRemoved) {
  nvme_test::MachineConfig config;
  config.timeout_ms = 20'000;
  Telling machine{config};
  ASSERT_TRUE(machine.start());
  const mq::DiskConfig disk_config = machine.disk(1).config();
  const nvme_driver::NamespaceInfo info = machine.disk(1).queue_data();
  ASSERT_EQ(mq::remove(machine.runtime, machine.disk(1)), Status::ok);
  machine.disks.pop_back();
  mq::ThreadRuntime own{2};
  StoppedWaiter waiter;
  HeldGate gate{machine};
  gate.hold(machine.disk(0));
  machine.platform.on_pause = [&] { waiter.on_pause(); };
  std::thread removal{[&] { EXPECT_EQ(mq::remove(machine.runtime, machine.disk(0)), Status::ok); }};
  waiter.wait_until_stopped();
  gate.let_go();
  auto made = Telling::Disk::create(disk_config, *machine.driver, own, info, machine.pool.get());
  waiter.let_go();
  removal.join();
  ASSERT_TRUE(made.has_value()) << to_string(made.error().reason);
  const Reads reads{own, **made};
  const int good = reads.good();
  EXPECT_EQ(good, 2) << "completions are looked up for the new disk";
  if (good != 2) machine.driver->removed();  // ends those that were not looked up
  EXPECT_EQ(mq::remove(own, **made), Status::ok);
  while (machine.driver->is_resetting()) std::this_thread::yield();
  made->reset();
  machine.platform.on_pause = {};
  EXPECT_TRUE(machine.shut_down());
}

}  // namespace
