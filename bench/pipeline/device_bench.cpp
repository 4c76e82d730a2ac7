// SPDX-License-Identifier: BSL-1.0
//
// The same bio with a device: mapped for DMA, written into a submission ring, announced by a
// doorbell, fetched, executed and completed by the simulated controller, with each byte through its
// IOMMU, then looked up, unmapped and ended by the driver. The data is checked.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <blkown/mq/loop_runtime.hpp>
#include <cstdint>
#include <pipeline/bios.hpp>
#include <pipeline/device.hpp>
#include <pipeline/meter.hpp>

namespace bench {
namespace {

void through_device(benchmark::State& state) {
  const auto depth = static_cast<std::uint32_t>(state.range(0));
  mq::LoopRuntime runtime;
  Device device{state, runtime, 1, std::max(depth, 64U)};
  if (device.disk() == nullptr) return;
  mq::Context& context = runtime.context(0);
  CheckedReads reads{depth, 0};
  std::uint64_t rounds = 0;
  const auto run_round = [&] {
    for (auto& bio : reads.bios) device.disk()->submit(context, *bio);
    device.work(0);
    context.run();
    ++rounds;
  };
  run_round();  // the controller's tables grow
  const Meter meter;
  for (auto _ : state) run_round();
  const std::uint64_t ios = (rounds - 1) * depth;
  Meter::report(state, device.measured(), meter.allocations(), ios);
  state.SetItemsProcessed(static_cast<std::int64_t>(ios));
  if (!reads.are_right(rounds)) state.SkipWithError("the data differs from the medium");
  if (const char* const wrong = device.remove(runtime, rounds * depth)) state.SkipWithError(wrong);
}
BENCHMARK(through_device)->Name("pipeline/device")->Arg(1)->Arg(8)->Arg(32)->Arg(256)->Arg(1024);

}  // namespace
}  // namespace bench
