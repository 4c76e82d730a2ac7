// SPDX-License-Identifier: BSL-1.0
//
// The device of examples/nvme as a reference-counted object: what its users get after it was
// unplugged, and when it is freed. With the driver on it: I/O in flight at the removal, and driver
// data that outlive the disk.

#include <gtest/gtest.h>
#include <array>
#include <atomic>
#include <blkown/blkown.hpp>
#include <blkown/dma/dma.hpp>
#include <blkown/mq/mq.hpp>
#include <blkown/mq/sync.hpp>
#include <blkown/nvme/nvme.hpp>
#include <blkown/sim/harness/controller_pump.hpp>
#include <blkown/sim/harness/deterministic_runtime.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "examples/nvme/device_machine.hpp"
#include "nvme/device.hpp"
#include "nvme/disk.hpp"

namespace {

using blkown::Status;
using nvme_test::DeviceMachine;
using Device = DeviceMachine::Device;
namespace dma = blkown::dma;
namespace mq = blkown::mq;
namespace sim = blkown::sim;
namespace reg = blkown::nvme::reg;

static_assert(nvme_driver::Registers<Device>);
static_assert(dma::Backend<Device::Backend>);
static_assert(blkown::RefCounted<Device> && !blkown::Ownable<Device>);

TEST(NvmeDevice, EveryAccessAfterTheUnplugAnswersOffline) {
  DeviceMachine machine;
  const Device::Ref device = machine.plug_in();
  {
    const auto access = device->access();
    ASSERT_TRUE(access.has_value());
    EXPECT_EQ((*access)->read32(reg::vs), blkown::nvme::Version::of(1, 4, 0).value);
  }
  device->write32(reg::aqa, 0x0007'0007);
  EXPECT_EQ(device->read32(reg::aqa), 0x0007'0007U);
  device->unplug();
  EXPECT_TRUE(device->is_unplugged());
  const auto refused = device->access();
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error(), Status::offline);
}

TEST(NvmeDevice, ADriverReadsOnesAfterTheUnplugAndItsWritesGoNowhere) {
  DeviceMachine machine;
  const Device::Ref device = machine.plug_in();
  device->write32(reg::aqa, 0x0007'0007);
  device->write64(reg::asq, 0x1'0000'1000);
  device->unplug();  // the hardware is still there: it is the device that refuses
  device->write32(reg::aqa, 0x0003'0003);
  device->write64(reg::asq, 0x5000);
  EXPECT_EQ(device->read32(reg::aqa), ~std::uint32_t{0});
  EXPECT_EQ(device->read64(reg::asq), ~std::uint64_t{0});
  EXPECT_EQ(machine.controller.read32(reg::aqa), 0x0007'0007U);
  EXPECT_EQ(machine.controller.read64(reg::asq), 0x1'0000'1000U);
}

TEST(NvmeDevice, AMappingAfterTheUnplugAnswersOfflineAndAnEarlierOneIsUnmappedAsEver) {
  struct Io {
    dma::IovaList<2> iovas;
    std::optional<dma::ActiveMapping> mapping;
  };
  using Rq = blkown::Request<Io>;
  DeviceMachine machine;
  const Device::Ref device = machine.plug_in();
  auto tags = *blkown::TagSet<Rq>::create({.depth = 1}, blkown::EndSink<Rq>::freeing());
  std::vector<std::byte> memory(4096);
  const std::array segments{blkown::Segment{memory.data(), memory.size()}};
  auto cache = tags.tag_cache(blkown::QueueIndex{0}, 0);
  auto claim = tags.allocate(blkown::QueueIndex{0}, cache).value().start().into_claim();
  auto prepared =
      dma::map(claim, device->dma(), segments, dma::Direction::to_device, claim.data().iovas);
  ASSERT_TRUE(prepared.has_value());
  machine.unplug(*device);

  dma::IovaList<2> other;
  const auto refused = dma::map(claim, device->dma(), segments, dma::Direction::to_device, other);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().reason, dma::MapFailure::offline);
  EXPECT_EQ(refused.error().status(), Status::offline);
  const auto ring = dma::Coherent<Device::Backend>::allocate(device->dma(), 4096);
  ASSERT_FALSE(ring.has_value());
  EXPECT_EQ(ring.error().status(), Status::offline);

  EXPECT_NE(machine.iommu.mapped_pages(), 0U);
  EXPECT_TRUE(std::move(*prepared).activate().cancel(claim).has_value());
  std::move(claim).end(Status::offline);
  EXPECT_EQ(machine.iommu.mapped_pages(), 0U);
  EXPECT_EQ(machine.iommu.bad_unmaps(), 0U);
}

// Goal: a backend that judges the stop of its device, as the simulated one does, is told of it.
TEST(NvmeDevice, TheBackendIsToldOfADeclaredStop) {
  DeviceMachine machine;
  const Device::Ref device = machine.plug_in();
  machine.iommu.set_stop_hook({.function = [](void*) { return false; }, .argument = nullptr});
  static_cast<void>(device->dma().declare_stopped());
  EXPECT_EQ(machine.iommu.false_stops(), 1U);
}

TEST(NvmeDevice, TheLastReferenceFreesTheDeviceAndTheUnplugDoesNot) {
  DeviceMachine machine;
  std::optional<Device::Ref> bus{machine.plug_in()};
  std::optional<Device::Ref> driver{Device::Ref::from_ref(**bus)};
  machine.unplug(**bus);
  EXPECT_FALSE(machine.is_mapped);
  bus.reset();
  EXPECT_EQ(machine.releases, 0U);
  EXPECT_EQ((*driver)->access().error(), Status::offline);
  driver.reset();
  EXPECT_EQ(machine.releases, 1U);
}

TEST(NvmeDevice, ADeviceThatIsNotUnpluggedIsFreedByItsLastReferenceToo) {
  DeviceMachine machine;
  std::optional<Device::Ref> device{machine.plug_in()};
  EXPECT_TRUE(machine.is_mapped);
  device.reset();
  EXPECT_FALSE(machine.is_mapped);
  EXPECT_EQ(machine.releases, 1U);
}

// Goal: the registers are not unmapped under an access.
// Method: an access is open while another thread unplugs. It sees that new ones are refused, and
// that its own still reaches the registers.
TEST(NvmeDevice, AnUnplugWaitsForTheAccessInProgress) {
  DeviceMachine machine;
  const Device::Ref device = machine.plug_in();
  std::atomic<bool> is_over{false};
  std::optional<Device::Access> access{*device->access()};
  std::thread bus{[&] {
    device->unplug();
    is_over.store(true);
  }};
  while (!device->is_unplugged()) std::this_thread::yield();
  for (int i = 0; i != 100; ++i) {
    EXPECT_EQ(device->access().error(), Status::offline);
    EXPECT_EQ((*access)->read32(reg::vs), blkown::nvme::Version::of(1, 4, 0).value);
    std::this_thread::yield();
  }
  EXPECT_FALSE(is_over.load());
  EXPECT_TRUE(machine.is_mapped);
  access.reset();
  bus.join();
  EXPECT_FALSE(machine.is_mapped);
}

TEST(NvmeDevice, ContextsThatAccessDuringAnUnplugReadTheRegistersOrOnes) {
  for (int round = 0; round != 20; ++round) {
    DeviceMachine machine;
    std::optional<Device::Ref> bus{machine.plug_in()};
    std::atomic<unsigned> reads{0};
    const auto use = [&reads, device = Device::Ref::from_ref(**bus)] {
      for (;;) {
        const std::uint32_t version = device->read32(reg::vs);
        if (version == ~std::uint32_t{0}) return;
        EXPECT_EQ(version, blkown::nvme::Version::of(1, 4, 0).value);
        reads.fetch_add(1);
      }
    };
    std::thread first{use};
    std::thread second{use};
    while (reads.load() < 20) std::this_thread::yield();
    (*bus)->unplug();
    EXPECT_FALSE(machine.is_mapped);
    bus.reset();
    first.join();
    second.join();
  }
}

// --- the driver on it ----------------------------------------------------------------------------

using Driver = nvme_driver::NvmeDriver<Device, Device::Backend, nvme_test::SteppedPlatform>;

/// What a driver keeps for a device. The reference is declared first, so that the device is freed
/// after everything that was mapped for it.
struct DriverData {
  DriverData(Device::Ref its_device, nvme_test::SteppedPlatform& platform)
      : device{std::move(its_device)},
        controller{*Driver::Owner::create(*device, device->dma(), platform, {.io_queues = 2})},
        driver{*controller, {.normal_queues = 2, .depth = 16}} {}

  Device::Ref device;
  std::unique_ptr<Driver::Owner> controller;
  Driver driver;
};

/// A machine whose driver has a disk.
class DiskMachine : public DeviceMachine {
 public:
  using Disk = mq::Disk<Driver>;

  DiskMachine() : bus{plug_in()} {
    controller.set_hooks(
        {.argument = this,
         .interrupt =
             [](void* self, std::uint32_t vector) {
               auto& its = *static_cast<DiskMachine*>(self);
               if (its.data != nullptr) its.data->driver.interrupt(vector);
             },
         .wake = [](void* self) { static_cast<DiskMachine*>(self)->pump.wake(); }});
    platform.can_cut_off = true;
    data = std::make_unique<DriverData>(*bus, platform);
    EXPECT_TRUE(data->driver.start().has_value());
    pool = *data->driver.create_pool(blkown::Generation{100});
    EXPECT_TRUE(data->controller
                    ->for_each_namespace([&](const nvme_driver::NamespaceInfo& info) {
                      mq::DiskConfig config = data->driver.disk_config(info);
                      config.timeout_ms = 50;
                      disk = *Disk::create(config, data->driver, runtime, info, pool.get());
                    })
                    .has_value());
  }
  ~DiskMachine() { pump.finish(runtime); }

  /// Removes the disk, and shuts the controller down. The driver's data stay.
  [[nodiscard]] bool remove_disk() {
    static_cast<void>(mq::remove(runtime, *disk));
    static_cast<void>(runtime.run_until_idle(1'000'000));
    disk.reset();
    pool.reset();
    return data->driver.shut_down();
  }

  sim::DeterministicRuntime runtime{1, 3};
  sim::NvmeControllerPump pump{controller, runtime.context(2)};
  std::optional<Device::Ref> bus;
  std::unique_ptr<DriverData> data;
  std::unique_ptr<mq::TagPool<Driver>> pool;
  std::unique_ptr<Disk> disk;
};

/// A bio that is submitted on a context.
struct PostedRead : mq::Work {
  PostedRead(DiskMachine& machine, std::uint64_t sector)
      : Work{[](void* self, Work&) {
               auto& own = *static_cast<PostedRead*>(self);
               own.disk.submit(own.context, own.bio);
             },
             this},
        disk{*machine.disk},
        context{machine.runtime.context(static_cast<std::uint32_t>(sector % 2))} {
    bio.set_read(
        sector, blkown::Segment{memory.data(), memory.size()},
        {[](void* self, mq::Bio& its) { static_cast<PostedRead*>(self)->end = its.status(); },
         this});
    context.post(*this);
  }
  DiskMachine::Disk& disk;
  mq::Context& context;
  mq::Bio bio;
  std::vector<std::byte> memory = std::vector<std::byte>(4096);
  std::optional<Status> end;
};

TEST(NvmeDevice, AnUnplugWithIoInFlightEndsAllOfItOfflineAndUnmapsItsMemory) {
  DiskMachine machine;
  std::vector<std::unique_ptr<PostedRead>> reads;
  for (std::uint64_t i = 0; i != 16; ++i)
    reads.push_back(std::make_unique<PostedRead>(machine, i * 9));
  while (machine.commands.io.size() < 4) ASSERT_TRUE(machine.runtime.step());
  machine.unplug(**machine.bus);
  std::size_t in_flight = 0;
  machine.data->device->dma().for_each_mapping([&](const dma::Mapped&) { ++in_flight; });
  EXPECT_NE(in_flight, 0U);
  machine.data->driver.removed();
  ASSERT_TRUE(machine.runtime.run_until_idle(1'000'000));
  std::size_t offline = 0;
  for (const auto& read : reads) {
    ASSERT_TRUE(read->end.has_value());
    EXPECT_TRUE(*read->end == Status::offline || *read->end == Status::ok);
    offline += *read->end == Status::offline ? 1U : 0U;
  }
  EXPECT_NE(offline, 0U);
  // Everything that comes later, too.
  std::vector<std::byte> memory(4096);
  EXPECT_EQ(mq::read(machine.runtime, *machine.disk, 0, memory), Status::offline);
  static_cast<void>(machine.remove_disk());
  machine.data->device->dma().for_each_mapping([&](const dma::Mapped&) { ADD_FAILURE(); });
  EXPECT_EQ(machine.iommu.mapped_pages(), 0U);
  EXPECT_EQ(machine.iommu.fault_counts().total(), 0U);
}

TEST(NvmeDevice, AnIoBetweenTheUnplugAndTheDriversNoticeOfItEndsOffline) {
  DiskMachine machine;
  machine.unplug(**machine.bus);
  std::vector<std::byte> memory(4096);
  EXPECT_EQ(mq::read(machine.runtime, *machine.disk, 0, memory), Status::offline);
  EXPECT_FALSE(machine.data->driver.is_offline()) << "the mapping has refused it, not the driver";
  machine.data->driver.removed();
  ASSERT_TRUE(machine.runtime.run_until_idle(1'000'000));
  static_cast<void>(machine.remove_disk());
  EXPECT_EQ(machine.iommu.mapped_pages(), 0U);
}

TEST(NvmeDevice, DriverDataThatOutliveTheDiskKeepTheDeviceAndGetOffline) {
  DiskMachine machine;
  std::vector<std::byte> memory(4096);
  EXPECT_EQ(mq::read(machine.runtime, *machine.disk, 0, memory), Status::ok);
  EXPECT_TRUE(machine.remove_disk());
  machine.unplug(**machine.bus);
  machine.bus.reset();
  EXPECT_EQ(machine.releases, 0U);
  // A file that a program has open, for example, still has the driver's data.
  EXPECT_EQ(machine.data->device->access().error(), Status::offline);
  EXPECT_TRUE(machine.data->controller->state().status().is_gone());
  EXPECT_EQ(machine.data->controller->state().check().error().step,
            nvme_driver::ControllerStep::gone);
  machine.data.reset();
  EXPECT_EQ(machine.releases, 1U);
  EXPECT_EQ(machine.iommu.mapped_pages(), 0U);
}

}  // namespace
