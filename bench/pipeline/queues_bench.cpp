// SPDX-License-Identifier: BSL-1.0
//
// One disk, and a hardware queue, a context and a thread for each processor: does the throughput
// grow with them? The contexts of the block layer share only switches, which they read. All threads
// share one simulated device with one lock, as an example of a part that does not scale.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <pipeline/bios.hpp>
#include <pipeline/device.hpp>
#include <pipeline/drivers.hpp>
#include <pipeline/meter.hpp>
#include <support/pinned_thread.hpp>
#include <support/registry.hpp>

namespace bench {
namespace {

constexpr std::uint32_t reads_in_flight = 32;  // on each queue
constexpr std::uint32_t queue_depth = 64;

/// The state that all threads of a run use. The first thread creates it before the loop and
/// destroys it after the loop; the others start and stop in between.
struct CookieDisk {
  CookieDisk(benchmark::State& state, std::uint32_t queues)
      : runtime{queues},
        driver{queues},
        measured{
            MeasuredDisk<CompletesLater>::create(state,
                                                 {.capacity_sectors = EmptyReads::capacity_sectors,
                                                  .normal_queues = queues,
                                                  .depth = queue_depth},
                                                 driver, runtime)} {
    if (measured.disk == nullptr)
      std::abort();  // the other threads would run their loops without a disk
  }

  mq::LoopRuntime runtime;
  CompletesLater driver;
  MeasuredDisk<CompletesLater> measured;
};

void completes_later(benchmark::State& state) {
  static std::optional<CookieDisk> shared;
  const PinnedThread pinned{state.thread_index()};
  const auto index = static_cast<std::uint32_t>(state.thread_index());
  const auto threads = static_cast<std::uint32_t>(state.threads());
  if (index == 0) shared.emplace(state, threads);
  EmptyReads reads{reads_in_flight};
  std::uint64_t ios = 0;
  const Meter meter;
  for (auto _ : state) {
    mq::Disk<CompletesLater>& disk = *shared->measured.disk;
    mq::Context& context = shared->runtime.context(index);
    {
      // A thread that polls its queue is always on its context: no wake-up is needed.
      const mq::Context::Scope here{context};
      for (auto& bio : reads.bios) disk.submit(context, *bio);
      shared->driver.reap(disk.hw_queue(blkown::QueueIndex{index}));
    }
    context.run();
    ios += reads_in_flight;
  }
  const std::uint64_t allocations = meter.allocations();
  state.SetItemsProcessed(static_cast<std::int64_t>(ios));
  if (reads.ended() != ios) state.SkipWithError("I/Os are missing");
  if (allocations != 0) state.SkipWithError("an I/O allocated memory");
  if (index != 0) return;
  Meter::report(state, shared->measured, allocations, ios);
  // All threads run the same number of rounds.
  mq::Disk<CompletesLater>& disk = *shared->measured.disk;
  if (disk.counters().ended(blkown::Status::ok) != ios * threads) {
    state.SkipWithError("I/Os did not end");
  }
  for (const CompletesLater::Ring& ring : shared->driver.rings) {
    if (ring.sectors != ios * block_sectors) state.SkipWithError("a queue was not used");
  }
  static_cast<void>(mq::remove(shared->runtime, disk));
  shared.reset();
}

struct DeviceDisk {
  DeviceDisk(benchmark::State& state, std::uint32_t queues)
      : runtime{queues}, device{state, runtime, queues, queue_depth} {}

  mq::LoopRuntime runtime;
  Device device;
};

void device(benchmark::State& state) {
  static std::optional<DeviceDisk> shared;
  const PinnedThread pinned{state.thread_index()};
  const auto index = static_cast<std::uint32_t>(state.thread_index());
  const auto threads = static_cast<std::uint32_t>(state.threads());
  if (index == 0) shared.emplace(state, threads);
  CheckedReads reads{reads_in_flight, std::uint64_t{index} * queue_depth};
  std::uint64_t rounds = 0;
  for (auto _ : state) {
    mq::Context& context = shared->runtime.context(index);
    for (auto& bio : reads.bios) shared->device.disk()->submit(context, *bio);
    ++rounds;
    do {
      shared->device.work(index);
      context.run();
    } while (reads.ended() != rounds * reads_in_flight);
  }
  const std::uint64_t ios = rounds * reads_in_flight;
  state.SetItemsProcessed(static_cast<std::int64_t>(ios));
  if (!reads.are_right(rounds)) state.SkipWithError("the data differs from the medium");
  if (index != 0) return;
  if (const char* const wrong = shared->device.remove(shared->runtime, ios * threads)) {
    state.SkipWithError(wrong);
  }
  shared.reset();
}

const Registration registration{[](int max_threads) {
  on_threads(benchmark::RegisterBenchmark("queues/completes_later", &completes_later), max_threads);
  constexpr int max_queue_pairs = 64;  // of the simulated controller
  on_threads(benchmark::RegisterBenchmark("queues/device", &device),
             std::min(max_threads, max_queue_pairs));
}};

}  // namespace
}  // namespace bench
