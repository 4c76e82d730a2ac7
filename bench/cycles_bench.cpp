// SPDX-License-Identifier: BSL-1.0
//
// The cost of a whole I/O on one thread with warm lines, in three cycles:
//
//   simple   allocate, start, publish, claim, end
//   seed     the kernel's six steps: Owned; shared; a second reference for the mapping, and the
//            driver's dropped; looked up by the completion; the mapping's dropped; Owned again, end
//   pinned   the same I/O with a Claim: pinned for the mapping, published, claimed, unpinned, ended
//
// Each cycle runs through the library, by hand with the fewest read-modify-writes (bare), and in
// the kernel's scheme. That scheme has no Claim, so its pinned I/O takes the steps of seed. simple
// and seed also run with three atomics in place of one word.
//
// Each I/O carries a number from the submitter to the sink. If the sum of the numbers is wrong,
// because an I/O was lost, repeated or optimised away, the benchmark reports an error.

#include <benchmark/benchmark.h>

#include <baselines/bare.hpp>
#include <baselines/kernel_scheme.hpp>
#include <baselines/three_fields.hpp>
#include <cstdint>
#include <cycles.hpp>
#include <support/io.hpp>

namespace bench {
namespace {

/// Runs `io(queue, number)` for each iteration, then checks the sum of the sink.
template <class Q, class Io>
void run_cycle(benchmark::State& state, Io io) {
  Q queue;
  const AtomicMeter meter;
  std::uint64_t number = 0;
  for (auto _ : state) io(queue, number++);
  meter.report(state);
  if (queue.sum() != sum_below(number)) state.SkipWithError("the sums differ");
}

template <class Q>
void simple(benchmark::State& state) {
  run_cycle<Q>(state, [](Q& queue, std::uint64_t number) { simple_io(queue, number); });
}
BENCHMARK(simple<Queue>)->Name("simple/library");
BENCHMARK(simple<HandWrittenQueue<Bare>>)->Name("simple/bare");
BENCHMARK(simple<HandWrittenQueue<KernelScheme>>)->Name("simple/kernel_scheme");
BENCHMARK(simple<HandWrittenQueue<ThreeFields<0>>>)->Name("simple/three_fields_idle_0");
BENCHMARK(simple<HandWrittenQueue<ThreeFields<1>>>)->Name("simple/three_fields_idle_1");

template <class Q>
void seed(benchmark::State& state) {
  run_cycle<Q>(state, [](Q& queue, std::uint64_t number) { seed_io(queue, number); });
}
BENCHMARK(seed<Queue>)->Name("seed/library");
BENCHMARK(seed<HandWrittenQueue<Bare>>)->Name("seed/bare");
BENCHMARK(seed<HandWrittenQueue<KernelScheme>>)->Name("seed/kernel_scheme");
BENCHMARK(seed<HandWrittenQueue<ThreeFields<0>>>)->Name("seed/three_fields_idle_0");
BENCHMARK(seed<HandWrittenQueue<ThreeFields<1>>>)->Name("seed/three_fields_idle_1");

template <class Q>
void pinned(benchmark::State& state) {
  run_cycle<Q>(state, [](Q& queue, std::uint64_t number) { pinned_io(queue, number); });
}
BENCHMARK(pinned<Queue>)->Name("pinned/library");
BENCHMARK(pinned<HandWrittenQueue<Bare>>)->Name("pinned/bare");
// The kernel's scheme has no Claim: an I/O with a mapping takes the six steps.
BENCHMARK(seed<HandWrittenQueue<KernelScheme>>)->Name("pinned/kernel_scheme");

}  // namespace
}  // namespace bench
