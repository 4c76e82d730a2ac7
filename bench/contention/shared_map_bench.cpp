// SPDX-License-Identifier: BSL-1.0
//
// The most usual alternative: each I/O is a std::shared_ptr in an unordered_map under a mutex, one
// map for the device. Each thread has its own I/Os. Compare with distinct/library.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <support/io.hpp>
#include <support/pinned_thread.hpp>
#include <support/registry.hpp>
#include <unordered_map>
#include <utility>

namespace bench {
namespace {

class SharedMap {
 public:
  [[nodiscard]] std::uint64_t submit(std::uint64_t number) {
    auto request = std::make_shared<Command>(number);
    const std::lock_guard lock{mutex_};
    const std::uint64_t id = next_id_++;
    in_flight_.emplace(id, std::move(request));
    return id;
  }
  [[nodiscard]] std::shared_ptr<Command> complete(std::uint64_t id) {
    const std::lock_guard lock{mutex_};
    const auto found = in_flight_.find(id);
    if (found == in_flight_.end()) return nullptr;
    auto request = std::move(found->second);
    in_flight_.erase(found);
    return request;
  }

 private:
  std::mutex mutex_;
  std::unordered_map<std::uint64_t, std::shared_ptr<Command>> in_flight_;
  std::uint64_t next_id_ = 0;
};

void shared_map(benchmark::State& state) {
  static SharedMap map;
  const PinnedThread pinned{state.thread_index()};
  std::uint64_t number = 0;
  std::uint64_t sum = 0;
  for (auto _ : state) {
    const std::uint64_t id = map.submit(number++);
    const auto request = map.complete(through_device(id));
    must(request != nullptr);
    sum += request->number;
  }
  state.SetItemsProcessed(state.iterations());
  if (sum != sum_below(number)) state.SkipWithError("the sums differ");
}

const Registration registration{[](int max_threads) {
  on_threads(benchmark::RegisterBenchmark("distinct/mutex_map_shared_ptr", &shared_map),
             max_threads);
}};

}  // namespace
}  // namespace bench
