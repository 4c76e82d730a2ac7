// SPDX-License-Identifier: BSL-1.0
//
// A disk with everything behind it: the driver of examples/nvme, typed mappings, and the simulated
// NVMe controller with its rings, its IOMMU and its medium. There are no faults, and the device has
// no latency: the benchmark measures the cost of the code.

#ifndef BLKOWN_BENCH_PIPELINE_DEVICE_HPP
#define BLKOWN_BENCH_PIPELINE_DEVICE_HPP

#include <benchmark/benchmark.h>

#include <blkown/mq/mq.hpp>
#include <blkown/mq/sync.hpp>
#include <blkown/sim/device/media/media.hpp>
#include <blkown/sim/device/nvme/controller.hpp>
#include <cstdint>
#include <memory>
#include <nvme/disk.hpp>
#include <optional>
#include <pipeline/bios.hpp>
#include <pipeline/meter.hpp>
#include <span>
#include <vector>

namespace bench {

namespace dma = blkown::dma;
namespace sim = blkown::sim;

/// Waits by letting the controller work.
struct DevicePlatform {
  sim::NvmeController& controller;
  std::uint64_t time_ns = 0;

  [[nodiscard]] std::uint64_t now_ns() const noexcept { return time_ns; }
  void pause() {
    time_ns += 1'000'000;
    while (controller.step(0)) {
    }
  }
  [[nodiscard]] static bool cut_off() noexcept { return false; }
};

using Nvme = nvme_driver::NvmeDriver<sim::NvmeController, sim::Iommu, DevicePlatform>;

class Device {
 public:
  /// Has room for `depth` commands on each queue, and for as many blocks for each of them.
  template <mq::Runtime Rt>
  Device(benchmark::State& state, Rt& runtime, std::uint32_t queues, std::uint32_t depth)
      : medium_{std::uint64_t{queues} * depth},
        iommu_{iommu_config(queues, depth)},
        namespace_{&medium_, mq::sector_bytes},
        controller_{controller_config(queues, depth), iommu_, std::span{&namespace_, 1}} {
    controller_.set_hooks({.argument = this, .interrupt = [](void* self, std::uint32_t vector) {
                             auto& driver = static_cast<Device*>(self)->driver_;
                             if (driver.has_value()) driver->interrupt(vector);
                           }});
    if (!start(queues, depth)) {
      state.SkipWithError("the controller does not start");
      return;
    }
    const auto listed = owner_->for_each_namespace([&](const nvme_driver::NamespaceInfo& info) {
      const auto deferral = driver_->defer_resets();
      if (!deferral.has_value()) return state.SkipWithError("the driver resets the controller");
      measured_ =
          MeasuredDisk<Nvme>::create(state, driver_->disk_config(info), *driver_, runtime, info);
    });
    if (!listed.has_value()) state.SkipWithError("the controller lists no namespace");
    pages_at_rest_ = iommu_.mapped_pages();
    events_at_rest_ = controller_.events();
    shared_calls_at_rest_ = controller_.shared_calls();
  }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  [[nodiscard]] const MeasuredDisk<Nvme>& measured() const noexcept { return measured_; }
  [[nodiscard]] mq::Disk<Nvme>* disk() noexcept { return measured_.disk.get(); }

  /// Lets the device perform the pending work of a queue.
  /// Context: one thread for each queue.
  void work(std::uint32_t queue) {
    while (controller_.step_queue(static_cast<std::uint16_t>(queue + 1), 0)) {
    }
  }

  /// Takes the device down after `ios` reads. Returns null, or what was wrong.
  template <mq::Runtime Rt>
  [[nodiscard]] const char* remove(Rt& runtime, std::uint64_t ios) {
    const char* wrong = nullptr;
    if (disk()->counters().ended(blkown::Status::ok) != ios) wrong = "I/Os are missing";
    // A doorbell, a fetch, an execution, a completion and its doorbell, which may be of several.
    const std::uint64_t events = controller_.events() - events_at_rest_;
    if (events < 4 * ios || events > 5 * ios) {
      wrong = "the controller processed a wrong number of events";
    }
    if (iommu_.fault_counts().total() != 0) wrong = "the IOMMU refused an access";
    if (iommu_.mapped_pages() != pages_at_rest_) wrong = "an I/O's memory is still mapped";
    if (driver_->resets() != 0) wrong = "the driver reset the controller";
    if (iommu_.shared_maps() != 0) wrong = "queues shared addresses of the IOMMU";
    if (controller_.shared_calls() != shared_calls_at_rest_) {
      wrong = "an I/O took the lock of the whole controller";
    }
    static_cast<void>(mq::remove(runtime, *disk()));
    measured_.disk.reset();
    if (!driver_->shut_down()) wrong = "the controller does not stop";
    return wrong;
  }

 private:
  /// A medium of numbered blocks.
  class Medium : public sim::MemoryMedia {
   public:
    explicit Medium(std::uint64_t blocks) : MemoryMedia{blocks * sizeof(Block)} {
      for (std::uint64_t number = 0; number != blocks; ++number) {
        Block block;
        CheckedReads::fill(block.bytes, number);
        static_cast<void>(write(number * sizeof block, block.bytes));
      }
    }
  };

  [[nodiscard]] static sim::IommuConfig iommu_config(std::uint32_t queues, std::uint32_t depth) {
    // The rings of 2,048 commands at most, a page of PRP entries for each tag, and the I/Os.
    constexpr std::uint32_t max_ring_pages = 128;
    sim::IommuConfig config{.page_count = 256 + queues * (max_ring_pages + 4 * depth),
                            .address_areas = queues};
    config.limits.virt_boundary_mask = nvme_driver::page_bytes - 1;
    return config;
  }
  [[nodiscard]] static sim::NvmeConfig controller_config(std::uint32_t queues,
                                                         std::uint32_t depth) {
    return {.io_queues = static_cast<std::uint16_t>(queues),
            .max_queue_entries = 2 * depth,
            .shortest_ns = 0,
            .longest_ns = 0,
            .depth = depth};
  }
  [[nodiscard]] bool start(std::uint32_t queues, std::uint32_t depth) {
    auto owner = Nvme::Owner::create(controller_, device_, platform_,
                                     {.io_queues = static_cast<std::uint16_t>(queues)});
    if (!owner.has_value()) return false;
    owner_ = *std::move(owner);
    driver_.emplace(*owner_, nvme_driver::DriverConfig{.normal_queues = queues, .depth = depth});
    return driver_->start().has_value();
  }

  Medium medium_;
  sim::Iommu iommu_;
  dma::Device<sim::Iommu> device_{iommu_};
  sim::NvmeNamespace namespace_;
  sim::NvmeController controller_;
  DevicePlatform platform_{controller_};
  std::unique_ptr<Nvme::Owner> owner_;
  std::optional<Nvme> driver_;
  MeasuredDisk<Nvme> measured_;
  std::uint64_t pages_at_rest_ = 0;
  std::uint64_t events_at_rest_ = 0;
  std::uint64_t shared_calls_at_rest_ = 0;
};

}  // namespace bench

#endif
