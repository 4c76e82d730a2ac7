// SPDX-License-Identifier: BSL-1.0
//
// Machine: a disk with its driver, NVMe controller, IOMMU and medium, and the controller's faults.
// The driver's files have the controller as a Device, which may be unplugged.

#ifndef EXAMPLES_DMA_ROUND_TRIP_MACHINE_HPP
#define EXAMPLES_DMA_ROUND_TRIP_MACHINE_HPP

#include <atomic>
#include <blkown/mq/mq.hpp>
#include <blkown/mq/sync.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/sim/device/iommu.hpp>
#include <blkown/sim/device/media/media.hpp>
#include <blkown/sim/device/nvme/controller.hpp>
#include <blkown/sim/harness/controller_pump.hpp>
#include <blkown/sim/harness/deterministic_runtime.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>

#include "../nvme/device.hpp"
#include "../nvme/disk.hpp"

namespace round_trip {

namespace dma = blkown::dma;
namespace mq = blkown::mq;
namespace sim = blkown::sim;

struct MachineConfig {
  std::uint32_t queues = 2;
  std::uint32_t depth = 32;
  std::uint32_t timeout_ms = 50;
  std::uint64_t seed = 1;
  bool has_faults = false;
};

/// The controller's registers, until the device is unplugged.
class Bar {
 public:
  explicit Bar(sim::NvmeController& controller) : controller_{controller} {}

  [[nodiscard]] std::uint32_t read32(std::uint64_t offset) { return controller_.read32(offset); }
  [[nodiscard]] std::uint64_t read64(std::uint64_t offset) { return controller_.read64(offset); }
  void write32(std::uint64_t offset, std::uint32_t value) { controller_.write32(offset, value); }
  void write64(std::uint64_t offset, std::uint64_t value) { controller_.write64(offset, value); }

 private:
  sim::NvmeController& controller_;
};

/// How the driver waits for a simulated controller: it lets the controller work. On threads the
/// clock is real, else it moves with each pause.
class SimulatedPlatform {
 public:
  SimulatedPlatform(sim::NvmeController& controller, bool is_real)
      : controller_{controller}, is_real_{is_real} {}

  [[nodiscard]] std::uint64_t now_ns() const {
    if (!is_real_) return now_ns_;
    const std::chrono::nanoseconds now = std::chrono::steady_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(now.count());
  }
  void pause() {
    if (is_real_) {
      std::this_thread::yield();
    } else {
      now_ns_ += 100'000;
    }
    while (controller_.step(now_ns())) {
    }
  }
  /// A simulated controller always stops, and one that is out of its slot reaches no memory.
  [[nodiscard]] bool cut_off() const noexcept { return is_gone_.load(std::memory_order_acquire); }
  void note_gone() noexcept { is_gone_.store(true, std::memory_order_release); }

 private:
  sim::NvmeController& controller_;
  bool is_real_;
  std::uint64_t now_ns_ = 0;
  std::atomic<bool> is_gone_{false};
};

/// The driver of the example.
using Device = nvme_driver::Device<Bar, sim::Iommu>;
using Driver = nvme_driver::NvmeDriver<Device, Device::Backend, SimulatedPlatform>;

/// A disk on a simulated controller. The controller runs on the runtime's last context.
class Machine {
 public:
  template <mq::Runtime Rt>
  Machine(Rt& runtime, sim::Media& medium, const MachineConfig& config)
      : namespace_{&medium, 512},
        controller_{controller_config(config), iommu_, {&namespace_, 1}, &faults_},
        platform_{controller_, !std::is_same_v<Rt, sim::DeterministicRuntime>},
        pump_{controller_, runtime.context(runtime.context_count() - 1)} {
    controller_.set_hooks({.argument = this,
                           .interrupt =
                               [](void* self, std::uint32_t vector) {
                                 if (auto& driver = of(self).driver_) driver->interrupt(vector);
                               },
                           .failed =
                               [](void* self) {
                                 if (auto& driver = of(self).driver_) driver->failed();
                               },
                           .wake = [](void* self) { of(self).pump_.wake(); }});
    start(runtime, config);
    // The controller behaves well until the disk exists.
    if (config.has_faults) faults_ = sim::FaultPlan{config.seed, fault_rates()};
  }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  /// Takes the controller out of its slot: its users learn of that first, and the driver last. All
  /// I/O ends with `offline`.
  /// Precondition: the caller is on none of the runtime's contexts.
  void unplug() {
    device_->unplug();
    // First the flag: a reset on another context that finds no controller asks cut_off().
    platform_.note_gone();
    controller_.unplug();
    driver_->removed();
  }

  /// Removes the disk and stops the controller. Returns true if no page is left mapped.
  template <mq::Runtime Rt>
  [[nodiscard]] bool shut_down(Rt& runtime) {
    static_cast<void>(mq::remove(runtime, *disk_));
    // A reset that the driver has begun during the removal has ended before. One that begins now
    // ends within the call that begins it, on another thread.
    while (driver_->is_resetting()) std::this_thread::yield();
    disk_.reset();
    pool_.reset();
    const bool is_freed = driver_->shut_down();
    pump_.finish(runtime);
    driver_.reset();
    owner_.reset();
    iommu_.flush();
    return is_freed && iommu_.mapped_pages() == 0 && iommu_.fault_counts().not_forbidden == 0;
  }

