// SPDX-License-Identifier: BSL-1.0
//
// Completions in batches: 65,536 requests in flight in 64 queues, which complete in random order in
// batches of 32, each of one queue. No request is in the processor's caches: before each pass their
// lines are flushed, because processors differ in how many of them a cache holds.
//
//   claim        one lookup after the other
//   claim_each   a batch in one call
//   bare         decodes the value, compares the word and exchanges it, by hand
//   prefetched   the same, with the words of the batch's next values prefetched
//
// Each completion claims the request, adds up its number and gives the request back to the device.
// The four ways take turns (support/turns.hpp). A sum that is wrong is an error.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <support/io.hpp>
#include <support/turns.hpp>
#include <utility>
#include <vector>

namespace bench {
namespace {

constexpr std::uint32_t queue_count = 64;
constexpr std::uint32_t queue_depth = 1024;
constexpr std::uint32_t batch_size = 32;
constexpr std::uint32_t request_count = queue_count * queue_depth;

/// The data of a request, as large as that of a driver with a list of segments.
struct Large {
  std::uint64_t number = 0;
  std::array<std::uint64_t, 23> rest{};
};
using LargeRequest = blkown::Request<Large>;
using LargeTags = blkown::TagSet<LargeRequest>;

using Match = blkown::detail::GenerationMatch<blkown::Word>;
using Value = blkown::detail::RefValue<blkown::Word>;

/// A batch of completions of one queue.
struct Batch {
  std::uint32_t queue = 0;
  std::array<std::uint64_t, batch_size> values{};
};

/// The requests by hand: the library's word, and no check beyond the lookup's own.
class BareRequests {
 public:
  struct alignas(blkown::cache_line_bytes) Slot {
    blkown::Atomic<blkown::Word> word{0};
    std::uint64_t number = 0;
    std::array<std::byte, sizeof(LargeRequest) - sizeof(blkown::Word) - 8> rest{};
  };
  static_assert(sizeof(Slot) == sizeof(LargeRequest));

  [[nodiscard]] Slot& at(std::uint32_t queue, std::uint64_t tag) {
    return slots_[std::size_t{queue} * queue_depth + tag];
  }

  void prefetch(std::uint32_t queue, std::uint64_t value) {
    const std::uint64_t tag = codec_.tag(value);
    if (tag < queue_depth) __builtin_prefetch(&at(queue, tag).word, 1);
  }

  [[nodiscard]] std::uint64_t complete(std::uint32_t queue, std::uint64_t value) {
    const std::uint64_t tag = codec_.tag(value);
    const Match match = codec_.match(codec_.generation(value));
    must(codec_.queue(value, QueueIndex{queue}) == queue && tag < queue_depth &&
         !codec_.has_stray_bits(value));
    Slot& slot = at(queue, tag);
    const Value seen{slot.word.load(std::memory_order_relaxed)};
    blkown::Word bits = seen.bits;
    must(match.accepts(seen) && seen.state() == 1 &&
         slot.word.compare_exchange_strong(bits, seen.with_state(Value::owned_flag).bits,
                                           std::memory_order_acquire, std::memory_order_relaxed));
    const std::uint64_t number = slot.number;
    slot.word.store(seen.bits, std::memory_order_release);
    return number;
  }

 private:
  blkown::detail::CookieCodec codec_{blkown::CookieLayout::io_uring()};
  std::unique_ptr<Slot[]> slots_{std::make_unique<Slot[]>(request_count)};
};

/// Takes the line out of the processor's caches, where a program may do so.
void flush(const void* at) {
#if defined(__x86_64__)
  __builtin_ia32_clflush(at);
#elif defined(__aarch64__)
  asm volatile("dc civac, %0" : : "r"(at) : "memory");
#else
  static_cast<void>(at);
#endif
}

/// All requests in flight, in the library's TagSet and by hand, and their completions.
class Cold {
 public:
  Cold() {
    for (QueueIndex queue; queue.value != queue_count; ++queue.value) {
      for (Tag tag; tag.value != queue_depth; ++tag.value) publish(queue, tag);
    }
    shuffle();
  }
  ~Cold() {
    for (const Batch& batch : batches_) {
      for (const std::uint64_t value : batch.values) {
        must(tags_.claim(QueueIndex{batch.queue}, value)).end_ok();
      }
    }
  }
  Cold(const Cold&) = delete;
  Cold& operator=(const Cold&) = delete;

