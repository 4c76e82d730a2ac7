// SPDX-License-Identifier: BSL-1.0
//
// What do contexts of one disk cost each other? N threads with a context and a queue each of one
// disk, beside N processes with a disk of their own, which share nothing but the machine, and one
// process alone. In each turn the three run for the same time, so that a disturbance of the machine
// affects the ratio of one turn only; bench/report.py prints the median and the spread of the
// turns. A second is one of the worker's processor time: a worker never waits for another.

#include <benchmark/benchmark.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <pipeline/bios.hpp>
#include <pipeline/drivers.hpp>
#include <support/pinned_thread.hpp>
#include <support/registry.hpp>
#include <support/turns.hpp>
#include <thread>
#include <vector>

namespace bench {
namespace {

constexpr std::uint32_t reads_in_flight = 32;  // on each queue
constexpr std::uint32_t queue_depth = 64;
constexpr std::uint32_t max_workers = 1024;
constexpr std::chrono::milliseconds run_time{200};

/// What the workers of a run share, threads or processes.
class Start {
 public:
  explicit Start(std::uint32_t workers) : workers_{workers} {}

  /// Returns when all workers are ready.
  void wait() {
    // Release and acquire are not needed: nothing is passed but the moment.
    ready_.fetch_add(1, std::memory_order_relaxed);
    while (ready_.load(std::memory_order_relaxed) != workers_) std::this_thread::yield();
  }

  std::array<double, max_workers> ios_per_second{};

  [[nodiscard]] double sum() const {
    double all = 0;
    for (const double one : ios_per_second) all += one;
    return all;
  }

 private:
  std::uint32_t workers_;
  std::atomic<std::uint32_t> ready_{0};
};

/// A disk with a context for each of its queues.
struct LinearDisk {
  explicit LinearDisk(std::uint32_t queues) : runtime{queues}, driver{queues} {
    auto made = mq::Disk<CompletesLater>::create({.capacity_sectors = EmptyReads::capacity_sectors,
                                                  .normal_queues = queues,
                                                  .depth = queue_depth},
                                                 driver, runtime);
    if (!made.has_value()) std::abort();
    disk = *std::move(made);
  }
  LinearDisk(const LinearDisk&) = delete;
  LinearDisk& operator=(const LinearDisk&) = delete;
  ~LinearDisk() { static_cast<void>(mq::remove(runtime, *disk)); }

  mq::LoopRuntime runtime;
  CompletesLater driver;
  std::unique_ptr<mq::Disk<CompletesLater>> disk;
};

/// Runs bios through one queue of the disk, on the processor with the worker's index, until the
/// time is over.
void work(LinearDisk& on, std::uint32_t queue, std::uint32_t worker, Start& start) {
  using Clock = std::chrono::steady_clock;
  const PinnedThread pinned{static_cast<int>(worker)};
  mq::Disk<CompletesLater>& disk = *on.disk;
  mq::Context& context = on.runtime.context(queue);
  auto& hw = disk.hw_queue(blkown::QueueIndex{queue});
  EmptyReads reads{reads_in_flight};
  const auto run_rounds = [&](std::uint32_t rounds) {
    for (std::uint32_t round = 0; round != rounds; ++round) {
      {
        const mq::Context::Scope here{context};
        for (auto& bio : reads.bios) disk.submit(context, *bio);
        on.driver.reap(hw);
      }
      context.run();
    }
  };
  constexpr std::uint32_t rounds_at_once = 256;  // between two looks at the clock
  run_rounds(rounds_at_once);
  start.wait();
  std::uint64_t rounds = 0;
  const double begin_ns = thread_ns();
  const Clock::time_point end = Clock::now() + run_time;
  while (Clock::now() < end) {
    run_rounds(rounds_at_once);
    rounds += rounds_at_once;
  }
  const double used_ns = thread_ns() - begin_ns;
  if (reads.ended() != (rounds + rounds_at_once) * reads_in_flight) std::abort();
  start.ios_per_second[worker] = static_cast<double>(rounds * reads_in_flight) * 1e9 / used_ns;
}

/// I/Os per second of `count` threads on one disk.
double run_threads(std::uint32_t count) {
  const auto start = std::make_unique<Start>(count);
  LinearDisk disk{count};
  std::vector<std::thread> threads;
  for (std::uint32_t i = 0; i != count; ++i) {
    threads.emplace_back([&, i] { work(disk, i, i, *start); });
  }
  for (std::thread& thread : threads) thread.join();
  return start->sum();
}

/// I/Os per second of `count` processes with a disk of their own. 0 if a process failed.
double run_processes(std::uint32_t count) {
  void* const memory =
      mmap(nullptr, sizeof(Start), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 0;
  auto* const start = new (memory) Start{count};
  std::vector<pid_t> children;
  for (std::uint32_t i = 0; i != count; ++i) {
    const pid_t child = fork();
    if (child < 0) std::abort();
    if (child == 0) {
      LinearDisk disk{1};
      work(disk, 0, i, *start);
      _exit(0);
    }
    children.push_back(child);
  }
  bool all_right = true;
  for (const pid_t child : children) {
    int status = 0;
    all_right = waitpid(child, &status, 0) == child && status == 0 && all_right;
  }
  const double sum = all_right ? start->sum() : 0;
  munmap(memory, sizeof(Start));
  return sum;
}

void linear(benchmark::State& state) {
  const auto count = static_cast<std::uint32_t>(state.range(0));
  double threads = 0;
  double processes = 0;
  double alone = 0;
  for (auto _ : state) {
    threads = run_threads(count);
    processes = run_processes(count);
    alone = run_processes(1);
  }
  if (processes == 0 || alone == 0) {
    state.SkipWithError("a process failed");
    return;
  }
  state.counters["threads_per_processes"] = threads / processes;
  state.counters["processes_per_alone"] = processes / (count * alone);
  state.counters["alone_ios_per_second"] = alone;
}

const Registration registration{[](int max_threads) {
  auto* const registered = benchmark::RegisterBenchmark("linear", &linear);
  for (int threads = 2; threads < max_threads; threads *= 2) registered->Arg(threads);
  registered->Arg(max_threads)->Iterations(1)->Unit(benchmark::kMillisecond);
}};

}  // namespace
}  // namespace bench