  [[nodiscard]] mq::Disk<Driver>* disk() noexcept { return disk_.get(); }
  [[nodiscard]] Driver& driver() noexcept { return *driver_; }
  [[nodiscard]] sim::Iommu& iommu() noexcept { return iommu_; }
  [[nodiscard]] const sim::FaultPlan& faults() const noexcept { return faults_; }

 private:
  /// The driver's patience with the controller. On threads the clock is real, and the one that
  /// waits, or the one that steps the controller, may not get to run for seconds. Each time limit
  /// that passes for that reason also costs the I/Os in flight one of their tries.
  static constexpr std::uint32_t patience_ms = 60'000;

  [[nodiscard]] static Machine& of(void* self) noexcept { return *static_cast<Machine*>(self); }
  static void tell(const nvme_driver::ControllerError& error) { tell(to_string(error.step)); }
  static void tell(const char* reason) { std::fprintf(stderr, "no controller: %s\n", reason); }

  /// All faults but those with which a controller gives an I/O's id to another I/O, because an id
  /// of 16 bits is believed after 16 uses of its tag, and but a completion that comes before the
  /// publication: another thread may take it after the publication, and has to believe it. A range
  /// that stays unreadable cannot be copied.
  [[nodiscard]] static sim::FaultRates fault_rates() {
    sim::FaultRates rates = sim::FaultRates::all();
    for (const auto kind :
         {sim::FaultKind::forged, sim::FaultKind::stale, sim::FaultKind::wrong_queue,
          sim::FaultKind::early, sim::FaultKind::before_publish, sim::FaultKind::bad_range}) {
      rates[kind] = 0;
    }
    return rates;
  }
  [[nodiscard]] static sim::IommuConfig iommu_config() {
    sim::IommuConfig config;
    config.page_count = 65536;
    config.limits.virt_boundary_mask = nvme_driver::page_bytes - 1;
    return config;
  }
  [[nodiscard]] static sim::NvmeConfig controller_config(const MachineConfig& config) {
    sim::NvmeConfig controller;
    controller.io_queues = static_cast<std::uint16_t>(config.queues);
    controller.longest_ns = 20'000;
    controller.ready_timeout_ms = patience_ms;
    controller.late_ns = std::uint64_t{3'000'000} * config.timeout_ms;
    controller.depth = config.depth;
    controller.seed = config.seed;
    return controller;
  }

  template <mq::Runtime Rt>
  void start(Rt& runtime, const MachineConfig& config) {
    auto owner = Driver::Owner::create(
        *device_, device_->dma(), platform_,
        {.io_queues = static_cast<std::uint16_t>(config.queues),
         .admin_timeout_ms = patience_ms,
         .first_generation = blkown::Generation{static_cast<std::uint32_t>(config.seed)}});
    if (!owner.has_value()) return tell(owner.error());
    owner_ = *std::move(owner);
    driver_.emplace(*owner_,
                    nvme_driver::DriverConfig{
                        .normal_queues = config.queues, .depth = config.depth, .max_tries = 100});
    const auto started = driver_->start();
    if (!started.has_value()) return tell(started.error());
    make_disk(runtime, config);
  }

  template <mq::Runtime Rt>
  void make_disk(Rt& runtime, const MachineConfig& config) {
    auto pool =
        driver_->create_pool(blkown::Generation{static_cast<std::uint32_t>(config.seed) << 8});
    if (!pool.has_value()) return tell("no memory for the tags");
    pool_ = *std::move(pool);
    // A controller that fails now is reset when the disk is there.
    const auto deferral = driver_->defer_resets();
    if (!deferral.has_value()) return tell("the controller is being reset");
    const auto listed = owner_->for_each_namespace([&](const nvme_driver::NamespaceInfo& info) {
      mq::DiskConfig disk = driver_->disk_config(info);
      disk.timeout_ms = config.timeout_ms;
      auto made = mq::Disk<Driver>::create(disk, *driver_, runtime, info, pool_.get());
      if (!made.has_value()) return tell(to_string(made.error().reason));
      disk_ = *std::move(made);
    });
    if (!listed.has_value()) tell(listed.error());
  }

  sim::NvmeNamespace namespace_;
  sim::FaultPlan faults_;
  sim::Iommu iommu_{iommu_config()};
  sim::NvmeController controller_;
  Device::Ref device_ = *Device::create(iommu_, {}, controller_);
  SimulatedPlatform platform_;
  sim::NvmeControllerPump pump_;
  std::unique_ptr<Driver::Owner> owner_;
  std::optional<Driver> driver_;
  std::unique_ptr<mq::TagPool<Driver>> pool_;
  std::unique_ptr<mq::Disk<Driver>> disk_;
};

}  // namespace round_trip

#endif
