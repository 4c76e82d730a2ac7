// SPDX-License-Identifier: BSL-1.0
//
// I/Os through the block layer on one context: what a bio costs from submit to its end, with a
// driver that ends at once and with one that publishes and completes later by cookie. bench/run
// sets these beside fio's null engine.

#include <benchmark/benchmark.h>

#include <array>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

namespace bench {
namespace {

namespace mq = blkown::mq;

constexpr std::uint32_t block_bytes = 4096;
constexpr std::uint64_t capacity_sectors = std::uint64_t{1} << 30;

/// Adds up what it is asked for, so that both sides can be compared, and ends at once.
struct EndsAtOnce {
  struct RequestData {};
  struct HwData {};
  struct QueueData {
    std::uint64_t sectors = 0;
  };
  using Rq = mq::Request<EndsAtOnce>;
  mq::Dispatch<EndsAtOnce> queue_rq(mq::HwQueue<EndsAtOnce>&, QueueData& queue,
                                    blkown::Idle<Rq> idle, bool) {
    auto owned = std::move(idle).start();
    queue.sectors += owned.data().length_bytes() / mq::sector_bytes;
    std::move(owned).end_ok();
    return mq::Dispatch<EndsAtOnce>::accepted();
  }
};

/// Publishes into a ring of cookies; the benchmark reaps it, as a device's completions would come.
struct CompletesLater {
  struct RequestData {};
  struct HwData {};
  struct QueueData {
    std::uint64_t sectors = 0;
  };
  using Rq = mq::Request<CompletesLater>;
  mq::Dispatch<CompletesLater> queue_rq(mq::HwQueue<CompletesLater>&, QueueData&,
                                        blkown::Idle<Rq> idle, bool) {
    std::move(idle).start().publish([&](const blkown::Cookie& cookie) {
      ring[count] = cookie.value;
      ++count;
    });
    return mq::Dispatch<CompletesLater>::accepted();
  }
  void reap(mq::HwQueue<CompletesLater>& hw, QueueData& queue) {
    for (std::size_t i = 0; i != count; ++i) {
      auto claim = hw.claim(ring[i]);
      if (!claim.has_value()) std::abort();
      queue.sectors += claim->data().length_bytes() / mq::sector_bytes;
      std::move(*claim).end_ok();
    }
    count = 0;
  }
  std::array<std::uint64_t, 1024> ring{};
  std::size_t count = 0;
};

/// Bios of one block each, their ends counted.
struct Load {
  explicit Load(std::size_t depth) : memory(block_bytes) {
    for (std::size_t i = 0; i != depth; ++i) {
      bios.emplace_back(new mq::Bio(mq::Bio::read(
          8 * ((i * 7919) % 100'000), blkown::Segment{memory.data(), block_bytes},
          [](mq::Bio& bio) { ++*static_cast<std::uint64_t*>(bio.argument()); }, &ended)));
    }
  }
  std::vector<std::byte> memory;
  std::vector<std::unique_ptr<mq::Bio>> bios;
  std::uint64_t ended = 0;
};

template <class D, class Reap>
void run(benchmark::State& state, D& driver, Reap reap) {
  const auto depth = static_cast<std::size_t>(state.range(0));
  mq::LoopRuntime runtime;
  auto made = mq::Disk<D>::create({.capacity_sectors = capacity_sectors,
                                   .logical_block_bytes = 512,
                                   .depth = static_cast<std::uint32_t>(depth < 64 ? 64 : depth)},
                                  driver, runtime);
  if (!made.has_value()) return state.SkipWithError(made.error().field);
  auto disk = *std::move(made);
  mq::Context& context = runtime.context(0);
  Load load{depth};
  std::uint64_t submitted = 0;
  for (auto _ : state) {
    for (auto& bio : load.bios) disk->submit(context, *bio);
    reap(*disk);
    context.run();
    submitted += depth;
  }
  // A benchmark whose work was optimised away, or lost, is an error.
  if (load.ended != submitted || disk->queue_data().sectors != submitted * 8 ||
      disk->counters().ended(blkown::Status::ok) != submitted) {
    state.SkipWithError("I/Os are missing");
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(submitted));
  static_cast<void>(mq::remove(runtime, *disk));
}

void ends_at_once(benchmark::State& state) {
  EndsAtOnce driver;
  run(state, driver, [](mq::Disk<EndsAtOnce>&) {});
}
void completes_later(benchmark::State& state) {
  CompletesLater driver;
  run(state, driver,
      [&](mq::Disk<CompletesLater>& disk) { driver.reap(disk.hw_queue(0), disk.queue_data()); });
}
BENCHMARK(ends_at_once)->Name("pipeline/ends_at_once")->Arg(1)->Arg(32)->Arg(1024);
BENCHMARK(completes_later)
    ->Name("pipeline/completes_later")
    ->Arg(1)
    ->Arg(8)
    ->Arg(32)
    ->Arg(256)
    ->Arg(1024);

}  // namespace
}  // namespace bench
