// SPDX-License-Identifier: BSL-1.0
//
// The simple I/O with common alternatives to the library: a request is sent to a device under an
// id, is found by this id, and ends. Each alternative is written in its usual form. README.md lists
// the errors against which an alternative does not protect. Compare with simple/library, which is
// in the same program. The most usual alternative, a map under a mutex, is in
// contention/shared_map_bench.cpp.

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <support/io.hpp>
#include <utility>
#include <vector>

#if __has_include(<boost/smart_ptr/intrusive_ptr.hpp>)
#include <boost/smart_ptr/intrusive_ptr.hpp>
#define BENCH_HAS_INTRUSIVE_PTR
#endif

namespace bench {
namespace {

/// Free slot numbers, last in, first out.
class FreeSlots {
 public:
  FreeSlots() {
    for (std::uint32_t slot = depth; slot-- != 0;) free_.push_back(slot);
  }
  [[nodiscard]] std::uint32_t take() {
    must(!free_.empty());
    const std::uint32_t slot = free_.back();
    free_.pop_back();
    return slot;
  }
  void give(std::uint32_t slot) { free_.push_back(slot); }

 private:
  std::vector<std::uint32_t> free_;
};

// --- boost::intrusive_ptr in an array ---

#ifdef BENCH_HAS_INTRUSIVE_PTR

struct alignas(blkown::cache_line_bytes) CountedRequest {
  blkown::Atomic<std::uint32_t> references{0};
  std::uint32_t slot = 0;
  Command command;
  FreeSlots* free = nullptr;

  friend void intrusive_ptr_add_ref(CountedRequest* request) {
    request->references.fetch_add(1, std::memory_order_relaxed);
  }
  friend void intrusive_ptr_release(CountedRequest* request) {
    if (request->references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      request->free->give(request->slot);
    }
  }
};

void intrusive_array(benchmark::State& state) {
  using Pointer = boost::intrusive_ptr<CountedRequest>;
  FreeSlots free;
  const auto requests = std::make_unique<CountedRequest[]>(depth);
  for (std::uint32_t slot = 0; slot != depth; ++slot) {
    requests[slot].slot = slot;
    requests[slot].free = &free;
  }
  std::vector<Pointer> in_flight(depth);
  std::uint64_t number = 0;
  std::uint64_t sum = 0;
  for (auto _ : state) {
    Pointer submitted{&requests[free.take()]};
    submitted->command.number = number++;
    std::uint64_t id = submitted->slot;
    in_flight[id] = submitted;  // the driver keeps a reference while it issues
    submitted.reset();
    id = through_device(id);
    must(id < depth && in_flight[id] != nullptr);
    const Pointer completed = std::move(in_flight[id]);
    sum += completed->command.number;
  }
  if (sum != sum_below(number)) state.SkipWithError("the sums differ");
}
BENCHMARK(intrusive_array)->Name("simple/intrusive_ptr_array");

#endif

// --- std::unique_ptr in a slot array, one thread only ---

void unique_array(benchmark::State& state) {
  FreeSlots free;
  std::vector<std::unique_ptr<Command>> in_flight(depth);
  std::uint64_t number = 0;
  std::uint64_t sum = 0;
  for (auto _ : state) {
    auto submitted = std::make_unique<Command>(number++);
    std::uint64_t id = free.take();
    in_flight[id] = std::move(submitted);
    id = through_device(id);
    must(id < depth && in_flight[id] != nullptr);
    const auto completed = std::move(in_flight[id]);
    free.give(static_cast<std::uint32_t>(id));
    sum += completed->number;
  }
  if (sum != sum_below(number)) state.SkipWithError("the sums differ");
}
BENCHMARK(unique_array)->Name("simple/unique_ptr_array");

}  // namespace
}  // namespace bench
