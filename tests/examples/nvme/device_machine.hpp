// SPDX-License-Identifier: BSL-1.0
//
// DeviceMachine: a simulated controller with one namespace in a slot of a bus, as a
// reference-counted device that can be unplugged.

#ifndef BLKOWN_TESTS_EXAMPLES_NVME_DEVICE_MACHINE_HPP
#define BLKOWN_TESTS_EXAMPLES_NVME_DEVICE_MACHINE_HPP

#include <gtest/gtest.h>
#include <array>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/sim/device/iommu.hpp>
#include <blkown/sim/device/media/cached_media.hpp>
#include <blkown/sim/device/nvme/controller.hpp>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "examples/nvme/machine.hpp"
#include "nvme/device.hpp"

namespace nvme_test {

/// The registers of a simulated controller, as the bus maps them for one device.
class MappedRegisters {
 public:
  MappedRegisters(sim::NvmeController& controller, bool& is_mapped)
      : controller_{controller}, is_mapped_{is_mapped} {
    is_mapped_ = true;
  }
  MappedRegisters(const MappedRegisters&) = delete;
  MappedRegisters& operator=(const MappedRegisters&) = delete;
  ~MappedRegisters() { is_mapped_ = false; }

  [[nodiscard]] std::uint32_t read32(std::uint64_t offset) { return controller_.read32(offset); }
  [[nodiscard]] std::uint64_t read64(std::uint64_t offset) { return controller_.read64(offset); }
  void write32(std::uint64_t offset, std::uint32_t value) { controller_.write32(offset, value); }
  void write64(std::uint64_t offset, std::uint64_t value) { controller_.write64(offset, value); }

 private:
  sim::NvmeController& controller_;
  bool& is_mapped_;
};

/// The bus with its slot.
class DeviceMachine {
 public:
  using Device = nvme_driver::Device<MappedRegisters, sim::Iommu>;
  using Owner =
      nvme_driver::Controller<Device, Device::Backend, SteppedPlatform, std::recursive_mutex>;

  DeviceMachine() { controller.set_observer(&commands); }
  DeviceMachine(const DeviceMachine&) = delete;
  DeviceMachine& operator=(const DeviceMachine&) = delete;

  /// The device that is in the slot.
  [[nodiscard]] Device::Ref plug_in() {
    return *Device::create(
        iommu,
        {.on_release = [](void* self) { ++static_cast<DeviceMachine*>(self)->releases; },
         .on_release_argument = this},
        controller, is_mapped);
  }
  /// Takes the device out of the slot: the device's users first, then the hardware.
  void unplug(Device& device) {
    device.unplug();
    controller.unplug();
  }

  /// A controller that was started. It is not the device's holder.
  [[nodiscard]] std::unique_ptr<Owner> start(Device& device) {
    auto made = Owner::create(device, device.dma(), platform,
                              {.admin_timeout_ms = 500, .first_generation = blkown::Generation{7}});
    const auto started = (*made)->start();
    if (!started.has_value()) ADD_FAILURE() << to_string(started.error().step);
    return *std::move(made);
  }

  sim::CachedMedia media{8 << 20};
  sim::FaultPlan faults;
  sim::Iommu iommu{iommu_config()};
  sim::NvmeController controller{{.io_queues = 2, .max_transfer_exponent = 3, .depth = 16},
                                 iommu,
                                 std::array{sim::NvmeNamespace{&media, 512}},
                                 &faults};
  FetchedCommands commands;
  SteppedPlatform platform{controller, false};
  bool is_mapped = false;
  unsigned releases = 0;

 private:
  [[nodiscard]] static sim::IommuConfig iommu_config() {
    sim::IommuConfig config;
    config.limits.virt_boundary_mask = nvme_driver::page_bytes - 1;
    return config;
  }
};

}  // namespace nvme_test

#endif
