// SPDX-License-Identifier: BSL-1.0
//
// The driver of examples/nvme on a simulated controller: bring-up, I/O, recovery and removal.

#include <gtest/gtest.h>
#include <algorithm>
#include <array>
#include <blkown/mq/mq.hpp>
#include <blkown/mq/sync.hpp>
#include <blkown/nvme/nvme.hpp>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "examples/nvme/machine.hpp"
#include "examples/nvme/verifier.hpp"

namespace {

using blkown::nvme::AdminOpcode;
using blkown::nvme::IoOpcode;
using nvme_test::Machine;
using nvme_test::MachineConfig;
using nvme_test::pattern;
using nvme_test::Status;
using nvme_test::Verifier;
namespace dma = blkown::dma;
namespace mq = blkown::mq;
namespace sim = blkown::sim;
using sim::FaultKind;

/// Submits a bio on the context that it is posted to.
struct SubmitOne : mq::Work {
  SubmitOne(Machine::Disk& its_disk, mq::Bio& its_bio)
      : Work{[](void* self, mq::Work&) {
               SubmitOne& own = *static_cast<SubmitOne*>(self);
               own.disk.submit(own.bio);
             },
             this},
        disk{its_disk},
        bio{its_bio} {}
  Machine::Disk& disk;
  mq::Bio& bio;
};

using Verifiers = std::vector<std::unique_ptr<Verifier>>;

/// Verifiers of eight ranges each, on both disks and all submitters.
[[nodiscard]] Verifiers make_verifiers(Machine& machine, std::uint32_t count) {
  Verifiers verifiers;
  for (std::uint32_t lane = 0; lane != count; ++lane) {
    std::vector<Verifier::Range> ranges;
    for (std::uint64_t i = 0; i != 8; ++i) ranges.push_back({lane * 1024 + i * 64, 16384, 0});
    verifiers.push_back(std::make_unique<Verifier>(
        machine.disk(lane % 2), machine.runtime.context(lane % Machine::submitters), ranges));
  }
  return verifiers;
}
void expect_verified(const Verifiers& verifiers) {
  for (const auto& verifier : verifiers) {
    EXPECT_TRUE(verifier->is_done());
    EXPECT_TRUE(verifier->failures().empty());
  }
}

TEST(NvmeDriver, BringUpFindsBothNamespaces) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  ASSERT_EQ(machine.disks.size(), 2U);
  EXPECT_EQ(machine.disk(0).config().logical_block_bytes, 512U);
  EXPECT_EQ(machine.disk(1).config().logical_block_bytes, 4096U);
  for (const auto& disk : machine.disks) {
    EXPECT_EQ(disk->config().capacity_sectors, std::uint64_t{8 << 20} / 512);
    EXPECT_TRUE(disk->config().write_cache);
    EXPECT_TRUE(disk->config().fua);
    EXPECT_EQ(disk->limits().max_sectors, (1U << 20) / 512);
  }
  EXPECT_EQ(machine.commands.count(AdminOpcode::create_io_submission_queue), 2U);
  EXPECT_TRUE(machine.shut_down());
}

TEST(NvmeDriver, ANamespaceWhoseBytesCannotBeCountedIsNotUsable) {
  blkown::nvme::IdentifyNamespace data;
  data.formats[0].data_exponent = 12;
  data.size_blocks = (std::uint64_t{1} << 52) - 1;
  EXPECT_TRUE(nvme_driver::namespace_info(1, data).is_usable());
  data.size_blocks = std::uint64_t{1} << 52;
  EXPECT_FALSE(nvme_driver::namespace_info(1, data).is_usable());
}

TEST(NvmeDriver, VerifiedIoFrom512BytesToAMebibyteOnSeveralQueuesAndBothNamespaces) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  Verifiers verifiers;
  for (std::size_t disk = 0; disk != 2; ++disk) {
    for (std::uint32_t lane = 0; lane != Machine::submitters; ++lane) {
      std::vector<Verifier::Range> ranges;
      const std::uint64_t begin = lane * 4096;  // 2 MiB for each lane
      for (std::size_t bytes = disk == 0 ? 512 : 4096; bytes <= 1 << 20; bytes *= 2) {
        for (const std::size_t offset : {std::size_t{0}, std::size_t{4}, std::size_t{4092}}) {
          ranges.push_back({begin, bytes, offset});
        }
        if (disk == 0 && bytes < 1 << 20) ranges.push_back({begin + 1, bytes + 512, 512});
      }
      verifiers.push_back(std::make_unique<Verifier>(
          machine.disk(disk), machine.runtime.context(lane % Machine::submitters), ranges));
    }
  }
  ASSERT_TRUE(machine.runtime.run_until_idle(10'000'000));
  expect_verified(verifiers);
  EXPECT_NE(machine.registers.submission_doorbells(1), 0U);
  EXPECT_NE(machine.registers.submission_doorbells(2), 0U);
  EXPECT_EQ(machine.driver->resets(), 0U);
  EXPECT_TRUE(machine.shut_down());
}

TEST(NvmeDriver, AFlushAndAFuaMakeWritesDurable) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  const auto first = pattern(4096, 1), second = pattern(4096, 2), third = pattern(4096, 3);
  ASSERT_EQ(mq::write(machine.runtime, machine.disk(), 0, first), Status::ok);
  ASSERT_EQ(mq::flush(machine.runtime, machine.disk()), Status::ok);
  ASSERT_EQ(mq::write(machine.runtime, machine.disk(), 8, second, {.fua = true}), Status::ok);
  ASSERT_EQ(mq::write(machine.runtime, machine.disk(), 16, third), Status::ok);
  bool is_third_lost = false;
  for (std::uint64_t seed = 0; seed != 16; ++seed) {
    const auto content = machine.media[0].after_power_cut(seed);
    EXPECT_TRUE(std::equal(first.begin(), first.end(), content.begin()));
    EXPECT_TRUE(std::equal(second.begin(), second.end(), content.begin() + 4096));
    is_third_lost |= !std::equal(third.begin(), third.end(), content.begin() + 8192);
  }
  EXPECT_TRUE(is_third_lost);
  EXPECT_EQ(machine.commands.count(IoOpcode::flush), 1U);
  EXPECT_TRUE(machine.shut_down());
  // The shutdown has written the cache back.
  const auto content = machine.media[0].after_power_cut(1);
  EXPECT_TRUE(std::equal(third.begin(), third.end(), content.begin() + 8192));
}

