// SPDX-License-Identifier: BSL-1.0
//
// Goal: a driver of the block layer survives every fault of a controller: every bio ends once, the
// copy equals the source, no memory stays mapped, and after every step all invariants hold.
// Method: the driver of mq_nvme_driver.hpp copies one disk to another, once for each seed;
// then the same on threads.

#include <gtest/gtest.h>

#include <blkown/aref.hpp>
#include <blkown/mq/bio.hpp>
#include <blkown/mq/thread_runtime.hpp>
#include <blkown/sim/device/controller_observer.hpp>
#include <blkown/sim/harness/deterministic_runtime.hpp>
#include <blkown/sim/harness/history.hpp>
#include <blkown/sim/harness/invariant_checker.hpp>
#include <cstring>
#include <utility>
#include <vector>

#include "dma_round_trip/copier.hpp"
#include "sim/mq_machine.hpp"
#include "stress/effort.hpp"

namespace {

using namespace round_trip;

constexpr std::size_t disk_bytes = 1 << 20;

/// Two disks: a source with content, and an empty destination.
template <class Rt>
struct Bench {
  Bench(Rt& its_runtime, std::uint64_t seed, const sim::FaultRates& rates)
      : runtime{its_runtime},
        source{runtime, from, config(2 * seed, rates)},
        destination{runtime, to, config(2 * seed + 1, rates)} {
    std::vector<std::byte> content(disk_bytes);
    for (std::size_t i = 0; i != disk_bytes; ++i) content[i] = std::byte(i * 7 + i / 512 + seed);
    EXPECT_TRUE(from.write(0, content));
  }

  static MachineConfig config(std::uint64_t seed, const sim::FaultRates& rates) {
    return {.depth = 8, .timeout_ms = 5, .seed = seed, .rates = rates};
  }
  /// Shuts both machines down and compares the disks.
  void finish(std::uint64_t copied_bytes) {
    EXPECT_EQ(copied_bytes, disk_bytes);
    EXPECT_TRUE(source.shut_down(runtime));
    EXPECT_TRUE(destination.shut_down(runtime));
    EXPECT_EQ(std::memcmp(from.bytes().data(), to.bytes().data(), disk_bytes), 0);
  }

  Rt& runtime;
  sim::MemoryMedia from{disk_bytes};
  sim::MemoryMedia to{disk_bytes};
  Machine source;
  Machine destination;
};

/// Four times the kit's rates, because a copy has fewer I/Os than a run of the kit.
sim::FaultRates many() {
  sim::FaultRates rates = sim::FaultRates::all();
  for (std::uint32_t& rate : rates.of) rate *= 4;
  return rates;
}

TEST(MqAdversary, ADriverSurvivesEachSeed) {
  const auto seeds = static_cast<std::uint64_t>(stress::scaled(60, 6));
  std::uint64_t strikes = 0, resets = 0, rejected = 0;
  for (std::uint64_t seed = 0; seed != seeds; ++seed) {
    SCOPED_TRACE(seed);
    sim::DeterministicRuntime runtime{seed, 4};
    Bench bench{runtime, seed, many()};
    std::vector<std::unique_ptr<sim::History>> histories;
    std::vector<sim::InvariantChecker<Nvme::Rq>> checks;
    for (Machine* machine : {&bench.source, &bench.destination}) {
      histories.push_back(std::make_unique<sim::History>());
      checks.emplace_back(machine->disk()->pool().tags(), machine->device(), machine->iommu(),
                          *histories.back());
    }
    Copier copier{*bench.source.disk(), *bench.destination.disk()};
    for (std::uint32_t i = 0; i != 3; ++i) copier.start_on(runtime.context(i), 3);
    while (!copier.done().is_set()) {
      ASSERT_TRUE(runtime.step()) << "no work is left, but the copy is not done";
      for (std::size_t i = 0; i != checks.size(); ++i) {
        histories[i]->begin_event("step", runtime.now_ns());
        const bool is_well = checks[i].after_event();
        const sim::Finding& finding = checks[i].finding();
        if (!is_well) histories[i]->print(stdout, finding.queue, finding.tag, 12);
        ASSERT_TRUE(is_well) << finding.what << ", queue " << finding.queue.value << ", tag "
                             << finding.tag.value << ", step " << runtime.steps();
      }
    }
    EXPECT_EQ(copier.status(), blkown::Status::ok);
    strikes += bench.source.faults().struck().size() + bench.destination.faults().struck().size();
    resets += bench.source.driver().resets() + bench.destination.driver().resets();
    for (const auto count : bench.source.disk()->counters().rejected_lookups) rejected += count;
    bench.finish(copier.copied_bytes());
    if (HasFailure()) return;
  }
  EXPECT_GT(strikes, 5 * seeds);
  EXPECT_GT(resets, 0U);
  EXPECT_GT(rejected, seeds);
}

void copy_on_threads(std::uint64_t seed, const sim::FaultRates& rates) {
  mq::ThreadRuntime runtime{4};
  Bench bench{runtime, seed, rates};
  Copier copier{*bench.source.disk(), *bench.destination.disk()};
  for (std::uint32_t i = 0; i != 3; ++i) copier.start_on(runtime.context(i), 3);
  runtime.wait_for(copier.done());
  EXPECT_EQ(copier.status(), blkown::Status::ok);
  bench.finish(copier.copied_bytes());
}

TEST(MqAdversary, OnThreadsWithoutFaults) {
  for (std::uint64_t seed = 0; seed != 4; ++seed) copy_on_threads(seed, sim::FaultRates::none());
}

TEST(MqAdversary, OnThreadsWithFaults) {
  for (std::uint64_t seed = 0; seed != 4; ++seed) {
    SCOPED_TRACE(seed);
    copy_on_threads(seed, many());
  }
}

/// Pins what is in flight when the controller refuses its first command, as a table of requests
/// does.
class PinsAtRefusal : public sim::ControllerObserver {
 public:
  explicit PinsAtRefusal(Machine& machine) : machine_{machine} {
    static_cast<void>(machine.controller().stop());
    machine.controller().set_observer(this);
    // The forged completion stays in its ring, so that the driver gets the Claim back.
    machine.controller().set_hooks({});
    machine.controller().start();
  }
  ~PinsAtRefusal() override { machine_.controller().set_observer(nullptr); }

