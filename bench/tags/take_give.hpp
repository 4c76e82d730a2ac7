// SPDX-License-Identifier: BSL-1.0
//
// Takes a free tag and gives it back: the loop that measures every pool of free tags, on one thread
// and on all threads with the same pool. A pool is created for a number of threads and has the
// members `take(thread)` and `give(thread, tag)`.

#ifndef BLKOWN_BENCH_TAGS_TAKE_GIVE_HPP
#define BLKOWN_BENCH_TAGS_TAKE_GIVE_HPP

#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>
#include <support/io.hpp>
#include <support/pinned_thread.hpp>
#include <support/registry.hpp>

namespace bench {

inline constexpr std::uint32_t pool_tags = 1024;
inline constexpr std::uint32_t pool_cache_tags = 32;

/// Ends the program if the pool returns a value that is no tag.
template <class Pool>
void take_give(benchmark::State& state) {
  static std::unique_ptr<Pool> pool;
  const PinnedThread pinned{state.thread_index()};
  if (state.thread_index() == 0) pool = std::make_unique<Pool>(state.threads());
  const AtomicMeter meter;
  for (auto _ : state) {
    const std::uint32_t tag = pool->take(state.thread_index());
    must(through_device(tag) < pool_tags);
    pool->give(state.thread_index(), tag);
  }
  meter.report(state);
  if (state.thread_index() == 0) pool.reset();
}

template <class Pool>
void register_pool(const char* name, int max_threads) {
  on_threads(benchmark::RegisterBenchmark(name, &take_give<Pool>), max_threads);
}

}  // namespace bench

#endif
