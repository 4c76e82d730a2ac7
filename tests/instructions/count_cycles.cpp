// SPDX-License-Identifier: BSL-1.0
//
// I/Os through the core's cycles, to be counted by callgrind: one dump for each row, whose trigger
// is "NAME IOS". check.py runs the program and divides.

#include <valgrind/callgrind.h>

#include <baselines/bare.hpp>
#include <baselines/kernel_scheme.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cycles.hpp>
#include <string>
#include <support/io.hpp>

namespace {

/// One loop for all I/Os of a row, as in the benchmark.
template <class Q, class Io>
[[gnu::noinline]] void run(Q& queue, std::uint64_t first, std::uint64_t behind, Io io) {
  for (std::uint64_t number = first; number != behind; ++number) io(queue, number);
}

/// Counts a row. The I/Os before let the stash of tags fill.
template <class Q, class Io>
[[gnu::noinline]] void count(const char* name, Io io) {
  constexpr std::uint64_t first_ios = 64;
  constexpr std::uint64_t counted_ios = 4096;
  Q queue;
  run(queue, 0, first_ios, io);
  CALLGRIND_ZERO_STATS;
  run(queue, first_ios, first_ios + counted_ios, io);
  const std::string trigger = std::string{name} + ' ' + std::to_string(counted_ios);
  CALLGRIND_DUMP_STATS_AT(trigger.c_str());
  if (queue.sum() == bench::sum_below(first_ios + counted_ios)) return;
  std::fprintf(stderr, "count_cycles: %s: the sums differ\n", name);
  std::exit(1);
}

template <class Q>
void count_simple_and_seed(const std::string& who) {
  count<Q>(("simple/" + who).c_str(),
           [](Q& queue, std::uint64_t number)
               __attribute__((always_inline)) { bench::simple_io(queue, number); });
  count<Q>(("seed/" + who).c_str(),
           [](Q& queue, std::uint64_t number)
               __attribute__((always_inline)) { bench::seed_io(queue, number); });
}
template <class Q>
void count_all(const std::string& who) {
  count_simple_and_seed<Q>(who);
  count<Q>(("pinned/" + who).c_str(),
           [](Q& queue, std::uint64_t number)
               __attribute__((always_inline)) { bench::pinned_io(queue, number); });
}

}  // namespace

int main() {
  count_all<bench::Queue>("library");
  count_all<bench::HandWrittenQueue<bench::Bare>>("bare");
  count_simple_and_seed<bench::HandWrittenQueue<bench::KernelScheme>>("kernel_scheme");
}