  void flush_all() {
    for (QueueIndex queue; queue.value != queue_count; ++queue.value) {
      for (Tag tag; tag.value != queue_depth; ++tag.value) {
        flush(&tags_.header(queue, tag));
        flush(&bare_.at(queue.value, tag.value));
      }
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }

  [[gnu::noinline]] std::uint64_t claim() {
    std::uint64_t sum = 0;
    for (const Batch& batch : batches_) {
      for (const std::uint64_t value : batch.values) {
        auto claim = must(tags_.claim(QueueIndex{batch.queue}, value));
        sum += claim.data().number;
        std::move(claim).release();
      }
    }
    return sum;
  }
  [[gnu::noinline]] std::uint64_t claim_each() {
    std::uint64_t sum = 0;
    for (const Batch& batch : batches_) {
      tags_.claim_each(QueueIndex{batch.queue}, batch.values, [&](std::size_t, auto found) {
        auto claim = must(std::move(found));
        sum += claim.data().number;
        std::move(claim).release();
      });
    }
    return sum;
  }
  [[gnu::noinline]] std::uint64_t bare() {
    std::uint64_t sum = 0;
    for (const Batch& batch : batches_) {
      for (const std::uint64_t value : batch.values) sum += bare_.complete(batch.queue, value);
    }
    return sum;
  }
  [[gnu::noinline]] std::uint64_t prefetched() {
    constexpr std::uint32_t distance = 16;
    std::uint64_t sum = 0;
    for (const Batch& batch : batches_) {
      for (std::uint32_t i = 1; i != distance; ++i) bare_.prefetch(batch.queue, batch.values[i]);
      for (std::uint32_t i = 0; i != batch_size; ++i) {
        if (i + distance < batch_size) bare_.prefetch(batch.queue, batch.values[i + distance]);
        sum += bare_.complete(batch.queue, batch.values[i]);
      }
    }
    return sum;
  }

 private:
  void publish(QueueIndex queue, Tag tag) {
    auto owned = must(tags_.allocate_tag(queue, tag)).start();
    owned.data().number = number_;
    BareRequests::Slot& slot = bare_.at(queue.value, tag.value);
    slot.number = number_++;
    std::move(owned).publish([&](const Cookie& cookie) {
      values_.push_back(cookie.value);
      slot.word.store(Value::idle_at(cookie.generation).with_state(1).bits,
                      std::memory_order_relaxed);
    });
  }

  /// Cuts each queue's values, in random order, into batches, and shuffles the batches.
  void shuffle() {
    std::mt19937_64 random{19};
    for (std::uint32_t queue = 0; queue != queue_count; ++queue) {
      const auto first = values_.begin() + std::ptrdiff_t{queue} * queue_depth;
      std::shuffle(first, first + queue_depth, random);
      for (std::uint32_t i = 0; i != queue_depth; i += batch_size) {
        Batch& batch = batches_.emplace_back(Batch{.queue = queue, .values = {}});
        std::copy_n(first + i, batch_size, batch.values.begin());
      }
    }
    std::shuffle(batches_.begin(), batches_.end(), random);
  }

  LargeTags tags_ = must(LargeTags::create({.queue_count = queue_count,
                                            .depth = queue_depth,
                                            .layout = blkown::CookieLayout::io_uring()},
                                           blkown::EndSink<LargeRequest>::freeing()));
  BareRequests bare_;
  std::vector<std::uint64_t> values_;
  std::vector<Batch> batches_;
  std::uint64_t number_ = 0;
};

void cold(benchmark::State& state) {
  struct Way {
    const char* name;
    std::uint64_t (Cold::*pass)();
  };
  enum : std::size_t { claim, claim_each, bare, prefetched };
  constexpr std::array<Way, 4> ways{
      Way{"claim_ns", &Cold::claim}, Way{"claim_each_ns", &Cold::claim_each},
      Way{"bare_ns", &Cold::bare}, Way{"prefetched_ns", &Cold::prefetched}};
  Cold requests;
  Turns<ways.size()> turns;
  bool is_right = true;
  for (auto _ : state) {
    for (std::size_t way = 0; way != ways.size(); ++way) {
      requests.flush_all();
      turns.take(way, request_count, [&] {
        is_right = (requests.*ways[way].pass)() == sum_below(request_count) && is_right;
      });
    }
  }
  if (!is_right) state.SkipWithError("the sums differ");
  for (std::size_t way = 0; way != ways.size(); ++way) {
    state.counters[ways[way].name] = turns.median_ns(way);
  }
  state.counters["gain"] = (turns.median_ns(claim) - turns.median_ns(claim_each)) /
                           (turns.median_ns(bare) - turns.median_ns(prefetched));
}
BENCHMARK(cold)->Name("batch/cold")->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace bench
