// SPDX-License-Identifier: BSL-1.0
//
// Each kind of fault has its effect on a Controller, and no other effect.

#include <gtest/gtest.h>

#include <optional>

#include "sim/controller_bench.hpp"

namespace sim_test {
namespace {

/// The completions of one command without a fault.
[[nodiscard]] Completion good(std::uint64_t cookie, std::uint32_t length_sectors = 1) {
  return {cookie, DeviceStatus::success, static_cast<std::uint32_t>(length_sectors * sector_bytes)};
}

/// In all tests the fault strikes the first command, a write of four sectors, and not the second.
class ControllerFault : public testing::Test {
 protected:
  void strike(FaultKind kind, const ControllerConfig& config = Bench::two_queues()) {
    bench_.emplace(Script{{kind, 0}}, config);
  }
  [[nodiscard]] Completions first(std::uint32_t length_sectors = 4) {
    return bench_->carry_out(bench_->command(Opcode::write, first_cookie, 0, length_sectors));
  }
  /// A later command succeeds, and the controller has no command left.
  void TearDown() override {
    ASSERT_EQ(bench_->plan.struck().size(), 1U);
    EXPECT_EQ(bench_->carry_out(bench_->command(Opcode::write, second_cookie, 8, 1)),
              Completions{good(second_cookie)});
    EXPECT_EQ(bench_->on_medium(8, 1), bench_->in_memory(0, sector_bytes));
    EXPECT_EQ(bench_->plan.struck().size(), 1U);
    EXPECT_TRUE(bench_->completions(1).empty());
    EXPECT_EQ(bench_->iommu.fault_counts().not_forbidden, 0U);
  }
  [[nodiscard]] bool is_written() const {
    return bench_->on_medium(0, 4) == bench_->in_memory(0, 4 * sector_bytes);
  }

