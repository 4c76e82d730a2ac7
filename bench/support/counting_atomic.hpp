// SPDX-License-Identifier: BSL-1.0
//
// Counts read-modify-writes and failed compare-exchanges. With BLKOWN_BENCH_COUNT the core and the
// baselines use an atomic that counts. Programs with this macro count, the others measure time. The
// benchmarks are the same.

#ifndef BLKOWN_BENCH_SUPPORT_COUNTING_ATOMIC_HPP
#define BLKOWN_BENCH_SUPPORT_COUNTING_ATOMIC_HPP

#include <benchmark/benchmark.h>

#include <atomic>
#include <cstdint>

namespace bench {

#ifdef BLKOWN_BENCH_COUNT

/// The operations of the calling thread since it began.
struct AtomicCounts {
  std::uint64_t rmws = 0;     ///< Failed compare-exchanges included.
  std::uint64_t retries = 0;  ///< Compare-exchanges that failed.
};
inline thread_local AtomicCounts atomic_counts;

/// The part of std::atomic that the core and the baselines use.
template <class T>
class CountingAtomic {
 public:
  static constexpr bool is_always_lock_free = std::atomic<T>::is_always_lock_free;

  CountingAtomic() = default;
  constexpr CountingAtomic(T value) noexcept : value_{value} {}
  CountingAtomic(const CountingAtomic&) = delete;
  CountingAtomic& operator=(const CountingAtomic&) = delete;

  [[nodiscard]] T load(std::memory_order order) const noexcept { return value_.load(order); }
  void store(T value, std::memory_order order) noexcept { value_.store(value, order); }

  T fetch_add(T operand, std::memory_order order) noexcept {
    ++atomic_counts.rmws;
    return value_.fetch_add(operand, order);
  }
  T fetch_sub(T operand, std::memory_order order) noexcept {
    ++atomic_counts.rmws;
    return value_.fetch_sub(operand, order);
  }
  T fetch_or(T operand, std::memory_order order) noexcept {
    ++atomic_counts.rmws;
    return value_.fetch_or(operand, order);
  }
  T fetch_and(T operand, std::memory_order order) noexcept {
    ++atomic_counts.rmws;
    return value_.fetch_and(operand, order);
  }
  [[nodiscard]] bool compare_exchange_weak(T& expected, T desired, std::memory_order success,
                                           std::memory_order failure) noexcept {
    return count(value_.compare_exchange_weak(expected, desired, success, failure));
  }
  [[nodiscard]] bool compare_exchange_strong(T& expected, T desired, std::memory_order success,
                                             std::memory_order failure) noexcept {
    return count(value_.compare_exchange_strong(expected, desired, success, failure));
  }

 private:
  static bool count(bool exchanged) noexcept {
    ++atomic_counts.rmws;
    if (!exchanged) ++atomic_counts.retries;
    return exchanged;
  }

  std::atomic<T> value_;
};

#endif

/// Reports the counts of one thread per iteration beside the time of the benchmark, if they are
/// counted. Created before the loop, reported after it.
class AtomicMeter {
 public:
#ifdef BLKOWN_BENCH_COUNT
  void report(benchmark::State& state, double operations_per_iteration = 1) const {
    const double operations = static_cast<double>(state.iterations()) * operations_per_iteration;
    const auto rate = [&](std::uint64_t now, std::uint64_t then) {
      return benchmark::Counter(static_cast<double>(now - then) / operations,
                                benchmark::Counter::kAvgThreads);
    };
    state.counters["rmws"] = rate(atomic_counts.rmws, before_.rmws);
    state.counters["retries"] = rate(atomic_counts.retries, before_.retries);
  }

 private:
  AtomicCounts before_ = atomic_counts;
#else
  void report(benchmark::State&, double = 1) const {}
#endif
};

}  // namespace bench

#ifdef BLKOWN_BENCH_COUNT
#define BLKOWN_ATOMIC bench::CountingAtomic
#define BLKOWN_ATOMIC_NAME counting
#endif

#endif