TEST(NvmeDriver, DiscardAndWriteZeroesReachTheirBlocksAndNoOthers) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  for (std::size_t index = 0; index != 2; ++index) {
    Machine::Disk& disk = machine.disk(index);
    const auto written = pattern(64 * 1024, index + 1);
    ASSERT_EQ(mq::write(machine.runtime, disk, 128, written), Status::ok);
    ASSERT_EQ(mq::write_zeroes(machine.runtime, disk, 136, 8192), Status::ok);
    ASSERT_EQ(mq::discard(machine.runtime, disk, 160, 4096), Status::ok);
    std::vector<std::byte> read(written.size());
    ASSERT_EQ(mq::read(machine.runtime, disk, 128, read), Status::ok);
    auto expected = written;
    std::fill_n(expected.begin() + 8 * 512, 8192, std::byte{0});
    // What a discard leaves is the controller's choice; this one leaves zeroes.
    std::fill_n(expected.begin() + 32 * 512, 4096, std::byte{0});
    EXPECT_TRUE(read == expected) << "disk " << index;
  }
  EXPECT_EQ(machine.commands.count(IoOpcode::write_zeroes), 2U);
  EXPECT_EQ(machine.commands.count(IoOpcode::dataset_management), 2U);
  EXPECT_TRUE(machine.shut_down());
}

TEST(NvmeDriver, ABatchRingsOneDoorbell) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  struct Batch : mq::Work {
    explicit Batch(Machine& its)
        : Work{[](void* self, mq::Work&) { static_cast<Batch*>(self)->run(); }, this},
          machine{its} {}
    void run() {
      const Machine::Disk::Plug plug{machine.disk(), machine.runtime.context(0)};
      for (std::size_t i = 0; i != bios.size(); ++i) {
        bios[i].set_read(i * 8, blkown::Segment{memory[i].data(), memory[i].size()}, {});
        machine.disk().submit(machine.runtime.context(0), bios[i]);
      }
    }
    Machine& machine;
    std::array<mq::Bio, 8> bios;
    std::array<std::array<std::byte, 512>, 8> memory{};
  } batch{machine};
  const std::uint64_t before = machine.registers.submission_doorbells(1);
  machine.runtime.context(0).post(batch);
  ASSERT_TRUE(machine.runtime.run_until_idle(1'000'000));
  EXPECT_EQ(machine.commands.count(IoOpcode::read), 8U);
  EXPECT_EQ(machine.registers.submission_doorbells(1), before + 1);
  EXPECT_TRUE(machine.shut_down());
}

TEST(NvmeDriver, APolledQueueHasNoInterruptAndIsServedByPolling) {
  MachineConfig config;
  config.driver = {.normal_queues = 1, .poll_queues = 1, .depth = 16};
  Machine machine{config};
  ASSERT_TRUE(machine.start());
  struct Poller : mq::Work {
    explicit Poller(Machine& its)
        : Work{[](void* self, mq::Work&) { static_cast<Poller*>(self)->run(); }, this},
          machine{its} {}
    void run() {
      mq::Context& context = machine.runtime.context(0);
      if (!is_submitted) {
        is_submitted = true;
        bio.set_read(0, blkown::Segment{memory.data(), memory.size()}, {}, {.polled = true});
        machine.disk().submit(context, bio);
      }
      reaped += machine.disk().poll(context);
      if (reaped == 0) context.post(*this);
    }
    Machine& machine;
    bool is_submitted = false;
    unsigned reaped = 0;
    mq::Bio bio;
    std::vector<std::byte> memory = std::vector<std::byte>(4096);
  } poller{machine};
  const auto written = pattern(4096, 9);
  ASSERT_EQ(mq::write(machine.runtime, machine.disk(), 0, written), Status::ok);
  machine.runtime.context(0).post(poller);
  ASSERT_TRUE(machine.runtime.run_until_idle(1'000'000));
  EXPECT_EQ(poller.reaped, 1U);
  EXPECT_EQ(poller.bio.status(), Status::ok);
  EXPECT_TRUE(poller.memory == written);
  EXPECT_EQ(machine.registers.submission_doorbells(2), 1U);
  for (const auto& entry : machine.commands.admin) {
    if (entry.admin_opcode() != AdminOpcode::create_io_completion_queue) continue;
    EXPECT_EQ(entry.completion_queue_setup().interrupts_enabled, entry.queue_id() == 1);
  }
  EXPECT_TRUE(machine.shut_down());
}

TEST(NvmeDriver, ALostInterruptCostsATimeoutAndNothingElse) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  machine.lost_interrupts = 1;
  std::vector<std::byte> memory(4096);
  EXPECT_EQ(mq::read(machine.runtime, machine.disk(), 0, memory), Status::ok);
  EXPECT_EQ(machine.commands.count(AdminOpcode::abort), 0U);
  EXPECT_EQ(machine.driver->resets(), 0U);
  EXPECT_EQ(machine.disk().counters().timed_out_requests, 1U);
  EXPECT_TRUE(machine.shut_down());
}

