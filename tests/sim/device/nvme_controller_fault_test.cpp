// SPDX-License-Identifier: BSL-1.0
//
// Each kind of fault has its effect on an NvmeController, and no other effect.

#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "sim/device/nvme_bench.hpp"

namespace sim_test {
namespace {

namespace dma = blkown::dma;
using blkown::Cookie;
using blkown::dma::Direction;
using blkown::dma::IovaSegment;

constexpr std::uint64_t commands_before = NvmeBench::admin_commands;

/// The opportunity at which the fault strikes the first I/O command.
[[nodiscard]] FaultStrike first_io(FaultKind kind) {
  switch (kind) {
    case FaultKind::media_error:
    case FaultKind::do_not_retry:
    case FaultKind::before_publish:
    case FaultKind::map_failure:
    case FaultKind::unmap_failure: return {kind, 0};
    default: return {kind, commands_before};
  }
}
[[nodiscard]] NvmeDone good(std::uint16_t id) { return {id, Code::success, 0}; }

/// In all tests the fault strikes the first I/O command, a write of four blocks, and no other.
class NvmeFault : public testing::Test {
 protected:
  void strike(FaultKind kind) {
    script_ = {first_io(kind)};
    bench_.emplace(NvmeBench::two_queues(), &script_);
    bench_->start();
  }
  [[nodiscard]] NvmeDones first() { return bench_->carry_out(bench_->write(first_id, 0, 4)); }
  [[nodiscard]] bool is_written() {
    return bench_->on_medium(0, 4) == bench_->in_memory(0, 4 * 512);
  }
  /// A later command succeeds, and the controller has no command left.
  void TearDown() override {
    ASSERT_EQ(bench_->plan.struck().size(), 1U);
    EXPECT_EQ(bench_->carry_out(bench_->write(second_id, 8)), NvmeDones{good(second_id)});
    EXPECT_EQ(bench_->on_medium(8, 1), bench_->in_memory(0, 512));
    EXPECT_EQ(bench_->plan.struck().size(), 1U);
    EXPECT_TRUE(bench_->completions(2).empty());
    EXPECT_TRUE(bench_->completions(0).empty());
    EXPECT_EQ(bench_->iommu.fault_counts().not_forbidden, 0U);
    bench_.reset();
  }

