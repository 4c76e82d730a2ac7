// SPDX-License-Identifier: BSL-1.0
//
// The rings, doorbells and hooks of a Controller, and its stop and start.
// controller_command_test.cpp tests commands.

#include <gtest/gtest.h>

#include <array>
#include <blkown/dma/coherent.hpp>
#include <optional>
#include <string>

#include "sim/controller_bench.hpp"

namespace sim_test {
namespace {

// --- rings ---------------------------------------------------------------------------------------

TEST(ControllerRing, ThePhaseTurnsWithEachRound) {
  Bench bench;
  for (std::uint64_t i = 0; i != 5 * Bench::entries; ++i) {
    ASSERT_EQ(bench.carry_out(bench.command(Opcode::flush, i)),
              (Completions{{i, DeviceStatus::success, 0}}))
        << i;
    EXPECT_EQ(bench.submission_head, (i + 1) % Bench::entries);
  }
}

TEST(ControllerRing, FetchesEverythingUpToTheDoorbell) {
  Bench bench;
  for (std::uint64_t i = 0; i != Bench::entries - 1; ++i) {
    EXPECT_TRUE(bench.submit(bench.command(Opcode::flush, i)));
  }
  EXPECT_EQ(bench.controller.command_count(), 0U);
  for (std::size_t i = 0; i != Bench::entries - 1; ++i) {
    EXPECT_EQ(bench.controller.next_ns(), 0U) << "a command can be fetched";
    EXPECT_TRUE(bench.controller.step(0));
    EXPECT_EQ(bench.controller.command_count(), i + 1);
  }
  EXPECT_NE(bench.controller.next_ns(), 0U);
  bench.run();
  EXPECT_EQ(bench.completions().size(), Bench::entries - 1);
  EXPECT_EQ(bench.controller.next_ns(), std::nullopt);
  EXPECT_FALSE(bench.controller.step(~std::uint64_t{0}));
  EXPECT_EQ(bench.controller.command_count(), 0U);
}

TEST(ControllerRing, CountsDoorbellsFetchesExecutionsAndCompletions) {
  Bench bench;
  static_cast<void>(bench.carry_out(bench.command(Opcode::flush, 0x11)));
  EXPECT_EQ(bench.controller.events(), 5U);
}

TEST(ControllerRing, LosesACompletionIfTheRingIsFull) {
  Bench bench;
  for (std::uint64_t i = 0; i != 2 * (Bench::entries - 1); ++i) {
    EXPECT_TRUE(bench.submit(bench.command(Opcode::flush, i)));
    bench.run();
  }
  const Completions seen = bench.completions();
  ASSERT_EQ(seen.size(), Bench::entries - 1) << "n - 1 of n entries, none of them overwritten";
  for (std::uint64_t i = 0; i != seen.size(); ++i) EXPECT_EQ(seen[i].cookie, i);
  EXPECT_EQ(bench.interrupts.size(), Bench::entries - 1);
  EXPECT_EQ(bench.carry_out(bench.command(Opcode::flush, 0x99)).size(), 1U) << "room again";
}

TEST(ControllerRing, RefusesADoorbellBeyondTheRing) {
  Bench bench;
  EXPECT_FALSE(bench.controller.ring_submission(0, Bench::entries));
  EXPECT_FALSE(bench.controller.ring_submission(0, ~std::uint32_t{0}));
  EXPECT_EQ(bench.controller.next_ns(), std::nullopt);
  EXPECT_EQ(bench.wakes, 0);
  static_cast<void>(bench.carry_out(bench.command(Opcode::flush, 0x11)));
  ASSERT_TRUE(bench.submit(bench.command(Opcode::flush, 0x12)));
  bench.run();
  bench.controller.ring_completion(0, 77);
  EXPECT_EQ(bench.completions().size(), 1U) << "only one entry was there";
}

TEST(ControllerRing, AMissingQueuePairTakesNoCommand) {
  for (const FaultKind kind : {FaultKind::reset, FaultKind::refused_and_forged}) {
    Bench bench{{{kind, 0}}};
    Controller other{
        {.device_id = 1, .queue_pairs = 2}, bench.iommu, bench.device, bench.media, &bench.plan};
    other.start();
    EXPECT_FALSE(other.ring_submission(1, 0));
    EXPECT_FALSE(other.ring_submission(1, 1));
    other.ring_completion(1, 1);
    EXPECT_FALSE(other.step(0));
  }
}

TEST(ControllerRing, AnUnmappedRingIsAFailure) {
  Bench bench;
  static_cast<void>(bench.controller.stop());
  bench.controller.create_queue_pair(0, {.submission_iova = 0x1000,
                                         .submission_entries = Bench::entries,
                                         .completion_iova = 0x2000,
                                         .completion_entries = Bench::entries});
  bench.controller.start();
  EXPECT_TRUE(bench.submit(bench.command(Opcode::flush, 0x11)));
  bench.run();
  EXPECT_EQ(bench.failures, 1);
  EXPECT_EQ(bench.iommu.faults().at(0).iova, 0x1000U);
}

TEST(ControllerRing, QueuesAreIndependent) {
  Bench bench;
  EXPECT_TRUE(bench.submit(bench.command(Opcode::flush, 0x11), 0));
  EXPECT_TRUE(bench.submit(bench.command(Opcode::flush, 0x12), 1));
  bench.run();
  EXPECT_EQ(bench.completions(0), (Completions{{0x11, DeviceStatus::success, 0}}));
  EXPECT_EQ(bench.completions(1), (Completions{{0x12, DeviceStatus::success, 0}}));
}

TEST(ControllerRing, TheSameSeedTakesTheSameTimes) {
  const auto times = [](std::uint64_t seed) {
    ControllerConfig config = Bench::two_queues();
    config.longest_ns = 50'000;
    config.seed = seed;
    Bench bench{{}, config};
    std::string text;
    for (int i = 0; i != 20; ++i) {
      static_cast<void>(bench.carry_out(bench.command(Opcode::flush, 0x11)));
      text += std::to_string(bench.now_ns) + ' ';
    }
    return text;
  };
  EXPECT_EQ(times(1), times(1));
  EXPECT_NE(times(1), times(2));
}

// Goal: a latency near the end of the clock does not come early.
TEST(ControllerRing, ALatencyPastTheEndOfTheClockDoesNotComeEarly) {
  ControllerConfig config = Bench::two_queues();
  config.late_ns = ~std::uint64_t{0};
  Bench bench{{{FaultKind::late, 0}}, config};
  bench.now_ns = 5'000;
  ASSERT_TRUE(bench.submit(bench.command(Opcode::flush, 0x11)));
  bench.run(bench.now_ns + 1'000'000'000);
  EXPECT_EQ(bench.completions(), Completions{});
  EXPECT_EQ(bench.controller.next_ns(), ~std::uint64_t{0});

  // One command in eight takes no time. Each of the others takes at least a second.
  config.late_ns = 0;
  config.shortest_ns = 1'000'000'000;
  for (const std::uint64_t longest_ns : {std::uint64_t{1} << 33, ~std::uint64_t{0}}) {
    config.longest_ns = longest_ns;
    int early = 0;
    for (config.seed = 0; config.seed != 64; ++config.seed) {
      Bench other{{}, config};
      ASSERT_TRUE(other.submit(other.command(Opcode::flush, 0x11)));
      other.run(999'999'999);
      if (!other.completions().empty()) ++early;
    }
    EXPECT_LT(early, 20);
  }
}

// --- stop and start ------------------------------------------------------------------------------

TEST(ControllerStop, AStoppedControllerTakesNoCommand) {
  Bench bench;
  static_cast<void>(bench.controller.stop());
  EXPECT_FALSE(bench.submit(bench.command(Opcode::flush, 0x11)));
  EXPECT_FALSE(bench.controller.step(~std::uint64_t{0}));
  EXPECT_EQ(bench.controller.next_ns(), std::nullopt);
}

TEST(ControllerStop, ForgetsAllCommands) {
  Bench bench{{{FaultKind::late, 1}}};
  static_cast<void>(bench.carry_out(bench.command(Opcode::flush, 0x10)));  // taken out
  ASSERT_TRUE(bench.submit(bench.command(Opcode::write, 0x11)));           // late
  ASSERT_TRUE(bench.submit(bench.command(Opcode::write, 0x12, 1)));        // done
  bench.run(bench.now_ns + 500'000);
  ASSERT_TRUE(bench.submit(bench.command(Opcode::write, 0x13, 2)));  // not fetched
  EXPECT_EQ(bench.oracle.unaccounted(), 1U);
  static_cast<void>(bench.controller.stop());
  EXPECT_EQ(bench.oracle.unaccounted(), 0U);
  EXPECT_EQ(bench.controller.command_count(), 0U);
  for (const std::uint64_t cookie : {0x10U, 0x11U, 0x12U, 0x13U}) {
    EXPECT_EQ(bench.note_lookup(0, cookie, true), LookupTruth::wrong_claim) << cookie;
  }
  EXPECT_TRUE(bench.false_completions.empty());
}

// Goal: the proof of stop() is true. After it the controller touches no memory, rings included.
TEST(ControllerStop, AccessesNoMemoryAfterwards) {
  Bench bench{{{FaultKind::dma_after_unmap, 0}, {FaultKind::late, 1}}};
  static_cast<void>(bench.submit(bench.command(Opcode::read, 0x11)));
  while (bench.take().empty()) {
    if (!bench.controller.step(bench.now_ns)) bench.now_ns += 1000;
  }
  static_cast<void>(bench.submit(bench.command(Opcode::read, 0x12)));
  static_cast<void>(bench.controller.step(bench.now_ns));
  static_cast<void>(bench.submit(bench.command(Opcode::read, 0x13)));
  static_cast<void>(bench.controller.stop());
  bench.iommu.unmap({.iova = 0x10000, .length_bytes = 4096 * 4096});
  ASSERT_EQ(bench.iommu.mapped_pages(), 0U);
  static_cast<void>(bench.note_lookup(0, 0x13, true));
  bench.acknowledge();
  bench.run();
  bench.controller.start();
  bench.run();
  EXPECT_EQ(bench.iommu.fault_counts().total(), 0U);
}

TEST(ControllerStop, ProvesTheEndOfMappingsMadeBefore) {
  Bench bench;
  using Memory = blkown::dma::Coherent<Iommu>;
  auto before = Memory::allocate(bench.device, 64);
  ASSERT_TRUE(before.has_value());
  const blkown::dma::EndProof proof = bench.controller.stop();
  auto after = Memory::allocate(bench.device, 64);
  ASSERT_TRUE(after.has_value());
  EXPECT_TRUE((*std::move(before)).free(proof).has_value());
  auto kept = (*std::move(after)).free(proof);
  ASSERT_FALSE(kept.has_value()) << "mapped since";
  EXPECT_TRUE(std::move(kept.error()).free(bench.controller.stop()).has_value());
}

TEST(ControllerStop, RingsStartAgainWithTheFirstPhase) {
  Bench bench;
  for (std::uint64_t i = 0; i != Bench::entries + 3; ++i) {
    static_cast<void>(bench.carry_out(bench.command(Opcode::flush, i)));
  }
  EXPECT_TRUE(bench.submit(bench.command(Opcode::write, 0x11)));
  static_cast<void>(bench.controller.stop());
  bench.reset_rings();
  bench.controller.start();
  bench.run();
  EXPECT_TRUE(bench.completions().empty()) << "what was submitted before the stop is gone";
  EXPECT_EQ(bench.carry_out(bench.command(Opcode::write, 0x12)),
            (Completions{{0x12, DeviceStatus::success, 512}}));
  EXPECT_EQ(bench.submission_head, 1U);
}

TEST(ControllerStop, ADestroyedControllerObservesNoMaps) {
  Bench bench;
  FaultPlan none_left{1, Script{{FaultKind::map_failure, 0}, {FaultKind::map_failure, 1}}};
  std::byte byte{};
  const Cookie cookie{.value = 1, .generation = {1}, .tag = {}, .queue = {}};
  {
    const Controller other{{}, bench.iommu, bench.device, bench.media, &none_left};
    EXPECT_FALSE(bench.iommu.map({&byte, 1}, Direction::to_device, cookie).has_value());
  }
  EXPECT_TRUE(bench.iommu.map({&byte, 1}, Direction::to_device, cookie).has_value());
}

// --- hooks ---------------------------------------------------------------------------------------

TEST(ControllerHook, EachCompletionIsAnInterruptAndEachDoorbellAWake) {
  Bench bench;
  EXPECT_TRUE(bench.submit(bench.command(Opcode::flush, 0x11), 1));
  EXPECT_EQ(bench.wakes, 1);
  EXPECT_TRUE(bench.interrupts.empty());
  bench.run();
  EXPECT_EQ(bench.interrupts, std::vector<std::uint32_t>{1});
  EXPECT_EQ(bench.failures, 0);
}

TEST(ControllerHook, IsOptional) {
  Bench bench{{{FaultKind::reset, 1}}};
  bench.controller.set_hooks({});
  EXPECT_EQ(bench.carry_out(bench.command(Opcode::flush, 0x11)).size(), 1U);
  EXPECT_TRUE(bench.submit(bench.command(Opcode::flush, 0x12)));
  EXPECT_EQ(bench.note_lookup(0, 0x12, true), LookupTruth::fits);
  bench.run();
  EXPECT_TRUE(bench.controller.has_failed());
}

TEST(ControllerHook, TheLastOf64QueuesInterruptsToo) {
  ControllerConfig config = Bench::two_queues();
  config.queue_pairs = 64;
  Bench bench{{}, config};
  for (const std::uint32_t queue : {63U, 0U, 62U}) {
    EXPECT_TRUE(bench.submit(bench.command(Opcode::flush, 0x11), queue));
    bench.run();
    EXPECT_EQ(bench.completions(queue).size(), 1U);
  }
  EXPECT_EQ(bench.interrupts, (std::vector<std::uint32_t>{63, 0, 62}));
}

/// Every hook calls the controller, as drivers do. A hook called with the lock held would deadlock.
struct Calling {
  explicit Calling(Bench& its_bench) : bench{its_bench} {
    bench.controller.set_hooks({.argument = this,
                                .interrupt = [](void* self, std::uint32_t) { call(self, 0); },
                                .failed = [](void* self) { call(self, 1); },
                                .wake = [](void* self) { call(self, 2); }});
  }
  static void call(void* self, std::size_t which) {
    Calling& calling = *static_cast<Calling*>(self);
    ++calling.counts[which];
    Controller& controller = calling.bench.controller;
    if (which == 1) static_cast<void>(controller.stop());
    if (calling.is_within) return;
    calling.is_within = true;
    static_cast<void>(controller.events());
    static_cast<void>(controller.step(0));
    static_cast<void>(controller.next_ns());
    static_cast<void>(controller.disown(1, 0x77));
    calling.bench.acknowledge();
    calling.is_within = false;
  }
  Bench& bench;
  std::array<int, 3> counts{};
  bool is_within = false;
};

TEST(ControllerHook, IsCalledWithoutTheLock) {
  Bench bench{{{FaultKind::reset, 2}, {FaultKind::before_publish, 0}}};
  Calling calling{bench};
  ASSERT_TRUE(bench.submit(bench.command(Opcode::flush, 0x11)));
  EXPECT_EQ(calling.counts[2], 1);
  EXPECT_EQ(bench.note_lookup(0, 0x11, true), LookupTruth::fits);
  EXPECT_EQ(bench.false_completions.size(), 1U);
  ASSERT_TRUE(bench.submit(bench.command(Opcode::flush, 0x12)));
  bench.run();
  EXPECT_EQ(calling.counts[0], 1);
  std::vector<std::byte> memory(64);
  static_cast<void>(bench.map(memory, {.value = 0x13, .generation = {1}, .tag = {}, .queue = {}}));
  EXPECT_EQ(calling.counts[0], 2);
  ASSERT_TRUE(bench.submit(bench.command(Opcode::flush, 0x14)));
  bench.run();
  EXPECT_EQ(calling.counts[1], 1);
  EXPECT_EQ(bench.controller.command_count(), 0U) << "stopped from within";
}

}  // namespace
}  // namespace sim_test
