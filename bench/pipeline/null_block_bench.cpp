// SPDX-License-Identifier: BSL-1.0
//
// Reads through examples/null_block, beside the shortest drivers: the cost of a driver that has
// every feature.

#include <benchmark/benchmark.h>

#include <blkown/mq/loop_runtime.hpp>
#include <cstdint>
#include <pipeline/null_block.hpp>
#include <support/allocations.hpp>

namespace bench {
namespace {

/// Measures rounds of reads.
auto measure(benchmark::State& state) {
  return [&state](auto& rounds, auto reap) {
    if (rounds.error() != nullptr) return state.SkipWithError(rounds.error());
    const auto depth = static_cast<std::uint64_t>(state.range(0));
    std::uint64_t count = 0;
    const auto round = [&] {
      rounds.round(reap);
      ++count;
    };
    round();  // the driver's two lists grow
    round();
    const Allocations before = Allocations::so_far();
    for (auto _ : state) round();
    if ((Allocations::so_far() - before).count != 0) state.SkipWithError("an I/O allocated memory");
    state.SetItemsProcessed(static_cast<std::int64_t>((count - 2) * depth));
    if (rounds.ended_ok() != count * depth) state.SkipWithError("I/Os are missing");
  };
}

void at_once(benchmark::State& state) {
  with_ends_at_once(static_cast<std::uint32_t>(state.range(0)), {}, {}, measure(state));
}
void later(benchmark::State& state, const ReadWay& way) {
  with_completes_later(static_cast<std::uint32_t>(state.range(0)), way, {}, measure(state));
}
void null_block(benchmark::State& state, const ReadWay& way, const ::null_block::Config& config) {
  with_null_block(static_cast<std::uint32_t>(state.range(0)), way, config, {}, measure(state));
}

void at_depths(benchmark::internal::Benchmark* benchmark) {
  for (const int depth : {1, 32, 1024}) benchmark->Arg(depth);
}
BENCHMARK(at_once)->Name("null_block/ends_at_once")->Apply(at_depths);
BENCHMARK_CAPTURE(later, alone, {})->Name("null_block/completes_later")->Apply(at_depths);
BENCHMARK_CAPTURE(later, listed, {.is_listed = true})
    ->Name("null_block/completes_later,listed")
    ->Apply(at_depths);
BENCHMARK_CAPTURE(null_block, none, {}, {})->Name("null_block/none")->Apply(at_depths);
BENCHMARK_CAPTURE(null_block, softirq, {}, {.completion = 1})
    ->Name("null_block/softirq")
    ->Apply(at_depths);
BENCHMARK_CAPTURE(null_block, polled, {.is_polled = true}, {})
    ->Name("null_block/polled")
    ->Apply(at_depths);
BENCHMARK_CAPTURE(null_block, batch, {.is_polled = true, .is_listed = true}, {})
    ->Name("null_block/batch")
    ->Apply(at_depths);
BENCHMARK_CAPTURE(null_block, timer, {}, {.completion = 2, .completion_nsec = 0})
    ->Name("null_block/timer")
    ->Arg(1)
    ->Arg(32);

}  // namespace
}  // namespace bench