  static constexpr std::uint16_t first_id = 0x5002;  // generation 5, tag 2
  static constexpr std::uint16_t second_id = 0x9003;
  Script script_;
  std::optional<NvmeBench> bench_;
};

TEST_F(NvmeFault, DuplicateIsSentTwice) {
  strike(FaultKind::duplicate);
  EXPECT_EQ(first(), (NvmeDones{good(first_id), good(first_id)}));
  EXPECT_TRUE(is_written());
}

TEST_F(NvmeFault, StaleIsTheCompletionOfAnEarlierCommand) {
  strike(FaultKind::stale);
  const NvmeDones seen = first();
  NvmeDones all = seen;
  for (const NvmeDone& done : bench_->completions(0)) all.push_back(done);
  // The earlier ones are the admin commands, with the identifier 0.
  EXPECT_EQ(all.size(), 2U);
  EXPECT_EQ(std::ranges::count(all, NvmeDone{0, Code::success, 0}), 1);
  EXPECT_EQ(std::ranges::count(all, good(first_id)), 1);
}

// Goal: there is no earlier command, and no other queue.
TEST(NvmeFaults, StaleAndWrongQueueHaveNoEffectOnTheFirstCommand) {
  for (const FaultKind kind : {FaultKind::stale, FaultKind::wrong_queue}) {
    const Script script{{kind, 0}};
    NvmeBench bench{NvmeBench::two_queues(), &script};
    bench.start(0);
    EXPECT_TRUE(bench.plan.struck().empty());
    bench.submit(bench.create_cq(1), 0);
    bench.run();
    EXPECT_EQ(bench.plan.struck().size(), 1U);
    EXPECT_EQ(bench.completions(0).size(), 1U);
  }
}

TEST_F(NvmeFault, ForgedHasAnInventedIdentifier) {
  strike(FaultKind::forged);
  const NvmeDones seen = first();
  ASSERT_EQ(seen.size(), 2U);
  EXPECT_NE(seen[0].command_id, first_id);
  EXPECT_EQ(seen[1], good(first_id));
}

TEST_F(NvmeFault, EarlyHasTheNextGeneration) {
  strike(FaultKind::early);
  EXPECT_EQ(first(), (NvmeDones{good(0x6002), good(first_id)}));
}

TEST(NvmeFaults, EarlyWrapsWithinTheGenerationsField) {
  const Script script{first_io(FaultKind::early)};
  NvmeBench bench{NvmeBench::two_queues(), &script};
  bench.start();
  EXPECT_EQ(bench.carry_out(NvmeBench::flush(0xF002)), (NvmeDones{good(0x0002), good(0xF002)}));
}

TEST_F(NvmeFault, LateIsSentAfterTheTimeout) {
  strike(FaultKind::late);
  bench_->submit(bench_->write(first_id, 0, 4));
  const std::uint64_t begin_ns = bench_->now_ns;
  bench_->run(begin_ns + 999'999);
  EXPECT_TRUE(bench_->completions().empty());
  EXPECT_FALSE(is_written());
  bench_->run();
  EXPECT_GE(bench_->now_ns, begin_ns + 1'000'000U);
  EXPECT_EQ(bench_->completions(), NvmeDones{good(first_id)});
  EXPECT_TRUE(is_written());
}

TEST_F(NvmeFault, LostIsNeverSent) {
  strike(FaultKind::lost);
  EXPECT_TRUE(first().empty());
  EXPECT_TRUE(bench_->interrupts.empty());
  EXPECT_EQ(bench_->controller->command_count(), 1U) << "until an abort or a reset";
}

// Goal: no completion of a lost abort comes, whether or not the abort was executed.
TEST(NvmeFaults, AnAbortCanBeLost) {
  int carried_out = 0;
  for (std::uint64_t seed = 0; seed != 16; ++seed) {
    const Script script{{FaultKind::late, commands_before}, {FaultKind::lost, commands_before + 1}};
    NvmeBench bench{NvmeBench::two_queues(), &script, seed};
    bench.start();
    bench.submit(bench.write(0x11));
    ASSERT_TRUE(bench.controller->step(bench.now_ns));
    bench.submit(Entry::abort(1, 0x11), 0);
    bench.run();
    EXPECT_TRUE(bench.completions(0).empty());
    const NvmeDones seen = bench.completions();
    ASSERT_EQ(seen.size(), 1U) << seed;
    EXPECT_EQ(seen[0].command_id, 0x11U);
    if (seen[0].code == Code::abort_requested) ++carried_out;
    EXPECT_EQ(bench.controller->command_count(), 1U);
  }
  EXPECT_GT(carried_out, 0);
  EXPECT_LT(carried_out, 16);
}

TEST_F(NvmeFault, ReorderedIsSentAfterALaterOne) {
  strike(FaultKind::reordered);
  bench_->submit(bench_->write(first_id, 0, 4));
  while (!is_written()) {
    if (!bench_->controller->step(bench_->now_ns)) bench_->now_ns += 1000;
  }
  EXPECT_TRUE(bench_->completions().empty()) << "done, but not sent yet";
  bench_->submit(bench_->write(0x31, 20));
  bench_->run();
  EXPECT_EQ(bench_->completions(), (NvmeDones{good(0x31), good(first_id)}));
}

TEST_F(NvmeFault, WrongQueueIsSentOnAnotherQueueToo) {
  strike(FaultKind::wrong_queue);
  EXPECT_EQ(first(), NvmeDones{good(first_id)});
  EXPECT_EQ(bench_->completions(2), NvmeDones{good(first_id)});
  EXPECT_EQ(bench_->interrupts, (std::vector<std::uint32_t>{1, 2}));
}

// Goal: a driver that trusts the submission queue of an entry sees both kinds.
TEST(NvmeFaults, TheWrongQueueMayNameTheRightSubmissionQueue) {
  int right = 0;
  for (std::uint64_t seed = 0; seed != 16; ++seed) {
    const Script script{first_io(FaultKind::wrong_queue)};
    NvmeBench bench{NvmeBench::two_queues(), &script, seed};
    bench.start();
    static_cast<void>(bench.carry_out(NvmeBench::flush(1)));
    EXPECT_EQ(bench.completions(2).size(), 1U);
    if (bench.latest.sq_id == 1) ++right;
  }
  EXPECT_GT(right, 0);
  EXPECT_LT(right, 16);
}

TEST_F(NvmeFault, BeforePublishIsSentWhileTheDriverMaps) {
  strike(FaultKind::before_publish);
  std::vector<std::byte> memory(64);
  ASSERT_TRUE(bench_->iommu.map({memory.data(), 64}, Direction::to_device, dma::no_io).has_value());
  EXPECT_TRUE(bench_->completions().empty()) << "mapped for no I/O: no opportunity";
  const Cookie next{.value = first_id, .generation = {5}, .tag = {2}, .queue = {}};
  ASSERT_TRUE(bench_->iommu.map({memory.data(), 64}, Direction::to_device, next).has_value());
  EXPECT_EQ(bench_->interrupts, std::vector<std::uint32_t>{1});
  EXPECT_EQ(bench_->completions(), NvmeDones{good(first_id)});
  EXPECT_EQ(first(), NvmeDones{good(first_id)}) << "and the genuine one later";
}

TEST_F(NvmeFault, MapFailureLeavesNoAddressSpace) {
  strike(FaultKind::map_failure);
  std::vector<std::byte> memory(64);
  const std::uint64_t before = bench_->iommu.mapped_pages();
  const Cookie next{.value = first_id, .generation = {5}, .tag = {2}, .queue = {}};
  EXPECT_EQ(bench_->iommu.map({memory.data(), 64}, Direction::to_device, next),
            std::unexpected(blkown::dma::MapFailure::no_iova));
  EXPECT_EQ(bench_->iommu.mapped_pages(), before);
  EXPECT_EQ(first(), NvmeDones{good(first_id)});
}

TEST_F(NvmeFault, UnmapFailureLeavesTheMemoryMapped) {
  strike(FaultKind::unmap_failure);
  std::vector<std::byte> memory(64);
  const auto map = [&](const Cookie& cookie) {
    return dma::IovaSegment{*bench_->iommu.map({memory.data(), 64}, Direction::to_device, cookie),
                            64};
  };
  const dma::IovaSegment ring = map(dma::no_io);
  EXPECT_TRUE(bench_->iommu.unmap(ring).has_value()) << "mapped for no I/O: no opportunity";
  const std::uint64_t before = bench_->iommu.mapped_pages();
  const Cookie io{.value = first_id, .generation = {5}, .tag = {2}, .queue = {}};
  const dma::IovaSegment segment = map(io);
  EXPECT_EQ(bench_->iommu.unmap(segment), std::unexpected(dma::MapFailure::unmap_failed));
  EXPECT_EQ(bench_->iommu.mapped_pages(), before + 1);
  EXPECT_TRUE(bench_->iommu.unmap(segment).has_value());
  EXPECT_EQ(bench_->iommu.mapped_pages(), before);
  EXPECT_EQ(first(), NvmeDones{good(first_id)});
}

// Goal: memory that a stopped controller cannot reach is unmapped.
TEST(NvmeFaults, AnUnmapSucceedsWhenTheControllerHasStopped) {
  const Script script{{FaultKind::unmap_failure, 0}};
  NvmeBench bench{NvmeBench::two_queues(), &script};
  bench.start();
  std::vector<std::byte> memory(64);
  const Cookie io{.value = 0x5002, .generation = {5}, .tag = {2}, .queue = {}};
  const dma::IovaSegment segment{*bench.iommu.map({memory.data(), 64}, Direction::to_device, io),
                                 64};
  bench.controller->write32(blkown::nvme::reg::cc, 0);
  EXPECT_TRUE(bench.iommu.unmap(segment).has_value());
}

// Goal: the memory of an I/O stays mapped although the controller has stopped, if a plan says so. A
// running controller has no opportunity for the fault, nor has one that has failed.
TEST(NvmeFaults, AnUnmapFailsWhenTheControllerHasStoppedIfAPlanSaysSo) {
  const Script script{{FaultKind::unmap_failure_stopped, 0}};
  NvmeBench bench{NvmeBench::two_queues(), &script};
  bench.start();
  EXPECT_FALSE(bench.controller->is_stopped());
  std::vector<std::byte> memory(64);
  const Cookie io{.value = 0x5002, .generation = {5}, .tag = {2}, .queue = {}};
  const auto map = [&] {
    return dma::IovaSegment{*bench.iommu.map({memory.data(), 64}, Direction::to_device, io), 64};
  };
  EXPECT_TRUE(bench.iommu.unmap(map()).has_value()) << "the controller runs";
  const dma::IovaSegment segment = map();
  const std::uint64_t before = bench.iommu.mapped_pages();
  bench.controller->write32(blkown::nvme::reg::cc, 0);
  EXPECT_TRUE(bench.controller->is_stopped());
  EXPECT_EQ(bench.iommu.unmap(segment), std::unexpected(dma::MapFailure::unmap_failed));
  EXPECT_EQ(bench.iommu.mapped_pages(), before);
  EXPECT_TRUE(bench.iommu.unmap(segment).has_value()) << "struck once";
  EXPECT_EQ(bench.plan.struck(), script);
}

TEST_F(NvmeFault, MediaErrorMovesNothing) {
  strike(FaultKind::media_error);
  EXPECT_EQ(first(), (NvmeDones{{first_id, Code::write_fault, 0}}));
  EXPECT_TRUE(bench_->is_zero(0, 4));
}

TEST(NvmeFaults, AMediaErrorOfAReadHasItsOwnStatus) {
  for (const bool compares : {false, true}) {
    const Script script{first_io(FaultKind::media_error)};
    NvmeBench bench{NvmeBench::two_queues(), &script};
    bench.start();
    const Entry entry = compares ? bench.with_data(Entry::compare(1, {0, 1})) : bench.read(1);
    EXPECT_EQ(bench.answer(entry, false), Code::unrecovered_read_error);
  }
}

TEST_F(NvmeFault, ResetIsAFatalErrorUntilTheReset) {
  strike(FaultKind::reset);
  EXPECT_TRUE(first().empty());
  EXPECT_EQ(bench_->failures, 1);
  EXPECT_TRUE(bench_->csts().is_fatal());
  EXPECT_EQ(bench_->controller->next_ns(), std::nullopt);
  EXPECT_EQ(bench_->controller->command_count(), 1U);
  bench_->disable();
  bench_->start();
  EXPECT_FALSE(bench_->csts().is_fatal());
  bench_->run();
  EXPECT_TRUE(bench_->completions().empty());
  EXPECT_TRUE(bench_->is_zero(0, 4)) << "the command is gone";
}

TEST_F(NvmeFault, NoPhaseChangeIsInvisibleToTheDriver) {
  strike(FaultKind::no_phase_change);
  EXPECT_TRUE(first().empty());
  EXPECT_EQ(bench_->interrupts, std::vector<std::uint32_t>{1});
  EXPECT_TRUE(is_written());
  EXPECT_EQ(bench_->controller->command_count(), 1U) << "no completion was sent";
  EXPECT_TRUE(bench_->carry_out(NvmeBench::flush(0x31)).empty())
      << "the entry before it is not visible";
  bench_->disable();
  bench_->start();
}

// --- interrupts ----------------------------------------------------------------------------------

TEST_F(NvmeFault, InterruptLostIsACompletionWithoutItsInterrupt) {
  strike(FaultKind::interrupt_lost);
  EXPECT_EQ(first(), NvmeDones{good(first_id)});
  EXPECT_TRUE(bench_->interrupts.empty());
}

TEST(NvmeFaults, ASpuriousInterruptIsOfAnyQueue) {
  std::array<int, 3> vectors{};
  for (std::uint64_t seed = 0; seed != 16; ++seed) {
    const Script script{first_io(FaultKind::interrupt_spurious)};
    NvmeBench bench{NvmeBench::two_queues(), &script, seed};
    bench.start();
    EXPECT_EQ(bench.carry_out(NvmeBench::flush(1)), NvmeDones{good(1)});
    EXPECT_EQ(std::ranges::count(bench.interrupts, 1U), 1) << "its own";
    for (const std::uint32_t vector : bench.interrupts) ++vectors.at(vector);
  }
  EXPECT_GT(vectors[0], 0);
  EXPECT_GT(vectors[2], 0);
}

TEST_F(NvmeFault, InterruptLateIsOneForAllCompletionsUntilThen) {
  strike(FaultKind::interrupt_late);
  bench_->put(bench_->write(first_id, 0, 4));
  bench_->put(bench_->write(0x31, 20));
  bench_->ring_tail();
  NvmeDones seen = bench_->first_completions();
  // As a thread of the queue does, which looks for a step at any time.
  while (bench_->controller->step_queue(1, bench_->now_ns)) {
  }
  EXPECT_TRUE(bench_->interrupts.empty()) << "not due yet";
  bench_->run();
  EXPECT_EQ(bench_->interrupts, std::vector<std::uint32_t>{1});
  for (const NvmeDone& done : bench_->completions()) seen.push_back(done);
  EXPECT_EQ(seen, (NvmeDones{good(first_id), good(0x31)}));
}

// --- fields of a completion ----------------------------------------------------------------------

TEST(NvmeFaults, AWrongHeadIsBeyondTheRingOrBeyondTheTail) {
  int outside = 0;
  for (std::uint64_t seed = 0; seed != 16; ++seed) {
    const Script script{first_io(FaultKind::wrong_sq_head)};
    NvmeBench bench{NvmeBench::two_queues(), &script, seed};
    bench.start();
    EXPECT_EQ(bench.carry_out(NvmeBench::flush(1)), NvmeDones{good(1)});
    EXPECT_NE(bench.latest.sq_head, 1U) << "the head";
    if (bench.latest.sq_head >= NvmeBench::entries) ++outside;
    EXPECT_EQ(bench.carry_out(NvmeBench::flush(2)), NvmeDones{good(2)});
    EXPECT_EQ(bench.latest.sq_head, 2U) << "the next one is right";
  }
  EXPECT_GT(outside, 0);
  EXPECT_LT(outside, 16);
}

TEST_F(NvmeFault, WrongSqIdIsTheOnlyCompletion) {
  strike(FaultKind::wrong_sq_id);
  EXPECT_EQ(first(), NvmeDones{good(first_id)});
  EXPECT_NE(bench_->latest.sq_id, 1U);
  EXPECT_TRUE(is_written());
  EXPECT_EQ(bench_->controller->command_count(), 1U) << "until an abort or a reset";
}

TEST_F(NvmeFault, DoNotRetryFailsForGood) {
  strike(FaultKind::do_not_retry);
  EXPECT_EQ(bench_->answer(bench_->write(first_id, 0, 4), true), Code::internal_error);
  EXPECT_TRUE(bench_->is_zero(0, 4));
}

// --- the medium ----------------------------------------------------------------------------------

TEST(NvmeFaults, ABadRangeStaysUnreadableUntilAWriteCoversIt) {
  const Script script{{FaultKind::bad_range, 0}};
  NvmeBench bench{NvmeBench::two_queues(), &script};
  bench.start();
  constexpr Code bad = Code::unrecovered_read_error;
  EXPECT_EQ(bench.answer(bench.read(1, 4, 4), false), bad);
  for (int i = 0; i != 3; ++i) EXPECT_EQ(bench.answer(bench.read(1, 4, 4), false), bad);
  EXPECT_EQ(bench.answer(bench.read(1, 7, 4), false), bad);
  EXPECT_EQ(bench.answer(bench.read(1, 0, 5), false), bad);
  EXPECT_EQ(bench.answer(bench.with_data(Entry::compare(1, {5, 1})), false), bad);
  for (const std::uint64_t other : {0U, 8U}) {
    EXPECT_EQ(bench.one(bench.read(1, other, 4)).code, Code::success);
  }
  EXPECT_EQ(bench.one(bench.with_data(Entry::read(3, {4, 1}))).code, Code::success);
  EXPECT_EQ(bench.one(bench.write(1, 5, 3)).code, Code::success);
  EXPECT_EQ(bench.answer(bench.read(1, 4, 4), false), bad) << "one block was not written";
  EXPECT_EQ(bench.one(bench.write(1, 4, 4)).code, Code::success);
  EXPECT_EQ(bench.one(bench.read(1, 4, 4)).code, Code::success);
}

TEST(NvmeFaults, ABadRangeMayReachBeyondTheLargestBlock) {
  constexpr std::uint64_t largest = ~std::uint64_t{0};
  const Script script{{FaultKind::bad_range, 0}};
  NvmeBench bench{NvmeBench::two_queues(), &script};
  bench.start();
  EXPECT_EQ(bench.answer(bench.read(1, largest - 2, 6), false), Code::unrecovered_read_error);
  EXPECT_EQ(bench.answer(bench.read(1, largest, 1), false), Code::unrecovered_read_error);
  EXPECT_EQ(bench.answer(bench.read(1, largest - 3, 1), true), Code::lba_out_of_range);
  EXPECT_EQ(bench.one(bench.read(1, 0, 4)).code, Code::success);
}

// --- the controller's states ---------------------------------------------------------------------

TEST(NvmeFaults, AControllerThatNeverGetsReadyCanBeDisabledAndEnabled) {
  const Script script{{FaultKind::never_ready, 0}};
  NvmeBench bench{NvmeBench::two_queues(), &script};
  bench.write_enable();
  bench.run();
  EXPECT_FALSE(bench.csts().is_ready());
  EXPECT_FALSE(bench.csts().is_fatal());
  EXPECT_EQ(bench.controller->next_ns(), std::nullopt) << "it does nothing";
  bench.disable();
  bench.run();
  bench.start();
  EXPECT_TRUE(bench.csts().is_ready());
}

TEST(NvmeFaults, ASlowStopCompletesWhatWasFetched) {
  const Script script{{FaultKind::slow_stop, 0}};
  NvmeBench bench{NvmeBench::two_queues(), &script};
  bench.start();
  bench.submit(bench.write(1));
  ASSERT_TRUE(bench.controller->step(bench.now_ns)) << "fetches";
  bench.disable();
  EXPECT_TRUE(bench.csts().is_ready());
  bench.submit(bench.write(2));
  EXPECT_EQ(bench.first_completions(), NvmeDones{good(1)});
  EXPECT_TRUE(bench.csts().is_ready());
  bench.run();
  EXPECT_FALSE(bench.csts().is_ready());
  EXPECT_TRUE(bench.completions().empty()) << "the second one was never fetched";
  bench.start();
  bench.disable();
  EXPECT_FALSE(bench.csts().is_ready()) << "once";
}

TEST(NvmeFaults, ARefusedAbortLeavesTheCommandAlone) {
  int by_status = 0;
  for (std::uint64_t seed = 0; seed != 16; ++seed) {
    const Script script{{FaultKind::late, commands_before}, {FaultKind::abort_refused, 0}};
    NvmeBench bench{NvmeBench::two_queues(), &script, seed};
    bench.start();
    bench.submit(bench.write(0x11));
    ASSERT_TRUE(bench.controller->step(bench.now_ns));
    bench.submit(Entry::abort(1, 0x11), 0);
    bench.run();
    const NvmeDones answer = bench.completions(0);
    ASSERT_EQ(answer.size(), 1U);
    if (answer[0].code == Code::success) {
      EXPECT_EQ(answer[0].dw0 & 1, 1U);
    } else {
      EXPECT_EQ(answer[0].code, Code::abort_command_limit_exceeded);
      EXPECT_TRUE(bench.not_to_retry.empty());
      ++by_status;
    }
    EXPECT_EQ(bench.completions(), NvmeDones{good(0x11)});
  }
  EXPECT_GT(by_status, 0);
  EXPECT_LT(by_status, 16);
}

// Goal: the controller has an event whenever the driver asks, and some have no log page.
TEST(NvmeFaults, AnEventFloodGoesOnAsLongAsTheDriverReadsLogPages) {
  const Script script{first_io(FaultKind::event_flood)};
  NvmeBench bench{NvmeBench::two_queues(), &script};
  bench.start();
  EXPECT_EQ(bench.carry_out(NvmeBench::flush(1)), NvmeDones{good(1)});
  int events = 0;
  int without_page = 0;
  for (int i = 0; i != 64; ++i) {
    const NvmeDones done =
        bench.carry_out(NvmeBench::with_id(Entry::async_event_request(), 0x77), 0);
    if (done.empty()) break;
    ASSERT_EQ(done.size(), 1U);
    ++events;
    const auto page = blkown::nvme::AsyncEvent{done[0].dw0}.log_page();
    if (page == blkown::nvme::LogPageId{0xF0}) ++without_page;
    static_cast<void>(bench.admin(bench.with_data(Entry::get_log_page(page, 64))));
  }
  EXPECT_GE(events, 12);
  EXPECT_LT(events, 64) << "and ends";
  EXPECT_GT(without_page, 0);
}

TEST_F(NvmeFault, FailsOnItsOwnAfterTheCompletion) {
  strike(FaultKind::fails_on_its_own);
  EXPECT_EQ(first(), NvmeDones{good(first_id)});
  EXPECT_TRUE(is_written());
  EXPECT_EQ(bench_->failures, 1);
  EXPECT_TRUE(bench_->csts().is_fatal());
  bench_->disable();
  bench_->start();
}

TEST_F(NvmeFault, DmaAfterUnmapIsRefusedAndLogged) {
  for (const bool reads : {true, false}) {
    strike(FaultKind::dma_after_unmap);
    const Cookie own{.value = first_id, .generation = {5}, .tag = {2}, .queue = {}};
    std::vector<std::byte> memory(512, std::byte{0x77});
    const auto iova = bench_->iommu.map({memory.data(), 512}, Direction::bidirectional, own);
    ASSERT_TRUE(iova.has_value());
    const IovaSegment segment{.iova = *iova, .length_bytes = 512};
    Entry entry = reads ? bench_->read(first_id) : bench_->write(first_id);
    entry.prp1 = *iova;
    entry.prp2 = *iova / 4096 * 4096 + 4096;
    bench_->submit(entry);
    EXPECT_EQ(bench_->first_completions(), NvmeDones{good(first_id)});
    bench_->iommu.unmap(segment);
    bench_->iommu.invalidate({&segment, 1});
    const auto before = memory;
    const std::size_t admin_commands = bench_->controller->command_count() - 1;
    bench_->run();
    EXPECT_EQ(bench_->controller->command_count(), admin_commands) << "the access has ended";
    EXPECT_TRUE(bench_->completions().empty());
    EXPECT_EQ(memory, before);
    const auto faults = bench_->iommu.faults();
    ASSERT_EQ(faults.size(), 1U);
    EXPECT_TRUE(faults[0].is_forbidden);
    EXPECT_EQ(faults[0].cookie, first_id);
    EXPECT_EQ(faults[0].direction, reads ? Direction::from_device : Direction::to_device);
  }
}

TEST_F(NvmeFault, DmaAfterUnmapChangesNoMemoryThatIsStillMapped) {
  strike(FaultKind::dma_after_unmap);
  EXPECT_EQ(first(), NvmeDones{good(first_id)});
  EXPECT_TRUE(is_written());
  EXPECT_EQ(bench_->iommu.fault_counts().total(), 0U);
}

TEST(NvmeFaults, DmaAfterUnmapOfACommandOutOfRangeStaysWithinTheMedium) {
  const Script script{first_io(FaultKind::dma_after_unmap)};
  NvmeBench bench{NvmeBench::two_queues(), &script};
  bench.start();
  EXPECT_EQ(bench.one(bench.read(1, ~std::uint64_t{0} / 1024, 16)).code, Code::lba_out_of_range);
}

// Goal: the kinds that NVMe cannot express never strike: they are the message device's.
TEST(NvmeFaults, SomeKindsAreNotOfNvme) {
  Script script;
  for (std::size_t kind = 0; kind != blkown::sim::fault_kind_count; ++kind) {
    const auto fault = static_cast<FaultKind>(kind);
    if (is_of_nvme(fault)) continue;
    for (std::uint64_t i = 0; i != 64; ++i) script.push_back({fault, i});
  }
  ASSERT_FALSE(script.empty());
  NvmeBench bench{NvmeBench::two_queues(), &script};
  bench.start();
  EXPECT_EQ(bench.carry_out(bench.write(1, 0, 16)), NvmeDones{good(1)});
  EXPECT_TRUE(bench.plan.struck().empty());
}

// Goal: a false completion does not take the place of a genuine one.
TEST(NvmeFaults, AFullQueueHasNoRoomForAFalseCompletion) {
  Script script;
  for (std::uint64_t i = 0; i != 8; ++i) script.push_back({FaultKind::forged, commands_before + i});
  NvmeBench bench{NvmeBench::two_queues(), &script};
  bench.start();
  for (std::uint16_t id = 1; id != 5; ++id) bench.put(NvmeBench::flush(id));
  bench.ring_tail();
  bench.run();
  NvmeDones seen = bench.completions();
  bench.run();
  for (const NvmeDone& done : bench.completions()) seen.push_back(done);
  for (std::uint16_t id = 1; id != 5; ++id) {
    EXPECT_GE(std::ranges::count(seen, id, &NvmeDone::command_id), 1) << id;
  }
}

// Goal: the same seed gives the same run, and another seed another one.
TEST(NvmeFaults, TheSameSeedGivesTheSameRun) {
  const auto run = [](std::uint64_t seed) {
    NvmeConfig config = NvmeBench::two_queues();
    config.longest_ns = 50'000;
    config.seed = seed;
    Script script;
    for (std::size_t kind = 0; kind != blkown::sim::fault_kind_count; ++kind) {
      const auto fault = static_cast<FaultKind>(kind);
      if (fault == FaultKind::reset || fault == FaultKind::no_phase_change) continue;
      if (fault == FaultKind::fails_on_its_own) continue;
      for (std::uint64_t i = 0; i != 8; ++i) script.push_back({fault, commands_before + i * 5});
    }
    NvmeBench bench{config, &script, seed};
    bench.start();
    std::vector<std::pair<std::uint64_t, std::uint32_t>> order;
    for (std::uint16_t i = 0; i != 40; ++i) {
      const std::uint16_t queue = i % 2 == 0 ? 1 : 2;
      const auto id = static_cast<std::uint16_t>((i << 12) | i);
      for (const NvmeDone& done : bench.carry_out(bench.write(id, i), queue)) {
        order.emplace_back(bench.now_ns, done.command_id);
      }
      static_cast<void>(bench.completions(0));
      static_cast<void>(bench.completions(queue == 1 ? 2 : 1));
    }
    return order;
  };
  EXPECT_EQ(run(3), run(3));
  EXPECT_NE(run(3), run(4));
}

}  // namespace
}  // namespace sim_test