  [[nodiscard]] std::size_t count() const { return pins_.size(); }
  void drop() { pins_.clear(); }

  void command_fetched(std::uint32_t, const sim::SubmissionEntry&) override {}
  void command_refused(std::uint32_t queue, const sim::SubmissionEntry&) override {
    if (std::exchange(has_pinned_, true)) return;
    machine_.disk()
        ->hw_queue(blkown::QueueIndex{queue})
        .for_each_in_flight([this](const blkown::ARef<Nvme::Rq>& pin, const blkown::Cookie&) {
          pins_.push_back(pin);
        });
  }
  void command_done(std::uint32_t, const sim::SubmissionEntry&) override {}
  void entry_posted(std::uint32_t, std::uint64_t, bool) override {}
  void entry_taken(std::uint32_t) override {}
  void stopped() override {}

 private:
  Machine& machine_;
  bool has_pinned_ = false;
  std::vector<blkown::ARef<Nvme::Rq>> pins_;
};

// Goal: a request that another party pins while its doorbell is refused is issued again. A Claim
// with pins does not become an Owned.
TEST(MqAdversary, ARefusedRequestThatIsPinnedIsIssuedAgain) {
  sim::DeterministicRuntime runtime{1, 2};
  sim::MemoryMedia medium{disk_bytes};
  sim::FaultRates rates = sim::FaultRates::none();
  rates[sim::FaultKind::refused_and_forged] = 65536;
  Machine machine{runtime, medium, {.depth = 8, .timeout_ms = 5, .rates = rates}};
  ASSERT_NE(machine.disk(), nullptr);
  PinsAtRefusal pins{machine};
  std::vector<std::byte> memory(512);
  auto bio = mq::Bio::read(0, blkown::Segment{memory.data(), memory.size()}, {});
  machine.disk()->submit(runtime.context(0), bio);
  EXPECT_EQ(pins.count(), 1U);
  EXPECT_EQ(machine.disk()->counters().requeued_requests, 0U);
  pins.drop();
  ASSERT_TRUE(runtime.step());
  EXPECT_GE(machine.disk()->counters().requeued_requests, 1U);
  machine.driver().interrupt(blkown::QueueIndex{0});  // a forged completion of a refused command
  EXPECT_TRUE(machine.shut_down(runtime));
}

}  // namespace
