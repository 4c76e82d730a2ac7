// SPDX-License-Identifier: BSL-1.0
//
// The registers, queues and interrupts of an NvmeController. nvme_controller_admin_test.cpp tests
// the admin commands, nvme_controller_io_test.cpp the I/O commands, nvme_controller_fault_test.cpp
// the faults.

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "sim/device/nvme_bench.hpp"

namespace sim_test {
namespace {

// --- registers -----------------------------------------------------------------------------------

TEST(NvmeRegisters, TellWhatTheControllerCan) {
  NvmeConfig config = NvmeBench::two_queues();
  config.ready_timeout_ms = 2'000;
  config.doorbell_stride_exponent = 3;
  NvmeBench bench{config};
  const nvme::Cap cap{bench.controller->read64(nvme::reg::cap)};
  EXPECT_EQ(cap.max_queue_entries(), 64U);
  EXPECT_TRUE(cap.contiguous_queues_required());
  EXPECT_EQ(cap.ready_timeout_ms(), 2'000U);
  EXPECT_EQ(cap.doorbell_stride_exponent(), 3U);
  EXPECT_TRUE(cap.supports_nvm_command_set());
  EXPECT_FALSE(cap.supports_subsystem_reset());
  EXPECT_FALSE(cap.supports_weighted_round_robin());
  EXPECT_EQ(cap.min_page_bytes(), 4096U);
  EXPECT_EQ(cap.max_page_bytes(), 65536U);
  EXPECT_EQ(bench.controller->read32(nvme::reg::cap + 4), cap.value >> 32);
  EXPECT_EQ(bench.controller->read32(nvme::reg::vs), 0x10400U);
  EXPECT_EQ(bench.csts().value, 0U);
}

TEST(NvmeRegisters, OtherOffsetsReadAsZero) {
  NvmeBench bench;
  bench.start();
  bench.controller->write32(nvme::reg::nssr, nvme::nssr_reset);
  bench.controller->write32(nvme::reg::intms, ~0U);
  for (const std::uint64_t offset : {0x0CU, 0x10U, 0x18U, 0x20U, 0x38U, 0x3CU, 0x50U, 0xFFCU,
                                     0x1000U, 0x1004U, 0x1009U, 0x80000000U}) {
    EXPECT_EQ(bench.controller->read32(offset), 0U) << offset;
  }
  EXPECT_TRUE(bench.csts().is_ready()) << "there is no subsystem reset";
}

TEST(NvmeRegisters, ReadyFollowsEnableAfterATime) {
  NvmeConfig config = NvmeBench::two_queues();
  config.ready_ns = 5'000;
  NvmeBench bench{config};
  bench.write_enable();
  EXPECT_EQ(bench.wakes, 1);
  EXPECT_FALSE(bench.csts().is_ready());
  bench.run(4'999);
  EXPECT_FALSE(bench.csts().is_ready());
  bench.run(5'000);
  EXPECT_TRUE(bench.csts().is_ready());
  bench.disable();
  EXPECT_TRUE(bench.csts().is_ready());
  bench.run(9'999);
  EXPECT_TRUE(bench.csts().is_ready());
  bench.run(10'000);
  EXPECT_FALSE(bench.csts().is_ready());
}

TEST(NvmeRegisters, AreFixedWhileTheControllerIsEnabled) {
  NvmeBench bench;
  bench.start();
  const std::uint64_t asq = bench.controller->read64(nvme::reg::asq);
  const std::uint32_t aqa = bench.controller->read32(nvme::reg::aqa);
  bench.controller->write64(nvme::reg::asq, 0x1000);
  bench.controller->write32(nvme::reg::aqa, 0);
  EXPECT_EQ(bench.controller->read64(nvme::reg::asq), asq);
  EXPECT_EQ(bench.controller->read32(nvme::reg::aqa), aqa);
  bench.disable();
  bench.controller->write64(nvme::reg::asq, 0x1'2345'6789);
  EXPECT_EQ(bench.controller->read64(nvme::reg::asq), 0x1'2345'6000U) << "the low bits are 0";
}

TEST(NvmeRegisters, AQueueMayLieAnywhere) {
  NvmeBench bench;
  bench.controller->write64(nvme::reg::asq, 0x1234'5678'9000);
  bench.controller->write64(nvme::reg::acq, 0x2345'6789'A000);
  EXPECT_EQ(bench.controller->read64(nvme::reg::asq), 0x1234'5678'9000U);
  EXPECT_EQ(bench.controller->read64(nvme::reg::acq), 0x2345'6789'A000U);
}

TEST(NvmeRegisters, AnUnsupportedEnableIsAFatalError) {
  for (const int wrong : {0, 1, 2, 3, 4, 5}) {
    NvmeBench bench;
    nvme::Cc cc = NvmeBench::enabled();
    if (wrong == 0) cc.set_command_set(1);
    if (wrong == 1) cc.set_page_bytes(131072);
    if (wrong == 2) cc.set_arbitration(nvme::ArbitrationMechanism::weighted_round_robin);
    if (wrong == 3) cc.set_page_bytes(65536);  // the queues are not aligned to it
    bench.controller->write64(nvme::reg::asq, 0x11000);
    bench.controller->write64(nvme::reg::acq, 0x13000);
    nvme::Aqa aqa = nvme::Aqa::of(8, 8);
    if (wrong == 4) aqa = nvme::Aqa::of(1, 8);
    if (wrong == 5) aqa = nvme::Aqa::of(8, 1);
    bench.controller->write32(nvme::reg::aqa, aqa.value);
    bench.controller->write32(nvme::reg::cc, cc.value);
    bench.run();
    EXPECT_TRUE(bench.csts().is_fatal()) << wrong;
    EXPECT_FALSE(bench.csts().is_ready()) << wrong;
    bench.disable();
    EXPECT_EQ(bench.csts().value, 0U);
    bench.start();
    EXPECT_EQ(bench.one(NvmeBench::flush(1)).code, Code::success);
  }
}

TEST(NvmeRegisters, AnUnpluggedDeviceReadsAsOnes) {
  NvmeBench bench;
  bench.start();
  bench.submit(bench.write(1));
  bench.controller->unplug();
  EXPECT_EQ(bench.failures, 1);
  EXPECT_TRUE(bench.csts().is_gone());
  EXPECT_EQ(bench.controller->read64(nvme::reg::cap), ~std::uint64_t{0});
  bench.run();
  bench.submit(bench.write(2));
  bench.disable();
  bench.write_enable();
  bench.run();
  EXPECT_TRUE(bench.csts().is_gone());
  EXPECT_TRUE(bench.take().empty());
  EXPECT_TRUE(bench.is_zero(0, 1));
}

TEST(NvmeRegisters, TheRemovalOfADisabledDeviceIsAFailureToo) {
  NvmeBench bench;
  bench.controller->unplug();
  EXPECT_EQ(bench.failures, 1);
}

// --- shutdown ------------------------------------------------------------------------------------

TEST(NvmeShutdown, AnnouncesItselfAndSavesTheCache) {
  for (const auto request : {nvme::ShutdownRequest::normal, nvme::ShutdownRequest::abrupt}) {
    NvmeConfig config = NvmeBench::two_queues();
    config.shutdown_ns = 7'000;
    NvmeBench bench{config};
    bench.start();
    const std::uint64_t begin_ns = bench.now_ns;
    EXPECT_EQ(bench.one(bench.write(1)).code, Code::success);
    nvme::Cc cc = NvmeBench::enabled();
    cc.set_shutdown(request);
    bench.controller->write32(nvme::reg::cc, cc.value);
    EXPECT_EQ(bench.csts().shutdown(), nvme::ShutdownState::in_progress);
    bench.submit(bench.write(2, 8));
    bench.run(begin_ns + 6'999);
    EXPECT_EQ(bench.csts().shutdown(), nvme::ShutdownState::in_progress);
    bench.run();
    EXPECT_EQ(bench.csts().shutdown(), nvme::ShutdownState::complete);
    EXPECT_TRUE(bench.is_zero(8, 1)) << "nothing is fetched";
    bool is_kept = true;
    for (std::uint64_t seed = 0; seed != 8; ++seed) {
      const auto left = bench.first.after_power_cut(seed);
      if (!std::ranges::equal(std::span{left}.first(512), bench.data().first(512))) is_kept = false;
    }
    EXPECT_EQ(is_kept, request == nvme::ShutdownRequest::normal);
    bench.disable();
    EXPECT_EQ(bench.csts().value, 0U);
    bench.start();
    EXPECT_EQ(bench.one(NvmeBench::flush(1)).code, Code::success);
  }
}

TEST(NvmeShutdown, IsNotRepeatedByAnEqualWrite) {
  NvmeConfig config = NvmeBench::two_queues();
  config.shutdown_ns = 7'000;
  NvmeBench bench{config};
  bench.start();
  nvme::Cc cc = NvmeBench::enabled();
  cc.set_shutdown(nvme::ShutdownRequest::normal);
  bench.controller->write32(nvme::reg::cc, cc.value);
  bench.run();
  bench.controller->write32(nvme::reg::cc, cc.value);
  EXPECT_EQ(bench.csts().shutdown(), nvme::ShutdownState::complete);
}

// Goal: a shutdown that is requested while the controller is being disabled is not lost.
TEST(NvmeShutdown, RequestedWhileTheControllerIsBeingDisabledCompletes) {
  NvmeConfig config = NvmeBench::two_queues();
  config.ready_ns = 5'000;
  config.shutdown_ns = 7'000;
  NvmeBench bench{config};
  bench.start();
  nvme::Cc cc = NvmeBench::enabled();
  cc.set_enabled(false);
  bench.controller->write32(nvme::reg::cc, cc.value);
  EXPECT_TRUE(bench.csts().is_ready());
  cc.set_shutdown(nvme::ShutdownRequest::normal);
  bench.controller->write32(nvme::reg::cc, cc.value);
  bench.run(bench.now_ns + 5'000);
  EXPECT_FALSE(bench.csts().is_ready());
  EXPECT_EQ(bench.csts().shutdown(), nvme::ShutdownState::in_progress);
  bench.run();
  EXPECT_EQ(bench.csts().shutdown(), nvme::ShutdownState::complete);
}

// Goal: a host may write CC.SHN at any time, and then waits for CSTS.SHST.
TEST(NvmeShutdown, OfADisabledControllerIsCompleteUntilItIsEnabled) {
  NvmeConfig config = NvmeBench::two_queues();
  config.shutdown_ns = 7'000;
  NvmeBench bench{config};
  nvme::Cc cc = NvmeBench::enabled();
  cc.set_enabled(false);
  cc.set_shutdown(nvme::ShutdownRequest::normal);
  bench.controller->write32(nvme::reg::cc, cc.value);
  EXPECT_EQ(bench.csts().shutdown(), nvme::ShutdownState::in_progress);
  bench.run(6'999);
  EXPECT_EQ(bench.csts().shutdown(), nvme::ShutdownState::in_progress);
  bench.run();
  EXPECT_EQ(bench.csts().shutdown(), nvme::ShutdownState::complete);
  EXPECT_FALSE(bench.csts().is_ready());
  bench.start();
  EXPECT_EQ(bench.csts().shutdown(), nvme::ShutdownState::none);
  EXPECT_EQ(bench.one(NvmeBench::flush(1)).code, Code::success);
}

TEST(NvmeShutdown, OfADisabledControllerIsGivenUpWhenItIsEnabled) {
  NvmeConfig config = NvmeBench::two_queues();
  config.shutdown_ns = 7'000;
  NvmeBench bench{config};
  nvme::Cc cc;
  cc.set_shutdown(nvme::ShutdownRequest::normal);
  bench.controller->write32(nvme::reg::cc, cc.value);
  bench.write_enable();
  bench.run();
  EXPECT_TRUE(bench.csts().is_ready());
  EXPECT_EQ(bench.csts().shutdown(), nvme::ShutdownState::none);
}

TEST(NvmeShutdown, FetchesNothingFromAQueueThatIsCreatedLater) {
  NvmeBench bench;
  bench.start(0);
  EXPECT_EQ(bench.admin(bench.create_cq(1)).code, Code::success);
  bench.submit(bench.create_sq(1), 0);
  ASSERT_TRUE(bench.controller->step(bench.now_ns)) << "fetched";
  nvme::Cc cc = NvmeBench::enabled();
  cc.set_shutdown(nvme::ShutdownRequest::normal);
  bench.controller->write32(nvme::reg::cc, cc.value);
  EXPECT_EQ(bench.csts().shutdown(), nvme::ShutdownState::complete);
  bench.run();
  EXPECT_EQ(bench.completions(0), (NvmeDones{{0, Code::success, 0}}));
  bench.submit(bench.write(1));
  bench.run();
  EXPECT_TRUE(bench.take().empty());
  EXPECT_TRUE(bench.is_zero(0, 1));
}

// --- reset ---------------------------------------------------------------------------------------

TEST(NvmeReset, GivesUpCommandsAndQueues) {
  NvmeBench bench;
  bench.start();
  bench.submit(bench.write(1));
  static_cast<void>(bench.controller->step(bench.now_ns));
  EXPECT_EQ(bench.controller->command_count(), 1U);
  bench.disable();
  EXPECT_EQ(bench.controller->command_count(), 0U);
  EXPECT_EQ(bench.controller->next_ns(), std::nullopt);
  bench.run();
  EXPECT_TRUE(bench.take().empty());
  EXPECT_TRUE(bench.is_zero(0, 1));
  bench.submit(bench.write(2));
  bench.run();
  EXPECT_TRUE(bench.is_zero(0, 1)) << "the queue is gone";
  bench.start();
  EXPECT_EQ(bench.one(bench.write(3)).code, Code::success);
}

// Goal: a driver that takes its memory back before CSTS.RDY is 0 is wrong, and the IOMMU shows it.
TEST(NvmeReset, ExecutesUntilReadyIsClear) {
  NvmeConfig config = NvmeBench::two_queues();
  config.ready_ns = 1'000'000;
  NvmeBench bench{config};
  bench.start();
  bench.submit(bench.write(1));
  static_cast<void>(bench.controller->step(bench.now_ns));
  bench.put(bench.write(2, 8));
  bench.disable();
  bench.ring_tail();
  bench.run(bench.now_ns + 500'000);
  EXPECT_EQ(bench.take().size(), 1U);
  EXPECT_FALSE(bench.is_zero(0, 1));
  EXPECT_TRUE(bench.is_zero(8, 1)) << "nothing is fetched";
  bench.controller->write32(nvme::reg::cc, NvmeBench::enabled().value);
  EXPECT_FALSE(nvme::Cc{bench.controller->read32(nvme::reg::cc)}.is_enabled())
      << "not before CSTS.RDY is 0";
  bench.run();
  EXPECT_FALSE(bench.csts().is_ready());
}

// Goal: CSTS.RDY = 0 proves that the controller touches no memory any more, rings included.
TEST(NvmeReset, AccessesNoMemoryAfterwards) {
  const Script script{{FaultKind::dma_after_unmap, NvmeBench::admin_commands},
                      {FaultKind::late, NvmeBench::admin_commands + 1}};
  NvmeBench bench{NvmeBench::two_queues(), &script};
  bench.start();
  bench.submit(bench.read(1));
  EXPECT_EQ(bench.first_completions().size(), 1U);
  bench.submit(bench.read(2));
  static_cast<void>(bench.controller->step(bench.now_ns));
  bench.submit(bench.read(3));
  bench.disable();
  EXPECT_FALSE(bench.csts().is_ready());
  bench.iommu.unmap({.iova = bench.base, .length_bytes = NvmeBench::page_count * NvmeBench::page});
  ASSERT_EQ(bench.iommu.mapped_pages(), 0U);
  static_cast<void>(bench.controller->disown(1, 3));
  bench.acknowledge();
  bench.run();
  EXPECT_EQ(bench.iommu.fault_counts().total(), 0U);
}

TEST(NvmeReset, ADestroyedControllerObservesNoMaps) {
  const Script script{{FaultKind::map_failure, 0}, {FaultKind::map_failure, 1}};
  NvmeBench bench{NvmeBench::two_queues(), &script};
  std::byte byte{};
  const blkown::Cookie cookie{.value = 1, .generation = {1}, .tag = {}, .queue = {}};
  const auto direction = blkown::dma::Direction::to_device;
  EXPECT_FALSE(bench.iommu.map({&byte, 1}, direction, cookie).has_value());
  bench.controller.reset();
  EXPECT_TRUE(bench.iommu.map({&byte, 1}, direction, cookie).has_value());
}

// --- queues --------------------------------------------------------------------------------------

TEST(NvmeQueue, ThePhaseTurnsWithEachRoundAndTheHeadIsReported) {
  NvmeBench bench;
  bench.start();
  for (std::uint16_t i = 0; i != 5 * NvmeBench::entries; ++i) {
    ASSERT_EQ(bench.carry_out(NvmeBench::flush(i)), (NvmeDones{{i, Code::success, 0}})) << i;
    EXPECT_EQ(bench.latest.sq_head, (i + 1U) % NvmeBench::entries);
    EXPECT_EQ(bench.latest.sq_id, 1U);
  }
}

TEST(NvmeQueue, FetchesEverythingUpToTheDoorbell) {
  NvmeBench bench;
  bench.start();
  for (std::uint16_t i = 0; i != NvmeBench::entries - 1; ++i) bench.put(NvmeBench::flush(i));
  EXPECT_EQ(bench.controller->next_ns(), std::nullopt);
  bench.ring_tail();
  for (std::size_t i = 0; i != NvmeBench::entries - 1; ++i) {
    EXPECT_EQ(bench.controller->next_ns(), 0U) << "a command can be fetched";
    EXPECT_TRUE(bench.controller->step(0));
    EXPECT_EQ(bench.controller->command_count(), i + 1);
  }
  bench.run();
  EXPECT_EQ(bench.completions().size(), NvmeBench::entries - 1);
  EXPECT_EQ(bench.controller->command_count(), 0U);
}

// Goal: no completion is lost or overwritten. The controller waits for the driver.
TEST(NvmeQueue, AFullCompletionQueueStopsTheController) {
  NvmeBench bench;
  bench.start();
  for (std::uint16_t i = 0; i != NvmeBench::entries - 1; ++i) bench.put(NvmeBench::flush(i));
  bench.ring_tail();
  bench.run();
  bench.submit(NvmeBench::flush(0x77));
  bench.run();
  EXPECT_EQ(bench.controller->next_ns(), std::nullopt);
  EXPECT_EQ(bench.take().size(), NvmeBench::entries - 1);
  bench.run();
  EXPECT_TRUE(bench.take().empty());
  bench.wakes = 0;
  bench.acknowledge();
  EXPECT_EQ(bench.wakes, 1) << "the controller has work again";
  bench.run();
  EXPECT_EQ(bench.completions(), (NvmeDones{{0x77, Code::success, 0}}));
}

TEST(NvmeQueue, QueuesAreIndependent) {
  NvmeBench bench;
  bench.start();
  bench.submit(NvmeBench::flush(0x11), 1);
  bench.submit(NvmeBench::flush(0x12), 2);
  bench.run();
  EXPECT_EQ(bench.completions(1), (NvmeDones{{0x11, Code::success, 0}}));
  EXPECT_EQ(bench.completions(2), (NvmeDones{{0x12, Code::success, 0}}));
}

TEST(NvmeQueue, TwoSubmissionQueuesShareACompletionQueue) {
  NvmeBench bench;
  bench.start(1);
  Entry entry = bench.create_sq(2);
  entry.cdw11 = 1 | (1U << 16);
  ASSERT_EQ(bench.admin(entry).code, Code::success);
  bench.submit(NvmeBench::flush(0x11), 2);
  bench.run();
  EXPECT_EQ(bench.completions(1), (NvmeDones{{0x11, Code::success, 0}}));
  EXPECT_EQ(bench.latest.sq_id, 2U);
  EXPECT_EQ(bench.latest.sq_head, 1U);
}

TEST(NvmeQueue, TheDoorbellsHaveTheirStride) {
  for (const unsigned exponent : {0U, 1U, 4U}) {
    NvmeConfig config = NvmeBench::two_queues();
    config.doorbell_stride_exponent = exponent;
    NvmeBench bench{config};
    bench.start();
    EXPECT_EQ(bench.one(NvmeBench::flush(1), 2).code, Code::success);
  }
}

/// Records the queues of the fetched commands.
class Fetches : public blkown::sim::NvmeObserver {
 public:
  std::string order;

 private:
  void command_fetched(std::uint32_t queue, const Entry&) override {
    if (queue != 0) order += static_cast<char>('0' + queue);
  }
  void command_refused(std::uint32_t, const Entry&) override {}
  void command_done(std::uint32_t, const Entry&) override {}
  void entry_posted(std::uint32_t, std::uint64_t, bool) override {}
  void entry_taken(std::uint32_t) override {}
  void stopped() override {}
};

// Goal: the submission queues take turns.
TEST(NvmeQueue, TheArbitrationBurstLimitsATurn) {
  const auto order = [](unsigned burst_exponent) {
    NvmeBench bench;
    Fetches fetches;
    bench.controller->set_observer(&fetches);
    bench.start();
    EXPECT_EQ(bench
                  .admin(Entry::set_features(nvme::FeatureId::arbitration,
                                             nvme::Arbitration::of(burst_exponent).value))
                  .code,
              Code::success);
    for (std::uint16_t i = 0; i != 4; ++i) {
      bench.put(NvmeBench::flush(i), 1);
      bench.put(NvmeBench::flush(i), 2);
    }
    bench.ring_tail(1);
    bench.ring_tail(2);
    bench.run();
    bench.controller->set_observer(nullptr);
    return fetches.order;
  };
  EXPECT_EQ(order(0), "12121212");
  EXPECT_EQ(order(1), "11221122");
  EXPECT_EQ(order(7), "11112222");
}

TEST(NvmeQueue, AQueueThatCannotBeReadIsAFatalError) {
  NvmeBench bench;
  bench.start(0);
  EXPECT_EQ(bench.admin(bench.create_cq(1)).code, Code::success);
  Entry entry = bench.create_sq(1);
  entry.prp1 = 0x5000'0000;
  EXPECT_EQ(bench.admin(entry).code, Code::success);
  bench.submit(NvmeBench::flush(1));
  bench.run();
  EXPECT_TRUE(bench.csts().is_fatal());
  EXPECT_TRUE(bench.controller->has_failed());
  EXPECT_EQ(bench.failures, 1);
  EXPECT_EQ(bench.iommu.faults().at(0).iova, 0x5000'0000U);
  EXPECT_EQ(bench.iommu.faults().at(0).device, 9U);
}

TEST(NvmeQueue, ACompletionThatCannotBeWrittenIsAFatalError) {
  NvmeBench bench;
  bench.start(0);
  Entry entry = bench.create_cq(1);
  entry.prp1 = 0x5000'0000;
  EXPECT_EQ(bench.admin(entry).code, Code::success);
  EXPECT_EQ(bench.admin(bench.create_sq(1)).code, Code::success);
  bench.submit(NvmeBench::flush(1));
  bench.run();
  EXPECT_TRUE(bench.csts().is_fatal());
  EXPECT_EQ(bench.failures, 1);
  bench.submit(Entry::identify(nvme::Cns::identify_controller), 0);
  bench.run();
  EXPECT_TRUE(bench.take(0).empty()) << "a failed controller executes nothing";
  EXPECT_EQ(bench.controller->next_ns(), std::nullopt);
  bench.disable();
  EXPECT_EQ(bench.csts().value, 0U);
  bench.start();
  EXPECT_EQ(bench.one(NvmeBench::flush(1)).code, Code::success);
  EXPECT_EQ(bench.failures, 1);
}

TEST(NvmeQueue, TheSameSeedTakesTheSameTimes) {
  const auto times = [](std::uint64_t seed) {
    NvmeConfig config = NvmeBench::two_queues();
    config.longest_ns = 50'000;
    config.seed = seed;
    NvmeBench bench{config};
    bench.start();
    std::string text;
    for (std::uint16_t i = 0; i != 20; ++i) {
      static_cast<void>(bench.carry_out(NvmeBench::flush(i)));
      text += std::to_string(bench.now_ns) + ' ';
    }
    return text;
  };
  EXPECT_EQ(times(1), times(1));
  EXPECT_NE(times(1), times(2));
}

// Goal: a latency near the end of the clock does not come early.
TEST(NvmeQueue, ALatencyPastTheEndOfTheClockDoesNotComeEarly) {
  NvmeConfig config = NvmeBench::two_queues();
  config.late_ns = ~std::uint64_t{0};
  const Script script{{FaultKind::late, NvmeBench::admin_commands}};
  NvmeBench bench{config, &script};
  bench.start();
  bench.submit(NvmeBench::flush(1));
  bench.run(bench.now_ns + 1'000'000'000);
  EXPECT_EQ(bench.completions(), NvmeDones{});
  EXPECT_EQ(bench.controller->next_ns(), ~std::uint64_t{0});

  // One command in eight takes no time. Each of the others takes at least a second.
  config.late_ns = 0;
  config.shortest_ns = 1'000'000'000;
  for (const std::uint64_t longest_ns : {std::uint64_t{1} << 33, ~std::uint64_t{0}}) {
    config.longest_ns = longest_ns;
    int early = 0;
    for (config.seed = 0; config.seed != 64; ++config.seed) {
      NvmeBench other{config};
      other.write_enable();
      other.submit(Entry::abort(1, 0x77), 0);
      other.run(999'999'999);
      if (!other.completions(0).empty()) ++early;
    }
    EXPECT_LT(early, 20);
  }
}

TEST(NvmeQueue, ACommandIdInUseIsAConflict) {
  NvmeBench bench;
  bench.start();
  bench.put(NvmeBench::flush(0x11));
  bench.put(NvmeBench::flush(0x11));
  bench.put(NvmeBench::flush(0x12));
  bench.ring_tail();
  bench.run();
  const NvmeDones done = bench.completions();
  ASSERT_EQ(done.size(), 3U);
  EXPECT_EQ(done[0], (NvmeDone{0x11, Code::command_id_conflict, 0}));
  EXPECT_TRUE(bench.not_to_retry.empty());
  EXPECT_EQ(bench.one(NvmeBench::flush(0x11)).code, Code::success) << "free again";
  EXPECT_EQ(bench.one(NvmeBench::flush(0x11), 2).code, Code::success);
}

// --- interrupts ----------------------------------------------------------------------------------

TEST(NvmeInterrupt, NamesTheVectorOfTheCompletionQueue) {
  NvmeBench bench;
  bench.start(0);
  Entry entry = bench.create_cq(1);
  entry.cdw11 = 3 | (5U << 16);
  EXPECT_EQ(bench.admin(entry).code, Code::success);
  EXPECT_EQ(bench.admin(bench.create_sq(1)).code, Code::success);
  EXPECT_EQ(bench.interrupts, (std::vector<std::uint32_t>{0, 0})) << "of the admin queue";
  bench.interrupts.clear();
  EXPECT_EQ(bench.one(NvmeBench::flush(1)).code, Code::success);
  EXPECT_EQ(bench.interrupts, std::vector<std::uint32_t>{5});
}

TEST(NvmeInterrupt, TheLastOf64VectorsIsOneToo) {
  NvmeConfig config = NvmeBench::two_queues();
  config.vectors = 64;
  NvmeBench bench{config};
  bench.start(0);
  Entry entry = bench.create_cq(1);
  entry.cdw11 = 3 | (63U << 16);
  EXPECT_EQ(bench.admin(entry).code, Code::success);
  EXPECT_EQ(bench.admin(bench.create_sq(1)).code, Code::success);
  bench.interrupts.clear();
  EXPECT_EQ(bench.one(NvmeBench::flush(1)).code, Code::success);
  EXPECT_EQ(bench.interrupts, std::vector<std::uint32_t>{63});
}

TEST(NvmeInterrupt, ComesNotToAPolledQueue) {
  NvmeBench bench;
  bench.start(0);
  Entry entry = bench.create_cq(1);
  entry.cdw11 = 1;
  EXPECT_EQ(bench.admin(entry).code, Code::success);
  EXPECT_EQ(bench.admin(bench.create_sq(1)).code, Code::success);
  bench.interrupts.clear();
  EXPECT_EQ(bench.one(NvmeBench::flush(1)).code, Code::success);
  EXPECT_TRUE(bench.interrupts.empty());
}

TEST(NvmeInterrupt, IsCoalescedByNumberAndByTime) {
  NvmeBench bench;
  bench.start();
  EXPECT_EQ(bench
                .admin(Entry::set_features(nvme::FeatureId::interrupt_coalescing,
                                           nvme::InterruptCoalescing::of(3, 200).value))
                .code,
            Code::success);
  EXPECT_EQ(bench.interrupts, std::vector<std::uint32_t>{0}) << "the admin queue's is at once";
  bench.interrupts.clear();
  for (std::uint16_t i = 0; i != 3; ++i) {
    EXPECT_TRUE(bench.interrupts.empty());
    bench.submit(NvmeBench::flush(i));
    bench.run(bench.now_ns + 10'000);
  }
  EXPECT_EQ(bench.interrupts, std::vector<std::uint32_t>{1}) << "the third entry";
  EXPECT_EQ(bench.completions().size(), 3U);
  bench.interrupts.clear();
  bench.submit(NvmeBench::flush(7));
  bench.run(bench.now_ns + 190'000);
  EXPECT_EQ(bench.completions().size(), 1U);
  EXPECT_TRUE(bench.interrupts.empty());
  bench.run(bench.now_ns + 210'000);
  EXPECT_EQ(bench.interrupts, std::vector<std::uint32_t>{1}) << "after 200 us";
  bench.interrupts.clear();
  EXPECT_EQ(bench
                .admin(Entry::set_features(nvme::FeatureId::interrupt_vector_configuration,
                                           nvme::InterruptVectorConfiguration::of(1, true).value))
                .code,
            Code::success);
  bench.interrupts.clear();
  bench.submit(NvmeBench::flush(8));
  bench.run(bench.now_ns + 10'000);
  EXPECT_EQ(bench.interrupts, std::vector<std::uint32_t>{1}) << "this vector is not coalesced";
}

// Goal: entries are counted for a vector, not for each completion queue that has it.
TEST(NvmeInterrupt, OfTwoQueuesWithOneVectorAreCoalescedTogether) {
  NvmeBench bench;
  bench.start();
  ASSERT_EQ(bench.admin(Entry::delete_io_sq(2)).code, Code::success);
  ASSERT_EQ(bench.admin(Entry::delete_io_cq(2)).code, Code::success);
  ASSERT_EQ(bench
                .admin(Entry::create_io_cq({.queue = 2,
                                            .entries = NvmeBench::entries,
                                            .iova = bench.iova_of(60),
                                            .vector = 1,
                                            .interrupts_enabled = true}))
                .code,
            Code::success);
  Entry submissions = bench.create_sq(2);
  submissions.prp1 = bench.iova_of(61);
  ASSERT_EQ(bench.admin(submissions).code, Code::success);
  ASSERT_EQ(bench
                .admin(Entry::set_features(nvme::FeatureId::interrupt_coalescing,
                                           nvme::InterruptCoalescing::of(2, 200).value))
                .code,
            Code::success);
  bench.interrupts.clear();
  const auto post = [&](std::uint16_t queue, std::size_t page) {
    const Entry entry = NvmeBench::flush(queue);
    std::memcpy(bench.pages(page).data(), &entry, sizeof entry);
    bench.ring(queue, false, 1);
    while (bench.controller->step(bench.now_ns += 10'000)) {
    }
  };
  post(1, 2);
  EXPECT_TRUE(bench.interrupts.empty());
  post(2, 61);
  EXPECT_EQ(bench.interrupts, std::vector<std::uint32_t>{1}) << "the second entry of the vector";
  bench.now_ns += 1'000'000;
  while (bench.controller->step(bench.now_ns)) {
  }
  EXPECT_EQ(bench.interrupts.size(), 1U) << "no queue waits any more";
}

TEST(NvmeInterrupt, ThatIsBeingCoalescedIsNotLostWithTheSubmissionQueue) {
  NvmeBench bench;
  bench.start();
  EXPECT_EQ(bench
                .admin(Entry::set_features(nvme::FeatureId::interrupt_coalescing,
                                           nvme::InterruptCoalescing::of(3, 200).value))
                .code,
            Code::success);
  bench.submit(NvmeBench::flush(1));
  bench.run(bench.now_ns + 10'000);
  bench.interrupts.clear();
  EXPECT_EQ(bench.admin(Entry::delete_io_sq(1)).code, Code::success);
  EXPECT_EQ(bench.interrupts, (std::vector<std::uint32_t>{0, 1}));
  EXPECT_EQ(bench.completions().size(), 1U);
}

// --- use -----------------------------------------------------------------------------------------

// --- hooks ---------------------------------------------------------------------------------------

TEST(NvmeHook, EachDoorbellIsAWake) {
  NvmeBench bench;
  bench.start();
  const int before = bench.wakes;
  bench.submit(NvmeBench::flush(1), 2);
  EXPECT_EQ(bench.wakes, before + 1);
  EXPECT_TRUE(bench.interrupts.empty());
  bench.run();
  EXPECT_EQ(bench.interrupts, std::vector<std::uint32_t>{2});
  EXPECT_EQ(bench.failures, 0);
}

TEST(NvmeHook, IsOptional) {
  const Script script{{FaultKind::reset, NvmeBench::admin_commands + 1}};
  NvmeBench bench{NvmeBench::two_queues(), &script};
  bench.start();
  bench.controller->set_hooks({});
  EXPECT_EQ(bench.carry_out(NvmeBench::flush(1)).size(), 1U);
  bench.submit(NvmeBench::flush(2));
  bench.run();
  EXPECT_TRUE(bench.csts().is_fatal());
}

/// Every hook calls the controller, as drivers do. A hook called with a lock held would deadlock.
struct Calling {
  explicit Calling(NvmeBench& its_bench) : bench{its_bench} {
    bench.controller->set_hooks({.argument = this,
                                 .interrupt = [](void* self, std::uint32_t) { call(self, 0); },
                                 .failed = [](void* self) { call(self, 1); },
                                 .wake = [](void* self) { call(self, 2); }});
  }
  static void call(void* self, std::size_t which) {
    Calling& calling = *static_cast<Calling*>(self);
    ++calling.counts[which];
    NvmeController& controller = *calling.bench.controller;
    if (which == 1) calling.bench.disable();
    if (std::exchange(calling.is_within, true)) return;
    static_cast<void>(controller.events());
    static_cast<void>(controller.step(0));
    static_cast<void>(controller.next_ns());
    static_cast<void>(controller.disown(2, 0x77));
    static_cast<void>(controller.read32(nvme::reg::csts));
    calling.bench.acknowledge();
    calling.is_within = false;
  }
  NvmeBench& bench;
  std::array<int, 3> counts{};
  bool is_within = false;
};

TEST(NvmeHook, IsCalledWithoutALock) {
  const Script script{{FaultKind::reset, NvmeBench::admin_commands + 1},
                      {FaultKind::before_publish, 0}};
  NvmeBench bench{NvmeBench::two_queues(), &script};
  bench.start();
  Calling calling{bench};
  bench.submit(NvmeBench::flush(1));
  EXPECT_EQ(calling.counts[2], 1);
  bench.run();
  EXPECT_EQ(calling.counts[0], 1);
  std::vector<std::byte> memory(64);
  const blkown::Cookie next{.value = 2, .generation = {1}, .tag = {}, .queue = {}};
  EXPECT_TRUE(
      bench.iommu.map({memory.data(), 64}, blkown::dma::Direction::to_device, next).has_value());
  EXPECT_EQ(calling.counts[0], 2);
  bench.submit(NvmeBench::flush(2));
  bench.run();
  EXPECT_EQ(calling.counts[1], 1);
  EXPECT_EQ(bench.controller->command_count(), 0U) << "disabled from within";
}

// Goal: without an observer the controller keeps no copy of a ring, which it must then not read.
TEST(NvmeController, DisownsNoUnrungCommandWithoutAnObserver) {
  NvmeBench bench;
  bench.start();
  EXPECT_TRUE(bench.controller->disown_unrung(0, 0x11).empty());
  EXPECT_TRUE(bench.controller->disown_unrung(1, 0x11).empty());
}

TEST(NvmeController, CountsDoorbellsFetchesExecutionsAndCompletions) {
  NvmeBench bench;
  bench.start();
  const std::uint64_t before = bench.controller->events();
  static_cast<void>(bench.carry_out(NvmeBench::flush(0x11)));
  EXPECT_EQ(bench.controller->events() - before, 5U);
}

}  // namespace
}  // namespace sim_test
