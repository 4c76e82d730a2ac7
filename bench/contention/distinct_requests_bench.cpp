// SPDX-License-Identifier: BSL-1.0
//
// Requests that no two threads share: does the throughput grow with the threads? Each thread runs
// the simple I/O of cycles_bench.cpp on a queue of its own in one TagSet. Two benchmarks show the
// limits of the machine: threads that have nothing in common, and threads whose words share a cache
// line.

#include <benchmark/benchmark.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <support/io.hpp>
#include <support/pinned_thread.hpp>
#include <support/registry.hpp>
#include <utility>
#include <vector>

namespace bench {
namespace {

/// A TagSet with a queue, a stash and a sum for each thread.
class QueuePerThread {
 public:
  explicit QueuePerThread(std::uint32_t threads) : tags_{make_tags(*this, threads)} {
    for (blkown::QueueIndex queue; queue.value != threads; ++queue.value) {
      contexts_.push_back(std::make_unique<Context>(tags_.tag_cache(queue)));
    }
  }
  QueuePerThread(const QueuePerThread&) = delete;
  QueuePerThread& operator=(const QueuePerThread&) = delete;

  /// The sink of the TagSet.
  void operator()(EndedList<Request>&& list) {
    while (auto ended = list.pop_front()) {
      Context& context = *contexts_[ended->queue().value];
      context.sum += ended->data().number;
      std::move(*ended).release(context.stash);
    }
  }

  void run(blkown::QueueIndex queue, std::uint64_t number) {
    Owned<Request> owned = must(tags_.allocate(queue, contexts_[queue.value]->stash)).start();
    owned.data().number = number;
    std::uint64_t value = 0;
    std::move(owned).publish([&](Cookie cookie) { value = through_device(cookie.value); });
    must(tags_.claim(queue, value)).end_ok();
  }
  [[nodiscard]] std::uint64_t sum(blkown::QueueIndex queue) const {
    return contexts_[queue.value]->sum;
  }

 private:
  struct alignas(blkown::cache_line_bytes) Context {
    explicit Context(TagCache&& made) : stash{std::move(made)} {}
    TagCache stash;
    std::uint64_t sum = 0;
  };
  TagSet tags_;
  std::vector<std::unique_ptr<Context>> contexts_;  // the stashes are destroyed before the TagSet
};

void distinct_requests(benchmark::State& state) {
  static std::unique_ptr<QueuePerThread> queues;
  const PinnedThread pinned{state.thread_index()};
  const blkown::QueueIndex queue{static_cast<std::uint32_t>(state.thread_index())};
  if (queue.value == 0) {
    queues = std::make_unique<QueuePerThread>(static_cast<std::uint32_t>(state.threads()));
  }
  const AtomicMeter meter;
  std::uint64_t number = 0;
  for (auto _ : state) queues->run(queue, number++);
  meter.report(state);
  state.SetItemsProcessed(state.iterations());
  if (queues->sum(queue) != sum_below(number)) state.SkipWithError("the sums differ");
}

/// Read-modify-writes on one word per thread, at a distance of `distance` words.
void own_words(benchmark::State& state, std::size_t distance) {
  static std::unique_ptr<std::atomic<std::uint64_t>[]> words;
  const PinnedThread pinned{state.thread_index()};
  if (state.thread_index() == 0) {
    const std::size_t count = (static_cast<std::size_t>(state.threads()) + 1) * distance;
    words = std::make_unique<std::atomic<std::uint64_t>[]>(count + 16);
  }
  const std::size_t mine = static_cast<std::size_t>(state.thread_index()) * distance;
  std::uint64_t done = 0;
  for (auto _ : state) {
    words[mine].fetch_add(1, std::memory_order_relaxed);
    ++done;
  }
  if (words[mine].load(std::memory_order_relaxed) != done) state.SkipWithError("a count is lost");
  state.SetItemsProcessed(state.iterations());
}
void own_lines(benchmark::State& state) { own_words(state, 16); }
void shared_line(benchmark::State& state) { own_words(state, 1); }

const Registration registration{[](int max_threads) {
  on_threads(benchmark::RegisterBenchmark("distinct/library", &distinct_requests), max_threads);
  on_threads(benchmark::RegisterBenchmark("distinct/words_on_own_lines", &own_lines), max_threads);
  on_threads(benchmark::RegisterBenchmark("distinct/words_on_a_shared_line", &shared_line),
             max_threads);
}};

}  // namespace
}  // namespace bench
