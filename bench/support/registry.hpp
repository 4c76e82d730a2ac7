// SPDX-License-Identifier: BSL-1.0
//
// A list of functions that register benchmarks after main has read --threads=N, for benchmarks that
// depend on the number of threads.

#ifndef BLKOWN_BENCH_SUPPORT_REGISTRY_HPP
#define BLKOWN_BENCH_SUPPORT_REGISTRY_HPP

#include <benchmark/benchmark.h>

#include <vector>

namespace bench {

using Register = void (*)(int max_threads);

/// One static object per file of benchmarks.
class Registration {
 public:
  explicit Registration(Register function) { all().push_back(function); }

  [[nodiscard]] static std::vector<Register>& all() {
    static std::vector<Register> functions;
    return functions;
  }
};

/// Runs the benchmark on 1, 2, 4, ... and `max_threads` threads at the same time, and measures
/// wall-clock time.
inline void on_threads(benchmark::internal::Benchmark* benchmark, int max_threads,
                       int fewest_threads = 1) {
  for (int threads = 1; threads < max_threads; threads *= 2) {
    if (threads >= fewest_threads) benchmark->Threads(threads);
  }
  if (max_threads >= fewest_threads) benchmark->Threads(max_threads);
  benchmark->UseRealTime();
}

}  // namespace bench

#endif
