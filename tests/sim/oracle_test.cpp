// SPDX-License-Identifier: BSL-1.0
//
// How the Oracle judges a driver's lookups.

#include <gtest/gtest.h>

#include "sim/controller_bench.hpp"

namespace sim_test {
namespace {

using enum LookupTruth;

TEST(Oracle, ACompletionIsAcceptedOnce) {
  Bench bench;
  static_cast<void>(bench.seen_of(bench.command(Opcode::write, 0x11)));
  EXPECT_EQ(bench.note_lookup(0, 0x11, true), fits);
  EXPECT_EQ(bench.note_lookup(0, 0x11, true), wrong_claim) << "the completion was posted once";
  EXPECT_EQ(bench.note_lookup(0, 0x11, false), fits);
  EXPECT_TRUE(bench.false_completions.empty());
}

TEST(Oracle, FindsARefusedGenuineCompletion) {
  Bench bench;
  static_cast<void>(bench.seen_of(bench.command(Opcode::write, 0x11)));
  EXPECT_EQ(bench.note_lookup(0, 0x11, false), refused_genuine);
  EXPECT_EQ(bench.note_lookup(0, 0x11, false), fits) << "reported once";
}

TEST(Oracle, FindsAnAcceptedCompletionOfAnUnknownCommand) {
  Bench bench;
  EXPECT_EQ(bench.note_lookup(0, 0x11, true), wrong_claim);
  EXPECT_EQ(bench.note_lookup(0, 0x11, false), fits);
  static_cast<void>(bench.seen_of(bench.command(Opcode::write, 0x11)));
  EXPECT_EQ(bench.note_lookup(1, 0x11, true), wrong_claim) << "on another queue";
  EXPECT_EQ(bench.note_lookup(0, 0x10, true), wrong_claim);
}

TEST(Oracle, IgnoresTheUserBits) {
  ControllerConfig config = Bench::two_queues();
  config.layout = blkown::CookieLayout::io_uring();
  Bench bench{{}, config};
  const std::uint64_t cookie = config.layout.with_user(0x11, 0x5A);
  ASSERT_NE(cookie, 0x11U);
  static_cast<void>(bench.seen_of(bench.command(Opcode::write, cookie)));
  EXPECT_EQ(bench.note_lookup(0, 0x11, true), fits);
}

TEST(Oracle, AReusedCookieIsAnotherCommand) {
  Bench bench;
  static_cast<void>(bench.seen_of(bench.command(Opcode::write, 0x11)));
  EXPECT_EQ(bench.note_lookup(0, 0x11, true), fits);
  static_cast<void>(bench.seen_of(bench.command(Opcode::write, 0x11)));
  EXPECT_EQ(bench.note_lookup(0, 0x11, false), refused_genuine);
}

// --- false completions ---------------------------------------------------------------------------

TEST(Oracle, AFalseCompletionOfACommandThatIsNotDoneIsTheDevicesFault) {
  Bench bench{{{FaultKind::late, 0}}};
  const Cookie own{.value = 0x11, .generation = {1}, .tag = {}, .queue = {}};
  std::vector<std::byte> memory(sector_bytes);
  const IovaSegment segment{.iova = bench.map(memory, own), .length_bytes = sector_bytes};
  SubmissionEntry entry = bench.command(Opcode::read, 0x11);
  entry.segment = segment;
  ASSERT_TRUE(bench.submit(entry));
  bench.run(500'000);
  EXPECT_EQ(bench.note_lookup(0, 0x11, true), fits);
  EXPECT_EQ(bench.false_completions, std::vector<std::uint64_t>{0x11});
  EXPECT_EQ(bench.note_lookup(0, 0x11, true), wrong_claim) << "a second time";

  // The driver has its memory back, and the device still accesses it.
  bench.iommu.unmap(segment);
  bench.iommu.invalidate({&segment, 1});
  bench.run();
  EXPECT_EQ(bench.completions(), (Completions{{0x11, DeviceStatus::dma_fault, 0}}));
  EXPECT_EQ(bench.iommu.fault_counts().total(), 1U);
  EXPECT_EQ(bench.iommu.fault_counts().not_forbidden, 0U) << "the driver is not to blame";
  EXPECT_EQ(bench.note_lookup(0, 0x11, false), fits) << "the genuine entry comes too late";
}

TEST(Oracle, ADisownedCommandWithoutMemoryIsNotExecuted) {
  Bench bench{{{FaultKind::late, 1}}};
  static_cast<void>(bench.carry_out(bench.command(Opcode::write, 0x10, 0, 4)));
  ASSERT_TRUE(bench.submit(bench.command(Opcode::discard, 0x11, 0, 4)));
  bench.run(bench.now_ns + 500'000);
  EXPECT_EQ(bench.note_lookup(0, 0x11, true), fits);
  bench.run();
  EXPECT_TRUE(bench.completions().empty());
  EXPECT_EQ(bench.on_medium(0, 4), bench.in_memory(0, 4 * sector_bytes));
  EXPECT_EQ(bench.controller.command_count(), 0U);
}

TEST(Oracle, AFalseCompletionOfAnUnfetchedCommandIsTheDevicesFault) {
  for (const Opcode opcode : {Opcode::write, Opcode::discard}) {
    Bench bench;
    ASSERT_TRUE(bench.submit(bench.command(opcode, 0x11)));
    EXPECT_EQ(bench.note_lookup(0, 0x11, true), fits);
    EXPECT_EQ(bench.false_completions, std::vector<std::uint64_t>{0x11});
    EXPECT_EQ(bench.note_lookup(0, 0x11, true), wrong_claim) << "a second time";
    bench.run();
    EXPECT_EQ(bench.completions().size(), opcode == Opcode::write ? 1U : 0U);
    EXPECT_EQ(bench.false_completions.size(), 1U);
    EXPECT_EQ(bench.note_lookup(0, 0x11, true), wrong_claim);
  }
}

TEST(Oracle, ARefusedCommandWithACompletionHasAFalseCompletion) {
  Bench bench{{{FaultKind::refused_and_forged, 0}}};
  ASSERT_FALSE(bench.submit(bench.command(Opcode::write, 0x11)));
  EXPECT_EQ(bench.note_lookup(0, 0x12, true), wrong_claim);
  EXPECT_EQ(bench.note_lookup(0, 0x11, true), fits);
  EXPECT_EQ(bench.false_completions, std::vector<std::uint64_t>{0x11});
  static_cast<void>(bench.controller.stop());
  EXPECT_EQ(bench.note_lookup(0, 0x11, true), wrong_claim) << "stop() gives all commands up";
}

// Goal: accepting a false completion of a command that is done is no wrong claim, and the
// completion is reported as false.
TEST(Oracle, AFalseCompletionOfACommandThatIsDoneIsNoWrongClaim) {
  int found = 0;
  for (const FaultKind kind : {FaultKind::reordered, FaultKind::no_phase_change, FaultKind::lost}) {
    for (std::uint64_t seed = 0; seed != 8; ++seed) {
      Bench bench{{{kind, 0}}, Bench::two_queues(), seed};
      ASSERT_TRUE(bench.submit(bench.command(Opcode::write, 0x11)));
      for (int i = 0; i != 100 && bench.is_zero(0, 1); ++i) {
        if (!bench.controller.step(bench.now_ns)) bench.now_ns += 100;
      }
      if (bench.is_zero(0, 1)) continue;  // the command was lost before its execution
      ++found;
      EXPECT_EQ(bench.note_lookup(0, 0x11, true), fits);
      EXPECT_EQ(bench.false_completions, std::vector<std::uint64_t>{0x11});
      EXPECT_EQ(bench.controller.command_count(), 0U);
      EXPECT_EQ(bench.note_lookup(0, 0x11, true), wrong_claim);
    }
  }
  EXPECT_GT(found, 16) << "some of the lost commands, too";
}

// Goal: of two entries with the same cookie, only one is genuine.
TEST(Oracle, TellsTheGenuineEntryFromOneThatLooksLikeIt) {
  for (const bool takes_the_first : {true, false}) {
    Bench bench{{{FaultKind::before_publish, 0}}};
    std::vector<std::byte> memory(sector_bytes);
    const Cookie next{.value = 0x11, .generation = {1}, .tag = {}, .queue = {}};
    SubmissionEntry entry = bench.command(Opcode::read, 0x11);
    entry.segment.iova = bench.map(memory, next);
    ASSERT_EQ(bench.seen_of(entry).size(), 2U);
    EXPECT_EQ(bench.note_lookup(0, 0x11, takes_the_first), fits);
    EXPECT_EQ(bench.false_completions.size(), takes_the_first ? 1U : 0U);
    EXPECT_EQ(bench.note_lookup(0, 0x11, !takes_the_first), fits);
    EXPECT_EQ(bench.false_completions.size(), takes_the_first ? 1U : 0U);
    EXPECT_EQ(bench.note_lookup(0, 0x11, true), wrong_claim);
  }
}

// --- entries -------------------------------------------------------------------------------------

TEST(Oracle, CountsEntriesThatWereNotLookedUpOnce) {
  Bench bench;
  static_cast<void>(bench.carry_out(bench.command(Opcode::write, 0x11)));
  EXPECT_EQ(bench.oracle.unaccounted(), 1U) << "taken out, and not looked up";
  static_cast<void>(bench.note_lookup(0, 0x11, true));
  EXPECT_EQ(bench.oracle.unaccounted(), 0U);
  static_cast<void>(bench.note_lookup(0, 0x11, true));
  EXPECT_EQ(bench.oracle.unaccounted(), 1U) << "looked up twice";
  static_cast<void>(bench.note_lookup(1, 0x12, false));
  EXPECT_EQ(bench.oracle.unaccounted(), 2U) << "no such entry was posted";
}

TEST(Oracle, AnEntryMayBeLookedUpBeforeTheDoorbell) {
  Bench bench;
  ASSERT_TRUE(bench.submit(bench.command(Opcode::flush, 0x11)));
  ASSERT_TRUE(bench.submit(bench.command(Opcode::flush, 0x12)));
  bench.run();
  const Completions seen = bench.take();
  ASSERT_EQ(seen.size(), 2U);
  for (const Completion& completion : seen) {
    static_cast<void>(bench.note_lookup(0, completion.cookie, true));
  }
  EXPECT_EQ(bench.oracle.unaccounted(), 2U);
  bench.acknowledge();
  EXPECT_EQ(bench.oracle.unaccounted(), 0U);
}

TEST(Oracle, KnowsNothingWithoutObserving) {
  Bench bench;
  bench.controller.set_observer(nullptr);
  EXPECT_EQ(bench.carry_out(bench.command(Opcode::write, 0x11)).size(), 1U);
  EXPECT_EQ(bench.oracle.unaccounted(), 0U);
  EXPECT_EQ(bench.seen_of(bench.command(Opcode::write, 0x12)).size(), 1U);
  EXPECT_EQ(bench.note_lookup(0, 0x12, false), fits) << "not known to be genuine";
}

TEST(Oracle, AnEntryOfAnotherQueueIsAnotherEntry) {
  Bench bench;
  static_cast<void>(bench.carry_out(bench.command(Opcode::flush, 0x11)));
  static_cast<void>(bench.note_lookup(1, 0x11, false));
  EXPECT_EQ(bench.oracle.unaccounted(), 2U);
}

}  // namespace
}  // namespace sim_test
