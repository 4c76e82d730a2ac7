// SPDX-License-Identifier: BSL-1.0
//
// All threads on one request: the cost of a reference when every thread takes one at the same time,
// and the effect that two operations that exclude each other have on one another.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <support/io.hpp>
#include <support/pinned_thread.hpp>
#include <support/registry.hpp>
#include <utility>

namespace bench {
namespace {

/// One request of one TagSet. The first thread sets it up before the loop and ends it afterwards.
/// The threads of Google Benchmark wait for each other at both ends.
struct Hot {
  TagSet tags = make_freeing_tags();
  std::optional<ARef<Request>> shared;
  std::uint64_t value = 0;
};
std::unique_ptr<Hot> hot;

[[nodiscard]] Owned<Request> start() {
  return must(hot->tags.allocate_tag(blkown::QueueIndex{0}, Tag{0})).start();
}

// --- clone and drop: the library beside the two instructions ---

/// The threads reach the state that the first one has set up in the first iteration, not before. A
/// handle of their own, for so many iterations, stays in a register, as the address by hand does.
constexpr benchmark::IterationCount iterations_at_once = 1024;

void clone_drop(benchmark::State& state) {
  const PinnedThread pinned{state.thread_index()};
  if (state.thread_index() == 0) {
    hot = std::make_unique<Hot>();
    hot->shared.emplace(start().into_shared());
  }
  const AtomicMeter meter;
  while (state.KeepRunningBatch(iterations_at_once)) {
    const ARef<Request> mine{*hot->shared};
    for (benchmark::IterationCount i = 0; i != iterations_at_once; ++i) {
      const ARef<Request> clone{mine};
    }
  }
  meter.report(state);
  if (state.thread_index() == 0) {
    // Succeeds only if the count is back at its first value.
    must(Owned<Request>::try_from_shared(*std::exchange(hot->shared, std::nullopt))).end_ok();
    hot.reset();
  }
}

/// Two additions whose results are looked at, as a check would.
void add_sub(benchmark::State& state) {
  alignas(blkown::cache_line_bytes) static blkown::Atomic<blkown::Word> word{2};
  const PinnedThread pinned{state.thread_index()};
  const AtomicMeter meter;
  while (state.KeepRunningBatch(iterations_at_once)) {
    for (benchmark::IterationCount i = 0; i != iterations_at_once; ++i) {
      const auto looked_at = [](blkown::Word seen) { asm volatile("" : : "r"(seen)); };
      looked_at(word.fetch_add(1, std::memory_order_relaxed));
      looked_at(word.fetch_sub(1, std::memory_order_release));
    }
  }
  meter.report(state);
  if (state.thread_index() == 0 && word.load(std::memory_order_relaxed) != 2) {
    state.SkipWithError("a count is lost");
  }
}

// --- lookup and drop ---

void lookup_drop(benchmark::State& state) {
  const PinnedThread pinned{state.thread_index()};
  if (state.thread_index() == 0) {
    hot = std::make_unique<Hot>();
    start().publish([](Cookie cookie) { hot->value = cookie.value; });
  }
  const AtomicMeter meter;
  for (auto _ : state) {
    ARef<Request> pin = must(hot->tags.tag_to_rq(blkown::QueueIndex{0}, hot->value));
    benchmark::DoNotOptimize(pin);
  }
  meter.report(state);
  if (state.thread_index() == 0) {
    must(hot->tags.tag_to_owned(blkown::QueueIndex{0}, hot->value)).end_ok();
    hot.reset();
  }
}

// --- one thread takes the request for itself repeatedly, the others look it up ---

/// The first thread: shares and takes back, which fails while a lookup's reference exists.
void take_back_again_and_again(benchmark::State& state) {
  Owned<Request> owned = start();
  std::uint64_t refused = 0;
  for (auto _ : state) {
    ARef<Request> reference = std::move(owned).into_shared();
    while (true) {
      auto taken = Owned<Request>::try_from_shared(std::move(reference));
      if (taken.has_value()) {
        owned = *std::move(taken);
        break;
      }
      ++refused;
      reference = std::move(taken).error();
    }
  }
  std::move(owned).end_ok();
  state.counters["refused_takes"] =
      static_cast<double>(refused) / static_cast<double>(state.iterations());
}

void try_from_shared_against_lookup(benchmark::State& state) {
  const PinnedThread pinned{state.thread_index()};
  if (state.thread_index() == 0) {
    hot = std::make_unique<Hot>();
    const AtomicMeter meter;
    take_back_again_and_again(state);
    meter.report(state);
    hot.reset();
    return;
  }
  const AtomicMeter meter;
  std::uint64_t found = 0;
  for (auto _ : state) {
    const auto pin = hot->tags.tag_to_rq_any_generation(blkown::QueueIndex{0}, Tag{0});
    if (pin.has_value()) ++found;
  }
  meter.report(state);
  state.counters["found"] = benchmark::Counter(
      static_cast<double>(found) / static_cast<double>(state.iterations()) / (state.threads() - 1));
}

const Registration registration{[](int max_threads) {
  on_threads(benchmark::RegisterBenchmark("hot/clone_drop", &clone_drop), max_threads);
  on_threads(benchmark::RegisterBenchmark("hot/add_sub", &add_sub), max_threads);
  on_threads(benchmark::RegisterBenchmark("hot/lookup_drop", &lookup_drop), max_threads);
  on_threads(benchmark::RegisterBenchmark("hot/try_from_shared_against_lookup",
                                          &try_from_shared_against_lookup),
             max_threads, 2);
}};

}  // namespace
}  // namespace bench
