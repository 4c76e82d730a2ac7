// SPDX-License-Identifier: BSL-1.0
//
// Benchmarks that need to know how many threads were asked for (--threads=N) register themselves
// when main has read that.

#ifndef BLKOWN_BENCH_REGISTRY_HPP
#define BLKOWN_BENCH_REGISTRY_HPP

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

/// 1, 2, 4, ... and the number asked for, on threads that run at the same time: what counts is the
/// time on the wall.
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
