// SPDX-License-Identifier: BSL-1.0
//
// Every completion is delivered to every thread: all claim, one wins. The first thread publishes a
// window of I/Os. All threads claim each of them in the same order, and so at the same time, and
// end the I/Os that they have won. An iteration is one window. Each I/O must be won once.

#include <benchmark/benchmark.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <support/io.hpp>
#include <support/pinned_thread.hpp>
#include <support/registry.hpp>
#include <thread>
#include <utility>

namespace bench {
namespace {

/// A barrier that spins: the threads must leave it within nanoseconds of each other.
class SpinBarrier {
 public:
  explicit SpinBarrier(int threads) : threads_{threads} {}
  void wait() {
    const std::uint64_t round = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; round_.load(std::memory_order_acquire) == round; ++spins) {
      if (spins > 10'000) std::this_thread::yield();  // more threads than processors
    }
  }

 private:
  int threads_;
  alignas(blkown::cache_line_bytes) std::atomic<int> arrived_{0};
  alignas(blkown::cache_line_bytes) std::atomic<std::uint64_t> round_{0};
};

struct Race {
  static constexpr std::uint32_t window = depth;

  explicit Race(int threads) : barrier{threads} {}

  void publish_all() {
    for (std::uint32_t tag = 0; tag != window; ++tag) {
      must(tags.allocate_tag(blkown::QueueIndex{0}, Tag{tag})).start().publish([&](Cookie cookie) {
        values[tag] = cookie.value;
      });
    }
  }
  /// Returns the number of I/Os that the calling thread wins.
  [[nodiscard]] std::uint64_t claim_all() {
    std::uint64_t won = 0;
    for (const std::uint64_t value : values) {
      if (auto claim = tags.claim(blkown::QueueIndex{0}, value)) {
        std::move(*claim).end_ok();
        ++won;
      }
    }
    return won;
  }

  TagSet tags = make_freeing_tags();
  std::array<std::uint64_t, window> values{};
  SpinBarrier barrier;
  std::atomic<std::uint64_t> wins{0};
};

void claim_race(benchmark::State& state) {
  static std::unique_ptr<Race> race;
  const PinnedThread pinned{state.thread_index()};
  const bool first = state.thread_index() == 0;
  if (first) race = std::make_unique<Race>(state.threads());
  const AtomicMeter meter;
  std::uint64_t won = 0;
  for (auto _ : state) {
    if (first) race->publish_all();
    race->barrier.wait();
    won += race->claim_all();
    race->barrier.wait();
  }
  meter.report(state, Race::window);
  race->wins.fetch_add(won, std::memory_order_relaxed);
  race->barrier.wait();
  const auto ios = static_cast<std::uint64_t>(state.iterations()) * Race::window;
  if (race->wins.load(std::memory_order_relaxed) != ios) {
    state.SkipWithError("an I/O was not won exactly once");
  }
  if (first) {
    state.SetItemsProcessed(static_cast<std::int64_t>(ios));
    state.counters["won_by_first_thread"] = static_cast<double>(won) / static_cast<double>(ios);
  }
}

const Registration registration{[](int max_threads) {
  on_threads(benchmark::RegisterBenchmark("race/claim", &claim_race), max_threads);
}};

}  // namespace
}  // namespace bench