TEST(NvmeDriver, AnAbortedCommandIsIssuedAgain) {
  MachineConfig config;
  config.faults = {{FaultKind::late, 0}};
  Machine machine{config};
  ASSERT_TRUE(machine.start());
  const auto written = pattern(4096, 4);
  EXPECT_EQ(mq::write(machine.runtime, machine.disk(), 0, written), Status::ok);
  EXPECT_EQ(machine.commands.count(AdminOpcode::abort), 1U);
  EXPECT_EQ(machine.driver->resets(), 0U);
  std::vector<std::byte> read(written.size());
  EXPECT_EQ(mq::read(machine.runtime, machine.disk(), 0, read), Status::ok);
  EXPECT_TRUE(read == written);
  EXPECT_TRUE(machine.shut_down());
}

TEST(NvmeDriver, ALostCompletionCostsAnAbortAndThenAReset) {
  MachineConfig config;
  // Of the write, of the abort, and of the write that the abort has ended.
  config.faults = {{FaultKind::lost, 0}, {FaultKind::lost, 1}, {FaultKind::lost, 2}};
  Machine machine{config};
  ASSERT_TRUE(machine.start());
  const auto written = pattern(4096, 4);
  EXPECT_EQ(mq::write(machine.runtime, machine.disk(1), 0, written), Status::ok);
  EXPECT_EQ(machine.commands.count(AdminOpcode::abort), 1U);
  EXPECT_EQ(machine.driver->resets(), 1U);
  EXPECT_EQ(machine.commands.count(AdminOpcode::create_io_submission_queue), 4U);
  std::vector<std::byte> read(written.size());
  EXPECT_EQ(mq::read(machine.runtime, machine.disk(1), 0, read), Status::ok);
  EXPECT_TRUE(read == written);
  EXPECT_TRUE(machine.shut_down());
}

// Goal: an I/O whose memory the IOMMU does not unmap ends with its own status, after a reset has
// made the drain possible, and its tag is free again.
TEST(NvmeDriver, MemoryThatCannotBeUnmappedIsDrainedByAReset) {
  MachineConfig config;
  config.faults = {{FaultKind::unmap_failure, 3}, {FaultKind::unmap_failure, 10}};
  Machine machine{config};
  ASSERT_TRUE(machine.start());
  const Verifiers verifiers = make_verifiers(machine, 4);
  ASSERT_TRUE(machine.runtime.run_until_idle(10'000'000));
  EXPECT_EQ(machine.faults.struck().size(), 2U);
  EXPECT_GE(machine.driver->resets(), 1U);
  EXPECT_EQ(machine.device.quarantined_count(), 0U);
  expect_verified(verifiers);
  EXPECT_TRUE(machine.shut_down());
}

// Goal: the same for an I/O of which one element is mapped, the next one fails, and the first one
// is not unmapped.
TEST(NvmeDriver, AHalfMappedIoThatCannotBeUnmappedIsDrainedByAReset) {
  MachineConfig config;
  config.faults = {{FaultKind::map_failure, 1}, {FaultKind::unmap_failure, 0}};
  Machine machine{config};
  ASSERT_TRUE(machine.start());
  alignas(4096) static std::array<std::byte, 3 * 4096> memory{};
  const std::array<blkown::Segment, 2> pages{blkown::Segment{memory.data(), 4096},
                                             blkown::Segment{memory.data() + 8192, 4096}};
  mq::Bio bio = mq::Bio::read(0, pages, {});
  SubmitOne submission{machine.disk(), bio};
  machine.runtime.context(0).post(submission);
  ASSERT_TRUE(machine.runtime.run_until_idle(10'000'000));
  EXPECT_EQ(machine.faults.struck().size(), 2U);
  EXPECT_EQ(machine.driver->resets(), 1U);
  EXPECT_EQ(machine.device.quarantined_count(), 0U);
  EXPECT_EQ(machine.disk().counters().ended_bios, 1U);
  EXPECT_TRUE(machine.shut_down());
}

