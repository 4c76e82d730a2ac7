// SPDX-License-Identifier: BSL-1.0
//
// How a Controller executes commands.

#include <gtest/gtest.h>

#include "sim/controller_bench.hpp"

namespace sim_test {
namespace {

TEST(ControllerCommand, WritesAndReadsTheSegment) {
  Bench bench;
  EXPECT_EQ(bench.carry_out(bench.command(Opcode::write, 0x11, 5, 3)),
            (Completions{{0x11, DeviceStatus::success, 3 * sector_bytes}}));
  EXPECT_EQ(bench.on_medium(5, 3), bench.in_memory(0, 3 * sector_bytes));
  EXPECT_TRUE(bench.is_zero(0, 5));
  EXPECT_TRUE(bench.is_zero(8, Bench::capacity_sectors - 8));

  SubmissionEntry read = bench.command(Opcode::read, 0x12, 6, 2);
  read.segment.iova += 8192;
  EXPECT_EQ(bench.carry_out(read), (Completions{{0x12, DeviceStatus::success, 2 * sector_bytes}}));
  EXPECT_EQ(bench.in_memory(8192, 2 * sector_bytes), bench.on_medium(6, 2));
  EXPECT_EQ(bench.data[8192 + 2 * sector_bytes], Bench::pattern(8192 + 2 * sector_bytes));
  EXPECT_EQ(bench.iommu.fault_counts().total(), 0U);
}

TEST(ControllerCommand, ReadsTheListOfSegmentsThatTheEntryNames) {
  Bench bench;
  const IovaSegment list[] = {{.iova = bench.data_iova + 100, .length_bytes = 24},
                              {.iova = bench.data_iova + 4000, .length_bytes = 700},
                              {.iova = bench.data_iova, .length_bytes = 300}};
  std::memcpy(bench.data.data() + 12288, list, sizeof list);
  SubmissionEntry entry = bench.command(Opcode::write, 0x11, 0, 2);
  entry.segment_count = 3;
  entry.segment = {.iova = bench.data_iova + 12288, .length_bytes = sizeof list};
  EXPECT_EQ(bench.carry_out(entry), (Completions{{0x11, DeviceStatus::success, 1024}}));
  std::vector<std::byte> expected;
  for (const IovaSegment& segment : list) {
    const auto part = bench.in_memory(segment.iova - bench.data_iova, segment.length_bytes);
    expected.insert(expected.end(), part.begin(), part.end());
  }
  EXPECT_EQ(bench.on_medium(0, 2), expected);

  std::ranges::fill(std::span{bench.data}.first(8192), std::byte{0xEE});
  entry.opcode = Opcode::read;
  EXPECT_EQ(bench.carry_out(entry), (Completions{{0x11, DeviceStatus::success, 1024}}));
  std::vector<std::byte> found;
  for (const IovaSegment& segment : list) {
    const auto part = bench.in_memory(segment.iova - bench.data_iova, segment.length_bytes);
    found.insert(found.end(), part.begin(), part.end());
  }
  EXPECT_EQ(found, expected);
  EXPECT_EQ(bench.in_memory(300, 3700), std::vector(3700, std::byte{0xEE})) << "between them";
}

TEST(ControllerCommand, DiscardsAndWritesZeroes) {
  for (const Opcode opcode : {Opcode::discard, Opcode::write_zeroes}) {
    Bench bench;
    static_cast<void>(bench.carry_out(bench.command(Opcode::write, 0x11, 0, 8)));
    EXPECT_EQ(bench.carry_out(bench.command(opcode, 0x12, 3, 2)),
              (Completions{{0x12, DeviceStatus::success, 0}}));
    EXPECT_EQ(bench.on_medium(0, 3), bench.in_memory(0, 3 * sector_bytes));
    EXPECT_TRUE(bench.is_zero(3, 2));
    EXPECT_EQ(bench.on_medium(5, 3), bench.in_memory(5 * sector_bytes, 3 * sector_bytes));
  }
}

TEST(ControllerCommand, FlushNeedsNoRange) {
  Bench bench;
  EXPECT_EQ(bench.carry_out(bench.command(Opcode::flush, 0x11, 0, 0)),
            (Completions{{0x11, DeviceStatus::success, 0}}));
}

TEST(ControllerCommand, RefusesARangeThatTheMediumDoesNotHave) {
  Bench bench;
  constexpr std::uint64_t end = Bench::capacity_sectors;
  for (const Opcode opcode : {Opcode::read, Opcode::write, Opcode::discard, Opcode::write_zeroes}) {
    for (const auto& [sector, length] : {std::pair<std::uint64_t, std::uint32_t>{end, 1},
                                         {end - 1, 2},
                                         {0, 65},
                                         {0, 0},
                                         {~std::uint64_t{0}, 1},
                                         {~std::uint64_t{0}, 2},
                                         {1, ~std::uint32_t{0}}}) {
      EXPECT_EQ(bench.carry_out(bench.command(opcode, 0x11, sector, length)),
                (Completions{{0x11, DeviceStatus::invalid_command, 0}}))
          << to_string(opcode) << " of " << length << " at " << sector;
    }
    EXPECT_EQ(bench.carry_out(bench.command(opcode, 0x11, end - 1, 1)).at(0).status,
              DeviceStatus::success)
        << "the last sector";
  }
}

TEST(ControllerCommand, RefusesSegmentsThatDoNotAddUp) {
  Bench bench;
  SubmissionEntry entry = bench.command(Opcode::write, 0x11, 0, 2);
  entry.segment.length_bytes = 1023;
  EXPECT_EQ(bench.carry_out(entry), (Completions{{0x11, DeviceStatus::invalid_command, 0}}));
  entry.segment.length_bytes = 1025;
  EXPECT_EQ(bench.carry_out(entry), (Completions{{0x11, DeviceStatus::invalid_command, 0}}));
  entry.segment_count = 0;
  EXPECT_EQ(bench.carry_out(entry), (Completions{{0x11, DeviceStatus::invalid_command, 0}}));
  EXPECT_TRUE(bench.is_zero(0, 2));
}

TEST(ControllerCommand, RefusesAnUnknownOpcode) {
  Bench bench;
  EXPECT_EQ(bench.carry_out(bench.command(static_cast<Opcode>(77), 0x11)),
            (Completions{{0x11, DeviceStatus::invalid_command, 0}}));
}

// Goal: the controller reaches memory only through the IOMMU.
TEST(ControllerCommand, ReportsADmaFaultWhenTheIommuRefusesTheAccess) {
  Bench bench;
  SubmissionEntry read = bench.command(Opcode::read, 0x11, 0, 2);
  read.segment.iova += Bench::data_bytes - sector_bytes;
  EXPECT_EQ(bench.carry_out(read), (Completions{{0x11, DeviceStatus::dma_fault, 0}}));
  SubmissionEntry listed = bench.command(Opcode::write, 0x12, 0, 1);
  listed.segment_count = 2;
  listed.segment.iova = 0x1000;
  EXPECT_EQ(bench.carry_out(listed), (Completions{{0x12, DeviceStatus::dma_fault, 0}}));
  const auto faults = bench.iommu.faults();
  ASSERT_EQ(faults.size(), 2U);
  EXPECT_EQ(faults[0].device, 9U);
  EXPECT_EQ(faults[0].iova, bench.data_iova + Bench::data_bytes);
  EXPECT_EQ(faults[0].cookie, 0x11U);
  EXPECT_EQ(faults[0].direction, Direction::from_device);
  EXPECT_FALSE(faults[0].is_forbidden);
  EXPECT_EQ(faults[1].iova, 0x1000U);
}

TEST(ControllerCommand, GivesTheCommandsCookieToTheIommu) {
  Bench bench;
  const Cookie own{.value = 0x11, .generation = {1}, .tag = {}, .queue = {}};
  SubmissionEntry entry = bench.command(Opcode::write, own.value);
  std::vector<std::byte> memory(sector_bytes, std::byte{0x77});
  entry.segment.iova = bench.map(memory, own);
  EXPECT_EQ(bench.carry_out(entry), (Completions{{0x11, DeviceStatus::success, 512}}));
  entry.cookie = 0x12;
  EXPECT_EQ(bench.carry_out(entry), (Completions{{0x12, DeviceStatus::dma_fault, 0}}));
}

// --- abort ---------------------------------------------------------------------------------------

/// A bench whose first command is late, so that the controller still has it when the abort comes.
struct AbortBench : Bench {
  AbortBench() : Bench{{{FaultKind::late, 0}}} {
    EXPECT_TRUE(submit(command(Opcode::write, 0x11, 0, 1)));
    run(500'000);
    EXPECT_TRUE(completions().empty());
  }
};

TEST(ControllerAbort, EndsACommandOfTheController) {
  AbortBench bench;
  EXPECT_EQ(bench.carry_out(bench.abort_of(0x11, 0x21)),
            (Completions{{0x11, DeviceStatus::aborted, 0}, {0x21, DeviceStatus::success, 0}}));
  EXPECT_TRUE(bench.is_zero(0, 1)) << "an aborted command is not executed";
  EXPECT_EQ(bench.controller.command_count(), 0U);
}

TEST(ControllerAbort, DoesNotFindAnUnknownCommand) {
  AbortBench bench;
  EXPECT_EQ(bench.carry_out(bench.abort_of(0x12, 0x21)),
            (Completions{{0x21, DeviceStatus::not_found, 0}, {0x11, DeviceStatus::success, 512}}));
  EXPECT_EQ(bench.carry_out(bench.abort_of(0x11, 0x22)),
            (Completions{{0x22, DeviceStatus::not_found, 0}}))
      << "it is done";
}

TEST(ControllerAbort, FindsCommandsOfItsOwnQueueOnly) {
  AbortBench bench;
  EXPECT_TRUE(bench.submit(bench.abort_of(0x11, 0x21), 1));
  bench.run(800'000);
  EXPECT_EQ(bench.completions(1), (Completions{{0x21, DeviceStatus::not_found, 0}}));
  EXPECT_EQ(bench.controller.command_count(), 1U);
}

TEST(ControllerAbort, DoesNotAbortAborts) {
  Bench bench{{{FaultKind::late, 0}}};
  EXPECT_TRUE(bench.submit(bench.abort_of(0x11, 0x21)));
  EXPECT_TRUE(bench.submit(bench.abort_of(0x21, 0x22)));
  bench.run();
  EXPECT_EQ(bench.completions(),
            (Completions{{0x22, DeviceStatus::not_found, 0}, {0x21, DeviceStatus::not_found, 0}}));
}

// Goal: a command whose completion was lost after its execution cannot be aborted.
TEST(ControllerAbort, DoesNotFindALostCommandThatWasExecuted) {
  int found = 0;
  for (std::uint64_t seed = 0; seed != 16; ++seed) {
    Bench bench{{{FaultKind::lost, 0}}, Bench::two_queues(), seed};
    EXPECT_TRUE(bench.carry_out(bench.command(Opcode::write, 0x11)).empty());
    const bool is_written = !bench.is_zero(0, 1);
    const Completions ended = bench.carry_out(bench.abort_of(0x11, 0x21));
    if (is_written) {
      EXPECT_EQ(ended, (Completions{{0x21, DeviceStatus::not_found, 0}}));
      ++found;
    } else {
      EXPECT_EQ(ended,
                (Completions{{0x11, DeviceStatus::aborted, 0}, {0x21, DeviceStatus::success, 0}}));
    }
  }
  EXPECT_GT(found, 0);
  EXPECT_LT(found, 16);
}

}  // namespace
}  // namespace sim_test
