// SPDX-License-Identifier: BSL-1.0
//
// The controller of examples/nvme on a simulated controller whose registers and lists a test
// changes: limits of the BAR, long lists of namespaces, timeouts, and the order of its calls.

#include <gtest/gtest.h>
#include <algorithm>
#include <array>
#include <blkown/sim/device/iommu.hpp>
#include <blkown/sim/device/nvme/controller.hpp>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "examples/nvme/machine.hpp"
#include "nvme/controller.hpp"

namespace {

namespace nvme = blkown::nvme;
using nvme_driver::ControllerConfig;
using nvme_driver::ControllerStep;
using nvme_test::SteppedPlatform;

/// The controller's registers, whose CSTS a test changes.
class RiggedRegisters {
 public:
  explicit RiggedRegisters(blkown::sim::NvmeController& controller) : controller_{controller} {}

  [[nodiscard]] std::uint32_t read32(std::uint64_t offset) {
    const std::uint32_t value = controller_.read32(offset);
    return offset == nvme::reg::csts ? (value & kept_csts) | set_csts : value;
  }
  [[nodiscard]] std::uint64_t read64(std::uint64_t offset) { return controller_.read64(offset); }
  void write32(std::uint64_t offset, std::uint32_t value) { controller_.write32(offset, value); }
  void write64(std::uint64_t offset, std::uint64_t value) {
    if (offset == nvme::reg::asq) admin_queue_iova = value;
    controller_.write64(offset, value);
  }

  std::uint32_t kept_csts = ~std::uint32_t{0};
  std::uint32_t set_csts = 0;
  std::uint64_t admin_queue_iova = 0;

 private:
  blkown::sim::NvmeController& controller_;
};

class Rig {
 public:
  using Owner = nvme_driver::Controller<RiggedRegisters, blkown::sim::Iommu, SteppedPlatform,
                                        std::recursive_mutex>;

  explicit Rig(const blkown::sim::NvmeConfig& config = {}, std::size_t namespaces = 1)
      : controller{config, iommu,
                   std::vector<blkown::sim::NvmeNamespace>(
                       namespaces, blkown::sim::NvmeNamespace{&media, 512})} {}

  [[nodiscard]] auto create(const ControllerConfig& config = {}) {
    return Owner::create(registers, device, platform, config);
  }

