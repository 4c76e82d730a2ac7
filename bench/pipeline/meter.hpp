// SPDX-License-Identifier: BSL-1.0
//
// The figures beside the time of a pipeline: the size of a request and of a disk, and the
// allocations for each I/O.

#ifndef BLKOWN_BENCH_PIPELINE_METER_HPP
#define BLKOWN_BENCH_PIPELINE_METER_HPP

#include <benchmark/benchmark.h>

#include <blkown/mq/mq.hpp>
#include <cstdint>
#include <memory>
#include <support/allocations.hpp>
#include <utility>

namespace bench {

namespace mq = blkown::mq;

/// A disk, and the size of its memory.
template <class D>
struct MeasuredDisk {
  /// The disk is null if it could not be created; `state` then has the reason. `data`: of the disk.
  template <mq::Runtime Rt>
  static MeasuredDisk create(benchmark::State& state, const mq::DiskConfig& config, D& driver,
                             Rt& runtime, const typename D::QueueData& data = {}) {
    const Allocations before = Allocations::so_far();
    auto made = mq::Disk<D>::create(config, driver, runtime, data);
    const Allocations used = Allocations::so_far() - before;
    if (!made.has_value()) {
      state.SkipWithError(made.error().field);
      return {};
    }
    const std::uint64_t requests = std::uint64_t{config.depth} * config.normal_queues;
    return {.disk = *std::move(made), .bytes = used.bytes - requests * sizeof(mq::Request<D>)};
  }

  std::unique_ptr<mq::Disk<D>> disk;
  std::uint64_t bytes = 0;  ///< Without its requests.
};

/// Created before the loop, reported after it.
class Meter {
 public:
  /// The allocations of the calling thread since the meter was created.
  [[nodiscard]] std::uint64_t allocations() const noexcept {
    return (Allocations::so_far() - before_).count;
  }
  template <class D>
  static void report(benchmark::State& state, const MeasuredDisk<D>& measured,
                     std::uint64_t allocations, std::uint64_t ios) {
    state.counters["allocs_per_io"] =
        ios == 0 ? 0.0 : static_cast<double>(allocations) / static_cast<double>(ios);
    state.counters["request_bytes"] = sizeof(mq::Request<D>);
    state.counters["disk_bytes"] = static_cast<double>(measured.bytes);
  }

 private:
  Allocations before_ = Allocations::so_far();
};

}  // namespace bench

#endif
