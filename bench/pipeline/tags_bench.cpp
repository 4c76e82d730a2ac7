// SPDX-License-Identifier: BSL-1.0
//
// Contexts that share one queue's tags: 64 bios in flight or waiting, with 64 tags and with 4. All
// contexts run on one thread, in turns.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <pipeline/shared_tags.hpp>

namespace bench {
namespace {

void shared_tags(benchmark::State& state, std::uint32_t tags) {
  SharedTags shared{static_cast<std::uint32_t>(state.range(0)), tags};
  const std::uint64_t first = shared.run(1);
  std::uint64_t ended = first;
  for (auto _ : state) ended = shared.run(ended + SharedTags::bio_count);
  state.SetItemsProcessed(static_cast<std::int64_t>(ended - first));
}

void with_contexts(benchmark::internal::Benchmark* benchmark) {
  for (const int contexts : {1, 2, 16}) benchmark->Arg(contexts);
}
BENCHMARK_CAPTURE(shared_tags, enough, SharedTags::bio_count)
    ->Name("pipeline/tags_enough")
    ->Apply(with_contexts);
BENCHMARK_CAPTURE(shared_tags, few, 4)->Name("pipeline/tags_short")->Apply(with_contexts);

}  // namespace
}  // namespace bench