// Goal: memory that cannot be unmapped during a reset's drain is drained by a further reset.
// Method: the completion of one I/O is taken, and handled only while the memory of another one is
// drained, as by a context that was preempted. Its unmap fails, and fails again in the same drain.
// The drains before it do not matter: the driver tries what they leave only once.
TEST(NvmeDriver, MemoryThatIsQuarantinedDuringADrainBeginsAnotherReset) {
  MachineConfig config;
  config.driver.max_drains = 1;
  config.faults = {{FaultKind::lost, 0}};
  Machine machine{config};
  ASSERT_TRUE(machine.start());
  std::vector<std::byte> memory(4096);
  const std::array<blkown::Segment, 1> segments{blkown::Segment{memory.data(), memory.size()}};
  mq::Bio first = mq::Bio::read(0, segments, {});
  SubmitOne submission{machine.disk(), first};
  machine.runtime.context(0).post(submission);
  while (machine.faults.struck().empty()) ASSERT_TRUE(machine.runtime.step());

  struct Preempted {
    Machine& machine;
    mq::HwQueue<Machine::Driver>& hw;
    std::optional<blkown::Claim<mq::Request<Machine::Driver>>> claim;
    unsigned unmaps = 0;
  } preempted{machine, machine.disk().hw_queue(blkown::QueueIndex{0}), std::nullopt};
  std::uint64_t value = 0;
  preempted.hw.for_each_in_flight(
      [&](const auto&, const blkown::Cookie& cookie) { value = cookie.value; });
  preempted.claim = preempted.hw.claim(value).value();
  machine.iommu.set_unmap_hook({[](void* argument, const dma::IovaSegment&) {
                                  auto& own = *static_cast<Preempted*>(argument);
                                  switch (++own.unmaps) {
                                    case 1: return false;  // of the second I/O
                                    case 2:                // of the second I/O, in the drain
                                      own.machine.driver->complete(own.hw, *std::move(own.claim));
                                      return true;
                                    case 3:                // of the first I/O
                                    case 4: return false;  // of the first I/O, in the same drain
                                    default: return true;
                                  }
                                },
                                &preempted});
  EXPECT_EQ(mq::read(machine.runtime, machine.disk(1), 0, memory), Status::ok);
  ASSERT_TRUE(machine.runtime.run_until_idle(100'000)) << "the first I/O does not end";
  EXPECT_EQ(machine.driver->resets(), 2U);
  ASSERT_EQ(machine.device.quarantined_count(), 0U);
  EXPECT_EQ(preempted.unmaps, 5U);
  EXPECT_EQ(machine.disk().counters().ended_bios, 1U);
  EXPECT_TRUE(machine.shut_down());
}

// The unmaps of an I/O's memory fail `failures` times.
struct FailingUnmaps {
  FailingUnmaps(Machine& machine, unsigned how_often) : failures{how_often} {
    machine.iommu.set_unmap_hook({[](void* argument, const dma::IovaSegment&) {
                                    unsigned& left =
                                        static_cast<FailingUnmaps*>(argument)->failures;
                                    return left == 0 || left-- == 0;
                                  },
                                  this});
  }
  unsigned failures;
};

// A read whose end is waited for by the test's own steps.
struct OneRead {
  explicit OneRead(Machine& machine)
      : bio{mq::Bio::read(0, blkown::Segment{memory.data(), memory.size()}, {})},
        submission{machine.disk(), bio} {
    machine.runtime.context(0).post(submission);
  }
  std::vector<std::byte> memory = std::vector<std::byte>(4096);
  mq::Bio bio;
  SubmitOne submission;
};

// Goal: memory that the drain of a reset cannot unmap either is tried again by a further reset.
TEST(NvmeDriver, MemoryThatADrainCannotUnmapBeginsAnotherReset) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  FailingUnmaps unmaps{machine, 2};  // of the I/O's end, and of the first drain
  OneRead read{machine};
  ASSERT_TRUE(machine.runtime.run_until_idle(100'000));
  EXPECT_EQ(unmaps.failures, 0U);
  EXPECT_EQ(machine.disk().counters().ended_bios, 1U) << "the I/O waits for a drain";
  EXPECT_EQ(read.bio.status(), Status::ok);
  EXPECT_EQ(machine.driver->resets(), 2U);
  EXPECT_EQ(machine.driver->kept_mapped(), 0U);
  EXPECT_TRUE(machine.shut_down());
}

// Goal: the resets for memory that cannot be unmapped end. The memory is reported, and other I/O
// goes on without resets. A later reset tries again.
TEST(NvmeDriver, MemoryThatCanNeverBeUnmappedIsLeftAloneAfterThreeResets) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  FailingUnmaps unmaps{machine, ~0U};
  OneRead read{machine};
  for (int i = 0; i != 10'000; ++i) machine.runtime.step();
  EXPECT_EQ(machine.driver->resets(), 3U);
  EXPECT_FALSE(machine.driver->is_resetting());
  EXPECT_EQ(machine.driver->kept_mapped(), 1U);
  EXPECT_EQ(machine.disk().counters().ended_bios, 0U) << "the controller's memory was given back";
  EXPECT_EQ(machine.device.quarantined_count(), 1U);
  unmaps.failures = 0;
  std::vector<std::byte> memory(4096);
  EXPECT_EQ(mq::read(machine.runtime, machine.disk(), 8, memory), Status::ok);
  EXPECT_EQ(machine.driver->resets(), 3U);
  machine.driver->reset();
  ASSERT_TRUE(machine.runtime.run_until_idle(100'000));
  EXPECT_EQ(machine.disk().counters().ended_bios, 2U);
  EXPECT_EQ(read.bio.status(), Status::ok);
  EXPECT_EQ(machine.driver->resets(), 4U);
  EXPECT_EQ(machine.driver->kept_mapped(), 0U);
  // The resets are counted again from here.
  unmaps.failures = 3;
  OneRead other{machine};
  ASSERT_TRUE(machine.runtime.run_until_idle(100'000));
  EXPECT_EQ(machine.disk().counters().ended_bios, 3U);
  EXPECT_EQ(machine.driver->resets(), 7U);
  EXPECT_TRUE(machine.shut_down());
}

// Goal: the same for a controller that was unplugged: its I/O ends with `offline`, and the disks
// can be removed.
TEST(NvmeDriver, MemoryOfAnUnpluggedControllerThatADrainCannotUnmapIsTriedAgain) {
  MachineConfig config;
  config.faults = {{FaultKind::late, 0}};
  Machine machine{config};
  ASSERT_TRUE(machine.start());
  machine.platform.can_cut_off = true;
  OneRead read{machine};
  while (machine.commands.io.empty()) ASSERT_TRUE(machine.runtime.step());
  FailingUnmaps unmaps{machine, 2};  // with the proof of the stop, and in its drain
  machine.controller.unplug();
  ASSERT_TRUE(machine.runtime.run_until_idle(100'000));
  EXPECT_EQ(unmaps.failures, 0U);
  EXPECT_EQ(machine.disk().counters().ended_bios, 1U) << "the I/O waits for a drain";
  EXPECT_EQ(read.bio.status(), Status::offline);
  EXPECT_EQ(machine.driver->resets(), 2U);
  EXPECT_TRUE(machine.shut_down());
}

// Goal: a reset without the proof of a stop is not repeated for memory in quarantine, which it
// cannot drain.
TEST(NvmeDriver, MemoryInQuarantineOfAControllerThatDoesNotStopBeginsOneReset) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  FailingUnmaps unmaps{machine, 1};
  machine.registers.is_stuck = true;  // CSTS.RDY never becomes 0
  OneRead read{machine};
  for (int i = 0; i != 10'000; ++i) machine.runtime.step();
  EXPECT_EQ(machine.driver->resets(), 1U);
  EXPECT_FALSE(machine.driver->is_resetting());
  EXPECT_EQ(machine.disk().counters().ended_bios, 0U);
  EXPECT_EQ(machine.device.quarantined_count(), 1U);
  machine.platform.can_cut_off = true;
  machine.driver->reset();
  ASSERT_TRUE(machine.runtime.run_until_idle(100'000));
  EXPECT_EQ(read.bio.status(), Status::ok);
  EXPECT_EQ(machine.driver->resets(), 2U);
  machine.registers.is_stuck = false;
  EXPECT_TRUE(machine.shut_down());
}

// Goal: a request that a full ring refuses is unmapped, and goes again when there is room.
TEST(NvmeDriver, AFullRingRefusesRequestsUntilThereIsRoom) {
  MachineConfig config;
  config.controller.max_queue_entries = 4;  // for 16 requests
  Machine machine{config};
  ASSERT_TRUE(machine.start());
  unsigned refusals = 0;
  for (const auto& disk : machine.disks) {
    disk->set_trace({[](void* count, const mq::TraceEvent& event) {
                       if (event.step != mq::TraceStep::rejected) return;
                       EXPECT_EQ(event.status, Status::device_resource);
                       ++*static_cast<unsigned*>(count);
                     },
                     &refusals});
  }
  const Verifiers verifiers = make_verifiers(machine, 8);
  ASSERT_TRUE(machine.runtime.run_until_idle(10'000'000));
  EXPECT_GT(refusals, 0U);
  EXPECT_EQ(machine.driver->resets(), 0U);
  expect_verified(verifiers);
  EXPECT_TRUE(machine.shut_down());
}

// Goal: a controller that reports a wrong head with its last completion has a ring that looks full
// for good, while nothing is in flight that could time out.
TEST(NvmeDriver, AControllerWhoseFullRingHasNoCompletionToComeIsReset) {
  MachineConfig config;
  config.controller.max_queue_entries = 2;  // one command at a time
  config.faults = {{FaultKind::wrong_sq_head, 20}};
  Machine machine{config};
  ASSERT_TRUE(machine.start());
  const Verifiers verifiers = make_verifiers(machine, 8);
  ASSERT_TRUE(machine.runtime.run_until_idle(1'000'000));
  EXPECT_EQ(machine.faults.struck().size(), 1U);
  EXPECT_EQ(machine.driver->resets(), 1U);
  expect_verified(verifiers);
  EXPECT_TRUE(machine.shut_down());
}

TEST(NvmeDriver, AFatalControllerIsResetAndAllIoGoesOn) {
  MachineConfig config;
  config.faults = {{FaultKind::reset, 20}};
  Machine machine{config};
  ASSERT_TRUE(machine.start());
  const Verifiers verifiers = make_verifiers(machine, 8);
  ASSERT_TRUE(machine.runtime.run_until_idle(10'000'000));
  EXPECT_EQ(machine.driver->resets(), 1U);
  expect_verified(verifiers);
  EXPECT_TRUE(machine.shut_down());
}

TEST(NvmeDriver, AnUnpluggedControllerEndsAllIoOfflineAfterItIsCutOff) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  machine.platform.can_cut_off = true;
  Verifiers verifiers;
  for (std::uint32_t lane = 0; lane != 8; ++lane) {
    std::vector<Verifier::Range> ranges(100, {lane * 64, 16384, 0});
    verifiers.push_back(std::make_unique<Verifier>(
        machine.disk(lane % 2), machine.runtime.context(lane % Machine::submitters), ranges));
  }
  for (int i = 0; i != 500; ++i) machine.runtime.step();
  machine.controller.unplug();
  ASSERT_TRUE(machine.runtime.run_until_idle(10'000'000));
  for (const auto& verifier : verifiers) {
    EXPECT_EQ(verifier->failures(), (std::vector<Status>{Status::offline}));
  }
  EXPECT_TRUE(machine.driver->is_offline());
  EXPECT_TRUE(machine.shut_down());
}

TEST(NvmeDriver, TheShutdownOfAStoppedControllerDoesNotWait) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  ASSERT_TRUE(machine.owner->stop().has_value());
  const std::uint64_t begin_ns = machine.platform.now_ns();
  EXPECT_TRUE(machine.owner->shut_down().has_value());
  EXPECT_LT(machine.platform.now_ns() - begin_ns, 1'000'000U);
  EXPECT_TRUE(machine.shut_down());
}

TEST(NvmeDriver, MemoryIsNotGivenBackWhileNobodyConfirmsAStop) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  machine.registers.is_stuck = true;  // CSTS.RDY never becomes 0
  machine.faults = sim::FaultPlan{1, {{FaultKind::late, 0}}};
  std::vector<std::byte> memory(4096);
  mq::Bio bio = mq::Bio::read(0, blkown::Segment{memory.data(), memory.size()}, {});
  SubmitOne submission{machine.disk(), bio};
  machine.runtime.context(0).post(submission);
  while (machine.commands.io.empty()) ASSERT_TRUE(machine.runtime.step());
  machine.driver->reset();
  for (int i = 0; i != 2000; ++i) machine.runtime.step();
  EXPECT_TRUE(machine.driver->is_offline());
  EXPECT_NE(machine.platform.cut_offs, 0U);
  // The controller may still write: the memory stays mapped, and the bio's.
  EXPECT_EQ(machine.disk().counters().ended_bios, 0U);
  std::size_t mapped = 0;
  machine.device.for_each_mapping([&](const dma::Mapped&) { ++mapped; });
  EXPECT_EQ(mapped, 1U);
  // New I/O ends at once.
  EXPECT_EQ(mq::read(machine.runtime, machine.disk(1), 0, memory), Status::offline);
  // The platform can take the controller off the bus after all: the next timeout ends the I/O.
  machine.platform.can_cut_off = true;
  ASSERT_TRUE(machine.runtime.run_until_idle(1'000'000));
  EXPECT_EQ(bio.status(), Status::offline);
  machine.registers.is_stuck = false;
  EXPECT_TRUE(machine.shut_down());
}

TEST(NvmeDriver, AnAdminCommandWithoutAnAnswerFailsTheBringUpAndKeepsItsMemory) {
  Machine machine;
  // The first command of each of three attempts, and of the first attempt of the next start().
  machine.faults = sim::FaultPlan{
      1, {{FaultKind::lost, 0}, {FaultKind::lost, 1}, {FaultKind::lost, 2}, {FaultKind::lost, 3}}};
  const auto started = machine.driver->start();
  ASSERT_FALSE(started.has_value());
  EXPECT_EQ(started.error(),
            (nvme_driver::ControllerError{nvme_driver::ControllerStep::identify, {}}));
  EXPECT_EQ(machine.commands.count(AdminOpcode::identify), 3U);
  EXPECT_TRUE(machine.start());
  EXPECT_TRUE(machine.shut_down());
}

TEST(NvmeDriver, EventsAreReportedAfterTheirLogPageWasReadAndArmedAgain) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  for (unsigned i = 1; i != 4; ++i) {
    machine.controller.write32(blkown::nvme::doorbell_offset(60, false, 0), 1);
    ASSERT_TRUE(machine.runtime.run_until_idle(10'000));
    ASSERT_EQ(machine.events.size(), i);
    EXPECT_EQ(machine.events.back().type(), blkown::nvme::AsyncEventType::error);
    EXPECT_EQ(machine.events.back().information(),
              blkown::nvme::error_event::invalid_doorbell_register);
    EXPECT_EQ(machine.commands.count(AdminOpcode::get_log_page), i);
  }
  EXPECT_TRUE(machine.shut_down());
}

TEST(NvmeDriver, NoMoreAbortsAreSentThanTheControllerTakes) {
  MachineConfig config;
  config.controller.abort_limit = 2;
  for (std::uint64_t i = 0; i != 8; ++i) config.faults.push_back({FaultKind::late, i});
  Machine machine{config};
  ASSERT_TRUE(machine.start());
  Verifiers verifiers;
  for (std::uint32_t lane = 0; lane != 8; ++lane) {
    verifiers.push_back(std::make_unique<Verifier>(
        machine.disk(lane % 2), machine.runtime.context(lane % Machine::submitters),
        std::vector<Verifier::Range>{{lane * 64, 4096, 0}}));
  }
  ASSERT_TRUE(machine.runtime.run_until_idle(10'000'000));
  for (const auto& verifier : verifiers) EXPECT_TRUE(verifier->failures().empty());
  EXPECT_EQ(machine.commands.max_aborts, 2U);
  EXPECT_TRUE(machine.shut_down());
}

TEST(NvmeDriver, AnAbortThatIsNeverAnsweredDoesNotKeepTheNextOneFromAReset) {
  // With some seeds the controller executes a lost command, with some it does not.
  for (std::uint64_t seed = 1; seed != 9; ++seed) {
    MachineConfig config;
    config.seed = seed;
    config.controller.abort_limit = 1;
    // The first write, its abort, and what comes then: the same write again, or the next one.
    config.faults = {
        {FaultKind::late, 0}, {FaultKind::lost, 1}, {FaultKind::lost, 3}, {FaultKind::lost, 4}};
    Machine machine{config};
    ASSERT_TRUE(machine.start());
    std::vector<std::byte> memory = pattern(4096, 4);
    mq::Bio bio;
    SubmitOne submission{machine.disk(), bio};
    for (int i = 0; i != 2; ++i) {
      bio.set_write(8, blkown::Segment{memory.data(), memory.size()}, {});
      machine.runtime.context(0).post(submission);
      ASSERT_TRUE(machine.runtime.run_until_idle(20'000)) << "seed " << seed;
      EXPECT_EQ(bio.status(), Status::ok) << "seed " << seed;
    }
    EXPECT_TRUE(machine.shut_down());
  }
}

TEST(NvmeDriver, ALostCommandIsAbortedAlthoughEachTimeoutFindsAnotherCompletion) {
  MachineConfig config;
  config.faults = {{FaultKind::lost, 0}};
  Machine machine{config};
  ASSERT_TRUE(machine.start());
  machine.lost_interrupts = 1'000;  // only timeouts take completions
  struct Chain : mq::Work {
    explicit Chain(Machine& its)
        : Work{[](void* self, mq::Work&) { static_cast<Chain*>(self)->submit(); }, this},
          machine{its} {}
    static void on_end(void* self, mq::Bio& bio) {
      Chain& own = *static_cast<Chain*>(self);
      EXPECT_EQ(bio.status(), Status::ok);
      if (++own.ended == 10) own.aborts = own.machine.commands.count(AdminOpcode::abort);
      if (own.ended < 10) own.submit();
    }
    void submit() {
      bio.set_read(8, blkown::Segment{memory.data(), memory.size()}, {&on_end, this});
      machine.disk().submit(machine.runtime.context(0), bio);
    }
    Machine& machine;
    mq::Bio bio;
    std::vector<std::byte> memory = std::vector<std::byte>(4096);
    unsigned ended = 0;
    std::size_t aborts = 0;
  } chain{machine};
  std::vector<std::byte> memory(4096);
  mq::Bio lost = mq::Bio::read(0, blkown::Segment{memory.data(), memory.size()}, {});
  SubmitOne submission{machine.disk(), lost};
  machine.runtime.context(0).post(submission);
  while (machine.commands.io.empty()) ASSERT_TRUE(machine.runtime.step());
  machine.runtime.context(0).post(chain);
  ASSERT_TRUE(machine.runtime.run_until_idle(1'000'000));
  EXPECT_EQ(chain.ended, 10U);
  EXPECT_NE(chain.aborts, 0U);
  EXPECT_EQ(lost.status(), Status::ok);
  EXPECT_TRUE(machine.shut_down());
}

TEST(NvmeDriver, AbortsLeaveTagsForOtherAdminCommands) {
  MachineConfig config;
  config.controller.abort_limit = 255;
  Machine machine{config};
  ASSERT_TRUE(machine.start());
  unsigned sent = 0;
  // The first one keeps the others waiting: the controller works only within a step.
  while (sent != 255 && machine.owner->abort(1, 0x1005)) ++sent;
  EXPECT_EQ(sent, 8U);
  unsigned found = 0;
  EXPECT_TRUE(machine.owner->for_each_namespace([&](const auto&) { ++found; }).has_value());
  EXPECT_EQ(found, 2U);
  EXPECT_TRUE(machine.shut_down());
}

TEST(NvmeDriver, AnswersToAbortsAreTakenAtATimeoutWithoutTheAdminInterrupt) {
  MachineConfig config;
  config.controller.abort_limit = 1;
  // Each write; its abort and its second try are not late.
  config.faults = {{FaultKind::late, 0}, {FaultKind::late, 3}};
  Machine machine{config};
  ASSERT_TRUE(machine.start());
  machine.is_admin_interrupt_lost = true;
  const auto written = pattern(4096, 4);
  for (unsigned i = 1; i != 3; ++i) {
    EXPECT_EQ(mq::write(machine.runtime, machine.disk(), 0, written), Status::ok);
    EXPECT_EQ(machine.commands.count(AdminOpcode::abort), i);
  }
  EXPECT_EQ(machine.driver->resets(), 0U);
  EXPECT_TRUE(machine.shut_down());
}

TEST(NvmeDriver, NoAbortIsSentToAControllerThatIsNotEnabled) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  bool is_sent = false;
  // As a timeout does that another context looks at.
  machine.registers.before_enable = [&] { is_sent = machine.owner->abort(1, 0x1005); };
  machine.driver->reset();
  ASSERT_TRUE(machine.runtime.run_until_idle(1'000'000));
  EXPECT_EQ(machine.driver->resets(), 1U);
  EXPECT_FALSE(is_sent);
  EXPECT_EQ(machine.commands.count(AdminOpcode::abort), 0U);
  EXPECT_TRUE(machine.owner->abort(1, 0x1005));
  ASSERT_TRUE(machine.runtime.run_until_idle(1'000'000));
  EXPECT_EQ(machine.commands.count(AdminOpcode::abort), 1U);
  machine.registers.before_enable = {};
  EXPECT_TRUE(machine.shut_down());
}

TEST(NvmeDriver, AControllerThatOthersHaveResetExecutesNoOldAdminCommand) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  const std::size_t before = machine.commands.admin.size();
  machine.controller.write32(blkown::nvme::reg::cc, 0);  // the driver does not know
  ASSERT_TRUE(machine.driver->start().has_value());
  // Identify, Number of Queues, an event request, and two queues of each kind.
  EXPECT_EQ(machine.commands.admin.size(), before + 7);
  const auto written = pattern(4096, 4);
  EXPECT_EQ(mq::write(machine.runtime, machine.disk(), 0, written), Status::ok);
  EXPECT_EQ(machine.driver->resets(), 0U);
  EXPECT_TRUE(machine.shut_down());
}

TEST(NvmeDriver, ARemovedDiskLeavesTheOtherOnesIoAndResetsAlone) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  Verifier other{machine.disk(1), machine.runtime.context(1),
                 std::vector<Verifier::Range>(50, {0, 16384, 0})};
  Verifier first{machine.disk(0), machine.runtime.context(0),
                 std::vector<Verifier::Range>(50, {0, 16384, 0})};
  for (int i = 0; i != 300; ++i) machine.runtime.step();
  machine.driver->reset();
  ASSERT_EQ(mq::remove(machine.runtime, machine.disk(0)), Status::ok);
  while (machine.driver->is_resetting()) ASSERT_TRUE(machine.runtime.step());
  EXPECT_EQ(first.failures(), (std::vector<Status>{Status::offline}));
  machine.disks.erase(machine.disks.begin());
  machine.driver->reset();
  ASSERT_TRUE(machine.runtime.run_until_idle(10'000'000));
  EXPECT_TRUE(other.is_done());
  EXPECT_TRUE(other.failures().empty());
  EXPECT_EQ(machine.driver->resets(), 2U);
  EXPECT_TRUE(machine.shut_down());
}

/// Creates a further disk of the first namespace.
[[nodiscard]] std::expected<std::unique_ptr<Machine::Disk>, mq::DiskError> create_disk(
    Machine& machine) {
  return Machine::Disk::create(machine.disk(0).config(), *machine.driver, machine.runtime,
                               machine.disk(0).queue_data(), machine.pool.get());
}

TEST(NvmeDriver, ADiskIsNotCreatedWhileAResetIsRunning) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  unsigned refused = 0, created = 0;
  machine.platform.on_pause = [&] {  // the controller is being stopped or started
    auto made = create_disk(machine);
    if (made.has_value()) {
      // Its I/O would reach the rings meanwhile.
      ++created;
      machine.disks.push_back(*std::move(made));
    } else if (made.error().reason == mq::DiskReason::init_failed &&
               made.error().given == static_cast<std::uint64_t>(Status::again)) {
      ++refused;
    }
  };
  machine.driver->reset();
  EXPECT_FALSE(machine.driver->defer_resets().has_value());
  machine.settle();
  EXPECT_EQ(created, 0U);
  EXPECT_NE(refused, 0U);
  machine.platform.on_pause = {};
  machine.disks.push_back(*create_disk(machine));
  const auto written = pattern(4096, 4);
  EXPECT_EQ(mq::write(machine.runtime, machine.disk(2), 0, written), Status::ok);
  EXPECT_TRUE(machine.shut_down());
}

TEST(NvmeDriver, AResetThatIsDeferredWhileADiskIsCreatedStopsThatDiskToo) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  {
    const auto deferral = machine.driver->defer_resets();
    ASSERT_TRUE(deferral.has_value());
    EXPECT_FALSE(machine.driver->defer_resets().has_value()) << "deferred already";
    machine.driver->reset();
    machine.driver->reset();
    machine.settle();
    EXPECT_EQ(machine.driver->resets(), 0U);
    machine.disks.push_back(*create_disk(machine));
  }
  std::vector<std::byte> memory(4096);
  const std::array pieces{blkown::Segment{memory.data(), memory.size()}};
  bool is_done = false, was_issued = false, was_stopped = false;
  mq::Bio read = mq::Bio::read(
      0, pieces, {[](void* done, mq::Bio&) { *static_cast<bool*>(done) = true; }, &is_done});
  machine.platform.on_pause = [&] {  // the controller is being stopped or started
    if (!std::exchange(was_stopped, true)) machine.disk(2).submit(read);
    was_issued |= machine.commands.count(IoOpcode::read) != 0;
  };
  machine.settle();
  EXPECT_TRUE(was_stopped);
  EXPECT_FALSE(was_issued) << "the disk is quiesced until the controller has started";
  EXPECT_TRUE(is_done);
  EXPECT_EQ(read.status(), Status::ok);
  EXPECT_EQ(machine.driver->resets(), 1U) << "one for both";
  machine.platform.on_pause = {};
  EXPECT_TRUE(machine.shut_down());
}

TEST(NvmeDriver, ADeferralWithoutAResetBeginsNone) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  {
    EXPECT_TRUE(machine.driver->defer_resets().has_value());
  }
  machine.settle();
  EXPECT_FALSE(machine.driver->is_resetting());
  EXPECT_EQ(machine.driver->resets(), 0U);
  EXPECT_TRUE(machine.shut_down());
}

/// Changes the number of a disk's hardware queues while its I/O goes on.
[[nodiscard]] Status change_queue_count(Machine& machine, Machine::Disk& disk,
                                        std::uint32_t count) {
  bool is_done = false;
  mq::Control control{
      {[](void* done, mq::Control&) { *static_cast<bool*>(done) = true; }, &is_done}};
  disk.set_queue_count(control, count);
  while (!is_done && machine.runtime.step()) {
  }
  return is_done ? control.status() : Status::timed_out;
}

TEST(NvmeDriver, AQueueThatIsGivenUpLeavesTheOthersAndTheDisksResets) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  Verifier verifier{machine.disk(0), machine.runtime.context(1),
                    std::vector<Verifier::Range>(200, {0, 16384, 0})};
  ASSERT_EQ(change_queue_count(machine, machine.disk(0), 1), Status::ok);
  const std::uint64_t doorbells = machine.registers.submission_doorbells(2);
  ASSERT_FALSE(verifier.is_done());
  for (unsigned resets = 1; resets != 4; ++resets) {
    machine.driver->reset();
    for (int i = 0; i != 300; ++i) ASSERT_TRUE(machine.runtime.step());
    EXPECT_EQ(machine.driver->resets(), resets);
  }
  EXPECT_FALSE(verifier.is_done());
  EXPECT_EQ(machine.registers.submission_doorbells(2), doorbells) << "the queue is not used";

  ASSERT_EQ(change_queue_count(machine, machine.disk(0), 2), Status::ok);
  machine.driver->reset();
  ASSERT_TRUE(machine.runtime.run_until_idle(10'000'000));
  EXPECT_TRUE(verifier.is_done());
  EXPECT_TRUE(verifier.failures().empty());
  EXPECT_GT(machine.registers.submission_doorbells(2), doorbells) << "the queue is used again";
  EXPECT_TRUE(machine.shut_down());
}

TEST(NvmeDriver, AFalseCompletionOnAQueueThatWasGivenUpIsLookedUp) {
  MachineConfig config;
  // Each completion comes on the other queue, too, half of them as if they were its own.
  for (std::uint64_t i = 0; i != 20; ++i) config.faults.push_back({FaultKind::wrong_queue, i});
  Machine machine{config};
  ASSERT_TRUE(machine.start());
  unsigned refusals = 0;  // on queue 1
  const auto count = [](void* its, const mq::TraceEvent& event) {
    const bool is_refusal = event.step == mq::TraceStep::looked_up && event.queue.value == 1 &&
                            event.reason != blkown::LookupReason::none;
    if (is_refusal) ++*static_cast<unsigned*>(its);
  };
  for (const auto& disk : machine.disks) {
    ASSERT_EQ(change_queue_count(machine, *disk, 1), Status::ok);
    disk->set_trace({count, &refusals});
  }
  Verifier verifier{machine.disk(0), machine.runtime.context(0),
                    std::vector<Verifier::Range>(10, {0, 512, 0})};
  ASSERT_TRUE(machine.runtime.run_until_idle(10'000'000));
  EXPECT_TRUE(verifier.is_done());
  EXPECT_TRUE(verifier.failures().empty());
  EXPECT_GT(refusals, 0U);
  EXPECT_TRUE(machine.shut_down());
}

TEST(NvmeDriver, AFailureThatMayBeTemporaryIsTriedAgain) {
  MachineConfig config;
  for (std::uint64_t i = 0; i != 3; ++i) config.faults.push_back({FaultKind::media_error, i});
  Machine machine{config};
  ASSERT_TRUE(machine.start());
  std::vector<std::byte> memory(4096);
  // A medium's error may be temporary: the fourth try succeeds.
  EXPECT_EQ(mq::read(machine.runtime, machine.disk(), 0, memory), Status::ok);
  EXPECT_EQ(machine.commands.count(IoOpcode::read), 4U);
  EXPECT_TRUE(machine.shut_down());
}

}  // namespace
