// SPDX-License-Identifier: BSL-1.0
//
// Machine: a disk with its driver, controller, IOMMU and medium, and the controller's faults.

#ifndef BLKOWN_TESTS_SIM_MQ_MACHINE_HPP
#define BLKOWN_TESTS_SIM_MQ_MACHINE_HPP

#include <blkown/mq/mq.hpp>
#include <blkown/mq/sync.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/sim/device/media.hpp>
#include <blkown/sim/harness/controller_pump.hpp>
#include <cstdio>
#include <memory>
#include <utility>

#include "sim/mq_nvme_driver.hpp"

namespace round_trip {

struct MachineConfig {
  std::uint32_t queues = 2;
  std::uint32_t depth = 32;
  std::uint32_t timeout_ms = 50;
  std::uint64_t seed = 1;
  sim::FaultRates rates = sim::FaultRates::none();
  /// The longest time that the controller takes for a command without a fault.
  std::uint64_t longest_ns = 20'000;
};

/// A disk on a simulated controller. The controller runs on the runtime's last context.
class Machine {
 public:
  template <mq::Runtime Rt>
  Machine(Rt& runtime, sim::Media& medium, const MachineConfig& config)
      : faults_{config.seed, config.rates},
        device_{iommu_},
        controller_{controller_config(config), iommu_, device_, medium, &faults_},
        pump_{controller_, runtime.context(runtime.context_count() - 1)},
        driver_{device_, controller_} {
    sim::ControllerHooks hooks;
    hooks.argument = this;
    hooks.interrupt = [](void* self, std::uint32_t queue) {
      self_of(self).driver_.interrupt(blkown::QueueIndex{queue});
    };
    hooks.failed = [](void* self) { self_of(self).driver_.failed(); };
    hooks.wake = [](void* self) { self_of(self).pump_.wake(); };
    controller_.set_hooks(hooks);
    auto disk =
        mq::Disk<Nvme>::create({.capacity_sectors = medium.capacity_bytes() / mq::sector_bytes,
                                .limits = {.max_sectors = 256,
                                           .max_segments = sim::DriverRings::max_segments,
                                           .max_discard_sectors = 1024,
                                           .max_write_zeroes_sectors = 1024},
                                .write_cache = true,
                                .normal_queues = config.queues,
                                .depth = config.depth,
                                .reserved_depth = 2,
                                .timeout_ms = config.timeout_ms},
                               driver_, runtime);
    if (!disk.has_value()) {
      std::fprintf(stderr, "no disk: %s: %s\n", disk.error().field, to_string(disk.error().reason));
      return;
    }
    disk_ = *std::move(disk);
    controller_.start();
  }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  /// Removes the disk and stops the controller. Returns true if no page is left mapped.
  template <mq::Runtime Rt>
  [[nodiscard]] bool shut_down(Rt& runtime) {
    static_cast<void>(mq::remove(runtime, *disk_));
    // A reset that the driver has begun during the removal has ended before. One that begins now
    // ends within the call that begins it, on another thread.
    while (driver_.is_resetting()) {
      static_cast<void>(
          mq::run_and_wait(runtime, [&](mq::Control& control) { disk_->thaw(control); }));
    }
    const dma::EndProof proof = controller_.stop();
    pump_.finish(runtime);
    disk_.reset();  // the controller is stopped, so it no longer uses the driver's rings
    static_cast<void>(device_.drain(proof));
    iommu_.flush();
    return iommu_.mapped_pages() == 0 && iommu_.fault_counts().not_forbidden == 0;
  }

  [[nodiscard]] mq::Disk<Nvme>* disk() noexcept { return disk_.get(); }
  [[nodiscard]] Nvme& driver() noexcept { return driver_; }
  [[nodiscard]] sim::Iommu& iommu() noexcept { return iommu_; }
  [[nodiscard]] dma::Device<sim::Iommu>& device() noexcept { return device_; }
  [[nodiscard]] sim::Controller& controller() noexcept { return controller_; }
  [[nodiscard]] const sim::FaultPlan& faults() const noexcept { return faults_; }

 private:
  [[nodiscard]] static Machine& self_of(void* self) noexcept {
    return *static_cast<Machine*>(self);
  }
  [[nodiscard]] static sim::IommuConfig iommu_config() {
    sim::IommuConfig config;
    config.page_count = 65536;
    config.limits.max_segments = sim::DriverRings::max_segments;
    return config;
  }
  [[nodiscard]] static sim::ControllerConfig controller_config(const MachineConfig& config) {
    sim::ControllerConfig controller;
    controller.queue_pairs = config.queues;
    controller.longest_ns = config.longest_ns;
    controller.late_ns = std::uint64_t{3'000'000} * config.timeout_ms;
    controller.depth = config.depth;
    controller.seed = config.seed;
    return controller;
  }

  sim::FaultPlan faults_;
  sim::Iommu iommu_{iommu_config()};
  dma::Device<sim::Iommu> device_;
  sim::Controller controller_;
  sim::ControllerPump pump_;
  Nvme driver_;
  std::unique_ptr<mq::Disk<Nvme>> disk_;
};

}  // namespace round_trip

#endif