  blkown::sim::MemoryMedia media{1 << 16};
  blkown::sim::Iommu iommu{{}};
  blkown::dma::Device<blkown::sim::Iommu> device{iommu};
  blkown::sim::NvmeController controller;
  RiggedRegisters registers{controller};
  SteppedPlatform platform{controller, false};
};

// --- the BAR -------------------------------------------------------------------------------------

// Goal: a large stride of the doorbells does not lead beyond the registers that are mapped.
TEST(NvmeController, QueuesWhoseDoorbellsLieBeyondTheBarAreNotUsed) {
  Rig rig{{.io_queues = 8, .doorbell_stride_exponent = 8}};  // 2,048 bytes for each queue pair
  for (const auto& [bytes, queues] : {std::pair{0x1000U + 3 * 2048, 2U},
                                      {0x1000U + 3 * 2048 - 1, 1U},
                                      {0x1000U + 9 * 2048, 8U},
                                      {0U, 8U}}) {
    auto owner = rig.create({.io_queues = 8, .register_bytes = bytes});
    ASSERT_TRUE(owner.has_value());
    ASSERT_TRUE((*owner)->start().has_value());
    EXPECT_EQ((*owner)->info().io_queues, queues) << bytes;
    EXPECT_TRUE((*owner)->free(*(*owner)->stop()));
  }
  for (const std::uint32_t bytes : {1U, 0x1000U, 0x1000U + 2 * 2048 - 1}) {
    const auto owner = rig.create({.register_bytes = bytes});
    ASSERT_FALSE(owner.has_value()) << bytes;
    EXPECT_EQ(owner.error().step, ControllerStep::unsupported);
  }
}

// --- namespaces ----------------------------------------------------------------------------------

TEST(NvmeController, EveryNamespaceOfALongListIsFound) {
  for (const std::uint32_t count : {1U, 1023U, 1024U, 1025U}) {
    Rig rig{{}, count};
    auto owner = *rig.create();
    ASSERT_TRUE(owner->start().has_value());
    std::uint32_t found = 0;
    const auto listed = owner->for_each_namespace(
        [&](const nvme_driver::NamespaceInfo& info) { EXPECT_EQ(info.nsid, ++found); });
    EXPECT_TRUE(listed.has_value());
    EXPECT_EQ(found, count);
    EXPECT_TRUE(owner->free(*owner->stop()));
  }
}

// Goal: a controller cannot keep the driver in a list for ever, nor name a namespace that it cannot
// have.
TEST(NvmeController, AListWithImpossibleIdentifiersIsAnError) {
  using List = std::array<nvme::Le32, 1024>;
  for (const List& list : {List{3, 7, 7, 9}, List{3, 7, 10}, List{3, 7, nvme::all_namespaces}}) {
    Rig rig{{.shortest_ns = 0, .longest_ns = 0}, 9};
    auto owner = *rig.create();
    ASSERT_TRUE(owner->start().has_value());
    rig.platform.on_pause = [&] {
      while (rig.controller.step(rig.platform.now_ns())) {
      }
      EXPECT_TRUE(rig.iommu.write(rig.registers.admin_queue_iova + 2 * nvme_driver::page_bytes,
                                  std::as_bytes(std::span{list}), {.is_for_command = false}));
    };
    std::vector<std::uint32_t> found;
    const auto listed = owner->for_each_namespace(
        [&](const nvme_driver::NamespaceInfo& info) { found.push_back(info.nsid); });
    ASSERT_FALSE(listed.has_value());
    EXPECT_EQ(listed.error().step, ControllerStep::namespace_list);
    EXPECT_EQ(found, (std::vector<std::uint32_t>{3, 7}));
    rig.platform.on_pause = nullptr;
    EXPECT_TRUE(owner->free(*owner->stop()));
  }
}

// --- time ----------------------------------------------------------------------------------------

TEST(NvmeController, ATimeoutOfZeroStillGivesTheControllerTime) {
  Rig rig{{.ready_timeout_ms = 0, .ready_ns = 300'000'000}};
  auto owner = *rig.create();
  EXPECT_TRUE(owner->start().has_value());
  EXPECT_TRUE(owner->free(*owner->stop()));
}

TEST(NvmeController, AShutdownDoesNotWaitForAControllerThatHasFailed) {
  Rig rig;
  auto owner = *rig.create({.shutdown_timeout_ms = 10'000});
  ASSERT_TRUE(owner->start().has_value());
  rig.registers.kept_csts = ~std::uint32_t{0xC};  // CSTS.SHST stays 0
  const std::uint64_t begin_ns = rig.platform.now_ns();
  rig.platform.on_pause = [&] { rig.registers.set_csts = 2; };  // CSTS.CFS
  const auto proof = owner->shut_down();
  EXPECT_LT(rig.platform.now_ns() - begin_ns, 1'000'000'000U);
  ASSERT_TRUE(proof.has_value());
  EXPECT_TRUE(owner->free(*proof));
}

// --- the order of calls --------------------------------------------------------------------------

TEST(NvmeController, AStartAfterItsMemoryIsFreedIsAnError) {
  Rig rig;
  auto owner = *rig.create();
  ASSERT_TRUE(owner->start().has_value());
  EXPECT_TRUE(owner->free(*owner->shut_down()));
  const auto started = owner->start();
  ASSERT_FALSE(started.has_value());
  EXPECT_EQ(started.error().step, ControllerStep::memory);
  // Without access to the memory, as AddressSanitizer sees.
  const auto stopped = owner->stop();
  ASSERT_TRUE(stopped.has_value());
  EXPECT_TRUE(owner->free(*stopped));
}

// --- events --------------------------------------------------------------------------------------

TEST(NvmeController, AnErrorLogIsReadAsFarAsItExists) {
  for (const unsigned entries : {1U, 3U, 8U, 64U}) {
    Rig rig{{.error_log_entries = static_cast<std::uint8_t>(entries)}};
    nvme_test::FetchedCommands commands;
    rig.controller.set_observer(&commands);
    auto owner = *rig.create();
    ASSERT_TRUE(owner->start().has_value());
    rig.registers.write32(nvme::doorbell_offset(60, false, 0), 1);  // there is no such queue
    for (int i = 0; i != 10; ++i) {
      rig.platform.pause();
      owner->interrupt();
    }
    const auto found = std::ranges::find_if(commands.admin, [](const nvme::SubmissionEntry& entry) {
      return entry.admin_opcode() == nvme::AdminOpcode::get_log_page;
    });
    ASSERT_NE(found, commands.admin.end());
    EXPECT_EQ(found->log_bytes(), std::min(512U, 64 * entries));
    EXPECT_TRUE(owner->free(*owner->stop()));
  }
}

// --- resets --------------------------------------------------------------------------------------

TEST(NvmeReset, ARequestWhileTheDisksGoOnBeginsAnotherReset) {
  nvme_test::Machine machine;
  ASSERT_TRUE(machine.start());
  machine.driver->reset();
  while (machine.driver->resets() == 0) ASSERT_TRUE(machine.runtime.step());
  ASSERT_TRUE(machine.driver->is_resetting()) << "the disks are still quiesced";
  machine.driver->reset();
  machine.driver->reset();
  machine.settle();
  EXPECT_EQ(machine.driver->resets(), 2U) << "one for both";
  EXPECT_FALSE(machine.driver->is_resetting());
  EXPECT_TRUE(machine.shut_down());
}

TEST(NvmeReset, DisksThatComeAndGoLeaveNothingBehind) {
  nvme_test::Machine machine;
  ASSERT_TRUE(machine.start());
  nvme_driver::ResetSequence<nvme_test::Machine::Driver> sequence{
      [](void*) {}, [](void*) { return false; }, nullptr};
  for (int i = 0; i != 100; ++i) {
    ASSERT_TRUE(sequence.attach(machine.disk(0)));
    ASSERT_TRUE(sequence.attach(machine.disk(1)));
    sequence.detach(machine.disk(0));
    sequence.detach(machine.disk(1));
  }
  EXPECT_LE(sequence.size(), 2U);
  EXPECT_TRUE(machine.shut_down());
}

}  // namespace
