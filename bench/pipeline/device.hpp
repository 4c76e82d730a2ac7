// SPDX-License-Identifier: BSL-1.0
//
// A disk with everything behind it: the driver of tests/sim/mq_nvme_driver.hpp, typed mappings, and
// the simulated controller with its rings, its IOMMU and its medium. There are no faults, and the
// device has no latency: the benchmark measures the cost of the code.

#ifndef BLKOWN_BENCH_PIPELINE_DEVICE_HPP
#define BLKOWN_BENCH_PIPELINE_DEVICE_HPP

#include <benchmark/benchmark.h>

#include <blkown/mq/mq.hpp>
#include <blkown/mq/sync.hpp>
#include <blkown/sim/device/controller.hpp>
#include <blkown/sim/device/media.hpp>
#include <cstdint>
#include <pipeline/bios.hpp>
#include <pipeline/meter.hpp>
#include <sim/mq_nvme_driver.hpp>
#include <span>
#include <vector>

namespace bench {

namespace dma = blkown::dma;
namespace sim = blkown::sim;
using round_trip::Nvme;

class Device {
 public:
  /// Has room for `depth` commands on each queue, and for as many blocks for each of them.
  template <mq::Runtime Rt>
  Device(benchmark::State& state, Rt& runtime, std::uint32_t queues, std::uint32_t depth)
      : medium_{std::uint64_t{queues} * depth},
        iommu_{{.page_count = 256 + 2 * queues * (max_ring_pages + depth)}},
        device_{iommu_},
        controller_{{.queue_pairs = queues, .shortest_ns = 0, .longest_ns = 0, .depth = depth},
                    iommu_,
                    device_,
                    medium_},
        driver_{device_, controller_} {
    controller_.set_hooks(
        {.argument = &driver_, .interrupt = [](void* driver, std::uint32_t queue) {
           static_cast<Nvme*>(driver)->interrupt(blkown::QueueIndex{queue});
         }});
    measured_ = MeasuredDisk<Nvme>::create(
        state,
        {.capacity_sectors = medium_.capacity_bytes() / mq::sector_bytes,
         .limits = {.max_sectors = 256, .max_segments = sim::DriverRings::max_segments},
         .normal_queues = queues,
         .depth = depth},
        driver_, runtime);
    pages_at_rest_ = iommu_.mapped_pages();
    controller_.start();
  }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  [[nodiscard]] const MeasuredDisk<Nvme>& measured() const noexcept { return measured_; }
  [[nodiscard]] mq::Disk<Nvme>* disk() noexcept { return measured_.disk.get(); }

  /// Lets the device perform its pending work.
  /// Context: any thread.
  void work() {
    while (controller_.step(0)) {
    }
  }

  /// Takes the device down after `ios` reads. Returns null, or what was wrong.
  template <mq::Runtime Rt>
  [[nodiscard]] const char* remove(Rt& runtime, std::uint64_t ios) {
    const char* wrong = nullptr;
    if (disk()->counters().ended(blkown::Status::ok) != ios) wrong = "I/Os are missing";
    // A doorbell, a fetch, an execution, a completion and its doorbell.
    if (controller_.events() != 5 * ios)
      wrong = "the controller processed a wrong number of events";
    if (iommu_.fault_counts().total() != 0) wrong = "the IOMMU refused an access";
    if (iommu_.mapped_pages() != pages_at_rest_) wrong = "an I/O's memory is still mapped";
    if (driver_.resets() != 0) wrong = "the driver reset the controller";
    static_cast<void>(mq::remove(runtime, *disk()));
    const dma::EndProof proof = controller_.stop();
    measured_.disk.reset();  // leaves the driver's rings to the drain
    static_cast<void>(device_.drain(proof));
    return wrong;
  }

 private:
  /// Entries of 64 and 16 bytes, four for each command, and segment lists, for 1,024 commands.
  static constexpr std::uint32_t max_ring_pages = 128;

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

  Medium medium_;
  sim::Iommu iommu_;
  dma::Device<sim::Iommu> device_;
  sim::Controller controller_;
  Nvme driver_;
  MeasuredDisk<Nvme> measured_;
  std::uint64_t pages_at_rest_ = 0;
};

}  // namespace bench

#endif