  static constexpr std::uint64_t first_cookie = 0x0000'0005'0000'0002;  // generation 5, tag 2
  static constexpr std::uint64_t second_cookie = 0x0000'0009'0000'0003;
  std::optional<Bench> bench_;
};

TEST_F(ControllerFault, DuplicateIsSentTwice) {
  strike(FaultKind::duplicate);
  EXPECT_EQ(first(), (Completions{good(first_cookie, 4), good(first_cookie, 4)}));
  EXPECT_TRUE(is_written());
}

TEST_F(ControllerFault, StaleIsTheCompletionOfAnEarlierIo) {
  bench_.emplace(Script{{FaultKind::stale, 2}});
  for (const std::uint64_t cookie : {0x31U, 0x32U}) {
    EXPECT_EQ(bench_->carry_out(bench_->command(Opcode::write, cookie)), Completions{good(cookie)});
  }
  const Completions seen = first();
  ASSERT_EQ(seen.size(), 2U);
  EXPECT_TRUE(seen[0].cookie == 0x31 || seen[0].cookie == 0x32) << seen[0];
  EXPECT_EQ(seen[1], good(first_cookie, 4));
}

TEST_F(ControllerFault, StaleHasNoEffectBeforeTheFirstCompletion) {
  strike(FaultKind::stale);
  EXPECT_EQ(first(), Completions{good(first_cookie, 4)});
}

TEST_F(ControllerFault, ForgedHasAnInventedCookie) {
  strike(FaultKind::forged);
  const Completions seen = first();
  ASSERT_EQ(seen.size(), 2U);
  EXPECT_NE(seen[0].cookie, first_cookie);
  EXPECT_EQ(seen[1], good(first_cookie, 4));
}

TEST_F(ControllerFault, EarlyHasTheNextGeneration) {
  strike(FaultKind::early);
  EXPECT_EQ(first(), (Completions{{0x0000'0006'0000'0002, DeviceStatus::success, 0},
                                  good(first_cookie, 4)}));
}

TEST_F(ControllerFault, EarlyWrapsWithinTheGenerationsField) {
  ControllerConfig config = Bench::two_queues();
  config.layout = blkown::CookieLayout::nvme();
  strike(FaultKind::early, config);
  EXPECT_EQ(bench_->carry_out(bench_->command(Opcode::flush, 0xF002)),
            (Completions{{0x0002, DeviceStatus::success, 0}, {0xF002, DeviceStatus::success, 0}}));
}

TEST_F(ControllerFault, LateIsSentAfterTheTimeout) {
  strike(FaultKind::late);
  ASSERT_TRUE(bench_->submit(bench_->command(Opcode::write, first_cookie, 0, 4)));
  bench_->run(999'999);
  EXPECT_TRUE(bench_->completions().empty());
  EXPECT_FALSE(is_written());
  bench_->run();
  EXPECT_GE(bench_->now_ns, 1'000'000U);
  EXPECT_EQ(bench_->completions(), Completions{good(first_cookie, 4)});
  EXPECT_TRUE(is_written());
}

TEST_F(ControllerFault, LostIsNeverSent) {
  strike(FaultKind::lost);
  EXPECT_TRUE(first().empty());
  EXPECT_TRUE(bench_->interrupts.empty());
  EXPECT_EQ(bench_->controller.command_count(), 1U) << "until an abort or a stop";
}

// Goal: no completion of a lost abort comes, whether or not the abort was executed.
TEST(ControllerFaults, AnAbortCanBeLost) {
  int carried_out = 0;
  for (std::uint64_t seed = 0; seed != 16; ++seed) {
    Bench bench{{{FaultKind::late, 0}, {FaultKind::lost, 1}}, Bench::two_queues(), seed};
    ASSERT_TRUE(bench.submit(bench.command(Opcode::write, 0x11)));
    ASSERT_TRUE(bench.submit(bench.abort_of(0x11, 0x21)));
    bench.run();
    const Completions seen = bench.completions();
    ASSERT_EQ(seen.size(), 1U) << seed;
    EXPECT_EQ(seen[0].cookie, 0x11U);
    if (seen[0].status == DeviceStatus::aborted) ++carried_out;
    EXPECT_EQ(bench.controller.command_count(), 1U);
  }
  EXPECT_GT(carried_out, 0);
  EXPECT_LT(carried_out, 16);
}

TEST_F(ControllerFault, ReorderedIsSentAfterALaterOne) {
  strike(FaultKind::reordered);
  ASSERT_TRUE(bench_->submit(bench_->command(Opcode::write, first_cookie, 0, 4)));
  while (!is_written()) {
    if (!bench_->controller.step(bench_->now_ns)) bench_->now_ns += 1000;
  }
  EXPECT_TRUE(bench_->completions().empty()) << "done, but not sent yet";
  ASSERT_TRUE(bench_->submit(bench_->command(Opcode::write, 0x31, 20)));
  bench_->run();
  EXPECT_EQ(bench_->completions(), (Completions{good(0x31), good(first_cookie, 4)}));
}

TEST_F(ControllerFault, WrongQueueIsSentOnAnotherQueueToo) {
  strike(FaultKind::wrong_queue);
  EXPECT_EQ(first(), Completions{good(first_cookie, 4)});
  EXPECT_EQ(bench_->completions(1), Completions{good(first_cookie, 4)});
  EXPECT_EQ(bench_->interrupts.size(), 2U);
}

TEST(ControllerFaults, WrongQueueHasNoEffectWithOneQueue) {
  ControllerConfig config = Bench::two_queues();
  config.queue_pairs = 1;
  Bench bench{{{FaultKind::wrong_queue, 0}}, config};
  EXPECT_EQ(bench.carry_out(bench.command(Opcode::write, 0x11)), Completions{good(0x11)});
}

TEST_F(ControllerFault, BeforePublishIsSentWhileTheDriverMaps) {
  strike(FaultKind::before_publish);
  std::vector<std::byte> memory(64);
  static_cast<void>(bench_->map(memory));
  EXPECT_TRUE(bench_->completions().empty()) << "mapped for no I/O: no opportunity";
  const Cookie next{.value = first_cookie, .generation = {5}, .tag = {2}, .queue = {}};
  static_cast<void>(bench_->map(memory, next));
  EXPECT_EQ(bench_->interrupts, std::vector<std::uint32_t>{0});
  EXPECT_EQ(bench_->completions(), (Completions{{first_cookie, DeviceStatus::success, 0}}));
  EXPECT_EQ(first(), Completions{good(first_cookie, 4)}) << "and the genuine one later";
}

TEST_F(ControllerFault, MapFailureLeavesNoAddressSpace) {
  strike(FaultKind::map_failure);
  std::vector<std::byte> memory(64);
  static_cast<void>(bench_->map(memory));
  const std::uint64_t before = bench_->iommu.mapped_pages();
  const Cookie next{.value = first_cookie, .generation = {5}, .tag = {2}, .queue = {}};
  EXPECT_EQ(bench_->iommu.map({memory.data(), 64}, Direction::to_device, next),
            std::unexpected(blkown::dma::MapFailure::no_iova));
  EXPECT_EQ(bench_->iommu.mapped_pages(), before);
  static_cast<void>(bench_->map(memory, next));
  EXPECT_EQ(first(), Completions{good(first_cookie, 4)});
}

TEST_F(ControllerFault, ShortTransferReportsTheBytesMoved) {
  strike(FaultKind::short_transfer);
  const Completions seen = first();
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[0].status, DeviceStatus::success);
  const std::size_t moved = seen[0].transferred_bytes / sector_bytes;
  EXPECT_EQ(seen[0].transferred_bytes % sector_bytes, 0U);
  EXPECT_GE(moved, 1U);
  EXPECT_LE(moved, 3U);
  EXPECT_EQ(bench_->on_medium(0, moved), bench_->in_memory(0, moved * sector_bytes));
  EXPECT_TRUE(bench_->is_zero(moved, 4 - moved));
}

TEST_F(ControllerFault, ShortTransferOfAReadLeavesTheRestOfTheMemoryAlone) {
  strike(FaultKind::short_transfer);
  const Completions seen = bench_->carry_out(bench_->command(Opcode::read, first_cookie, 0, 4));
  ASSERT_EQ(seen.size(), 1U);
  const std::size_t moved = seen[0].transferred_bytes;
  EXPECT_EQ(bench_->in_memory(0, moved), std::vector<std::byte>(moved));
  EXPECT_EQ(bench_->data[moved], Bench::pattern(moved));
}

TEST_F(ControllerFault, ShortTransferHasNoEffectOnASectorOrAFlush) {
  strike(FaultKind::short_transfer);
  EXPECT_EQ(first(1), Completions{good(first_cookie)});
  EXPECT_EQ(bench_->carry_out(bench_->command(Opcode::discard, 0x31, 0, 4)).size(), 1U);
  EXPECT_TRUE(bench_->plan.struck().empty());
  EXPECT_LT(first().at(0).transferred_bytes, 4 * sector_bytes);
}

TEST_F(ControllerFault, MediaErrorMovesNothing) {
  strike(FaultKind::media_error);
  EXPECT_EQ(first(), (Completions{{first_cookie, DeviceStatus::media_error, 0}}));
  EXPECT_TRUE(bench_->is_zero(0, 4));
}

TEST_F(ControllerFault, DoorbellRefusedTakesNoCommand) {
  strike(FaultKind::doorbell_refused);
  EXPECT_FALSE(bench_->submit(bench_->command(Opcode::write, first_cookie, 0, 4)));
  bench_->run();
  EXPECT_TRUE(bench_->completions().empty());
  EXPECT_TRUE(bench_->is_zero(0, 4));
  EXPECT_EQ(bench_->wakes, 0);
}

TEST_F(ControllerFault, RefusedAndForgedSendsACompletion) {
  strike(FaultKind::refused_and_forged);
  EXPECT_FALSE(bench_->submit(bench_->command(Opcode::write, first_cookie, 0, 4)));
  EXPECT_EQ(bench_->interrupts, std::vector<std::uint32_t>{0});
  bench_->run();
  EXPECT_EQ(bench_->completions(), (Completions{{first_cookie, DeviceStatus::success, 0}}));
  EXPECT_TRUE(bench_->is_zero(0, 4));
}

TEST_F(ControllerFault, ResetIsAFailureUntilTheNextStart) {
  strike(FaultKind::reset);
  EXPECT_TRUE(first().empty());
  EXPECT_EQ(bench_->failures, 1);
  EXPECT_TRUE(bench_->controller.has_failed());
  EXPECT_EQ(bench_->controller.next_ns(), std::nullopt);
  EXPECT_FALSE(bench_->controller.step(bench_->now_ns));
  EXPECT_FALSE(bench_->submit(bench_->command(Opcode::write, 0x31)));
  static_cast<void>(bench_->controller.stop());
  bench_->reset_rings();
  bench_->controller.start();
  EXPECT_FALSE(bench_->controller.has_failed());
  bench_->run();
  EXPECT_TRUE(bench_->completions().empty());
  EXPECT_TRUE(bench_->is_zero(0, 4)) << "the command is gone";
}

TEST_F(ControllerFault, NoPhaseChangeIsInvisibleToTheDriver) {
  strike(FaultKind::no_phase_change);
  EXPECT_TRUE(first().empty());
  EXPECT_EQ(bench_->interrupts, std::vector<std::uint32_t>{0});
  EXPECT_TRUE(is_written());
  EXPECT_EQ(bench_->controller.command_count(), 1U) << "no completion was sent";
  EXPECT_TRUE(bench_->carry_out(bench_->command(Opcode::flush, 0x31)).empty())
      << "the entry before it is not visible";
  static_cast<void>(bench_->controller.stop());
  bench_->reset_rings();
  bench_->controller.start();
}

// --- DMA after the completion --------------------------------------------------------------------

TEST_F(ControllerFault, DmaAfterUnmapIsRefusedAndLogged) {
  for (const Opcode opcode : {Opcode::read, Opcode::write}) {
    strike(FaultKind::dma_after_unmap);
    const Cookie own{.value = first_cookie, .generation = {5}, .tag = {2}, .queue = {}};
    std::vector<std::byte> memory(sector_bytes, std::byte{0x77});
    const IovaSegment segment{.iova = bench_->map(memory, own), .length_bytes = sector_bytes};
    SubmissionEntry entry = bench_->command(opcode, first_cookie);
    entry.segment = segment;
    ASSERT_TRUE(bench_->submit(entry));
    Completions seen;
    while (seen.empty()) {
      if (!bench_->controller.step(bench_->now_ns)) bench_->now_ns += 1000;
      seen = bench_->completions();
    }
    EXPECT_EQ(seen, Completions{good(first_cookie)});
    bench_->iommu.unmap(segment);
    bench_->iommu.invalidate({&segment, 1});
    const auto before = memory;
    bench_->run();
    EXPECT_TRUE(bench_->completions().empty());
    EXPECT_EQ(memory, before);
    const auto faults = bench_->iommu.faults();
    ASSERT_EQ(faults.size(), 1U);
    EXPECT_TRUE(faults[0].is_forbidden);
    EXPECT_EQ(faults[0].cookie, first_cookie);
    EXPECT_EQ(faults[0].direction,
              opcode == Opcode::read ? Direction::from_device : Direction::to_device);
  }
}

TEST_F(ControllerFault, DmaAfterUnmapChangesNoMemoryThatIsStillMapped) {
  strike(FaultKind::dma_after_unmap);
  EXPECT_EQ(first(), Completions{good(first_cookie, 4)});
  EXPECT_TRUE(is_written());
  EXPECT_EQ(bench_->iommu.fault_counts().total(), 0U);
}

TEST_F(ControllerFault, DmaAfterUnmapOfACommandOutOfRangeStaysWithinTheMedium) {
  strike(FaultKind::dma_after_unmap);
  EXPECT_EQ(bench_->carry_out(bench_->command(Opcode::read, first_cookie, ~std::uint64_t{0} / 1024,
                                              ~std::uint32_t{0})),
            (Completions{{first_cookie, DeviceStatus::invalid_command, 0}}));
}

}  // namespace
}  // namespace sim_test
