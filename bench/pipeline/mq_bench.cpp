// SPDX-License-Identifier: BSL-1.0
//
// I/Os through the block layer on one context: the cost of a bio from submit to its end, with a
// driver that ends at once and with one that publishes and completes later by cookie. bench/run
// compares these with fio's null engine.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <cstdint>
#include <pipeline/bios.hpp>
#include <pipeline/drivers.hpp>
#include <pipeline/meter.hpp>

namespace bench {
namespace {

/// `reap(Hw&)` completes requests as a device would: on the context, as a loop that polls, or
/// outside of it, as an interrupt. `sectors()` is the number of sectors that the driver was asked
/// for.
template <class D, class Reap, class Sectors>
void run(benchmark::State& state, D& driver, bool reaps_here, Reap reap, Sectors sectors) {
  const auto depth = static_cast<std::uint32_t>(state.range(0));
  mq::LoopRuntime runtime;
  auto measured = MeasuredDisk<D>::create(
      state, {.capacity_sectors = EmptyReads::capacity_sectors, .depth = std::max(depth, 64U)},
      driver, runtime);
  if (measured.disk == nullptr) return;
  mq::Disk<D>& disk = *measured.disk;
  mq::Context& context = runtime.context(0);
  auto& hw = disk.hw_queue(blkown::QueueIndex{0});
  EmptyReads reads{depth};
  std::uint64_t submitted = 0;
  const Meter meter;
  for (auto _ : state) {
    {
      const mq::Context::Scope here{context};
      for (auto& bio : reads.bios) disk.submit(context, *bio);
      if (reaps_here) reap(hw);
    }
    if (!reaps_here) reap(hw);
    context.run();
    submitted += depth;
  }
  const std::uint64_t allocations = meter.allocations();
  Meter::report(state, measured, allocations, submitted);
  state.SetItemsProcessed(static_cast<std::int64_t>(submitted));
  // Work that was lost or optimised away is an error.
  if (reads.ended() != submitted || sectors() != submitted * block_sectors ||
      disk.counters().ended(blkown::Status::ok) != submitted) {
    state.SkipWithError("I/Os are missing");
  }
  if (allocations != 0) state.SkipWithError("an I/O allocated memory");
  static_cast<void>(mq::remove(runtime, disk));
}

void ends_at_once(benchmark::State& state) {
  EndsAtOnce driver;
  run(state, driver, true, [](EndsAtOnce::Hw&) {}, [&] { return driver.sectors; });
}
void completes_later(benchmark::State& state, bool reaps_here) {
  CompletesLater driver;
  run(
      state, driver, reaps_here, [&](CompletesLater::Hw& hw) { driver.reap(hw); },
      [&] { return driver.rings[0].sectors; });
}

void at_depths(benchmark::internal::Benchmark* benchmark) {
  for (const int depth : {1, 8, 32, 256, 1024}) benchmark->Arg(depth);
}
BENCHMARK(ends_at_once)->Name("pipeline/ends_at_once")->Apply(at_depths);
BENCHMARK_CAPTURE(completes_later, on_the_context, true)
    ->Name("pipeline/completes_later")
    ->Apply(at_depths)
    ->Arg(65'536);
BENCHMARK_CAPTURE(completes_later, elsewhere, false)
    ->Name("pipeline/completes_elsewhere")
    ->Apply(at_depths)
    ->Arg(65'536);

}  // namespace
}  // namespace bench
