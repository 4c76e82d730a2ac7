// SPDX-License-Identifier: BSL-1.0
//
// All threads allocate tags of one queue directly from the bitmap (a TagCache of capacity 0 is a
// context's place in it). The tags are nearly all free, nearly all taken, or fewer than the
// threads, so that some threads always wait. The destruction of the TagSet checks that every tag
// was given back.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <support/io.hpp>
#include <support/pinned_thread.hpp>
#include <support/registry.hpp>
#include <thread>
#include <utility>
#include <vector>

namespace bench {
namespace {

constexpr std::uint32_t tag_count = 1024;

/// A TagSet of which all tags but `left_free` are held, and the place of each thread in its bitmap.
class Pool {
 public:
  Pool(std::uint32_t threads, std::uint32_t left_free) {
    // The free tags are spread over all words.
    const std::uint32_t every = tag_count / left_free;
    for (std::uint32_t tag = 0; tag != tag_count; ++tag) {
      if (tag % every != 0 || tag / every >= left_free) {
        held_.push_back(must(tags_.allocate_tag(blkown::QueueIndex{0}, Tag{tag})));
      }
    }
    for (std::uint32_t thread = 0; thread != threads; ++thread) {
      places_.push_back(std::make_unique<Place>(tags_.tag_cache(blkown::QueueIndex{0}, 0)));
    }
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() {
    for (Idle<Request>& idle : held_) std::move(idle).fail(blkown::Status::ok);
  }

  /// Allocates a tag and waits for one as a context without a tag does. Counts the waits.
  [[nodiscard]] Idle<Request> allocate(std::size_t thread, std::uint64_t& waits) {
    TagCache& place = places_[thread]->cache;
    if (auto idle = tags_.allocate(blkown::QueueIndex{0}, place)) return *std::move(idle);
    ++waits;
    const auto waiting = tags_.announce_demand(blkown::QueueIndex{0});
    while (true) {
      if (auto idle = tags_.allocate(blkown::QueueIndex{0}, place)) return *std::move(idle);
      std::this_thread::yield();
    }
  }

 private:
  struct alignas(blkown::cache_line_bytes) Place {
    explicit Place(TagCache&& made) : cache{std::move(made)} {}
    TagCache cache;
  };
  TagSet tags_ = make_freeing_tags(1, tag_count);
  std::vector<Idle<Request>> held_;
  std::vector<std::unique_ptr<Place>> places_;
};

void allocate_and_free(benchmark::State& state, std::uint32_t left_free) {
  static std::unique_ptr<Pool> pool;
  const PinnedThread pinned{state.thread_index()};
  const auto thread = static_cast<std::size_t>(state.thread_index());
  if (thread == 0) {
    pool = std::make_unique<Pool>(static_cast<std::uint32_t>(state.threads()), left_free);
  }
  const AtomicMeter meter;
  std::uint64_t waits = 0;
  for (auto _ : state) {
    Idle<Request> idle = pool->allocate(thread, waits);
    benchmark::DoNotOptimize(idle);
    std::move(idle).fail(blkown::Status::ok);
  }
  meter.report(state);
  state.counters["waits"] =
      benchmark::Counter(static_cast<double>(waits) / static_cast<double>(state.iterations()),
                         benchmark::Counter::kAvgThreads);
  if (thread == 0) pool.reset();
}

void nearly_empty(benchmark::State& state) { allocate_and_free(state, tag_count); }
void nearly_full(benchmark::State& state) {
  allocate_and_free(state, 2 * static_cast<std::uint32_t>(state.threads()));
}
void exhausted(benchmark::State& state) {
  allocate_and_free(state, static_cast<std::uint32_t>(std::max(1, state.threads() - 1)));
}

const Registration registration{[](int max_threads) {
  on_threads(benchmark::RegisterBenchmark("bitmap/nearly_empty", &nearly_empty), max_threads);
  on_threads(benchmark::RegisterBenchmark("bitmap/nearly_full", &nearly_full), max_threads);
  on_threads(benchmark::RegisterBenchmark("bitmap/exhausted", &exhausted), max_threads, 2);
}};

}  // namespace
}  // namespace bench
