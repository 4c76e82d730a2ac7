// SPDX-License-Identifier: BSL-1.0
//
// Reads through examples/null_block in each of its ways to complete, and through the shortest
// drivers, in one loop. The benchmark times the loop, tests/instructions counts it.

#ifndef BLKOWN_BENCH_PIPELINE_NULL_BLOCK_HPP
#define BLKOWN_BENCH_PIPELINE_NULL_BLOCK_HPP

#include <algorithm>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <cstdint>
#include <memory>
#include <pipeline/bios.hpp>
#include <pipeline/drivers.hpp>
#include <string>
#include <utility>
#include <vector>

#include "null_block/null_block.hpp"

namespace bench {

namespace {

/// How the reads of a round are submitted and completed.
struct ReadWay {
  bool is_polled = false;  ///< On a poll queue.
  bool is_listed = false;  ///< Submitted as one list.
};

/// A disk, and rounds of reads that are in flight together.
template <class D>
class ReadRounds {
 public:
  /// Precondition of round(): error() is null.
  ReadRounds(std::uint32_t depth, const ReadWay& way, const mq::DiskConfig& config, D& driver,
             typename D::QueueData data, const mq::LoopHooks& hooks)
      : way_{way}, runtime_{1, hooks}, bios_(depth) {
    auto made = mq::Disk<D>::create(config, driver, runtime_, std::move(data));
    if (!made.has_value()) {
      error_ = made.error().field;
      return;
    }
    disk_ = *std::move(made);
    for (std::size_t i = 0; i != depth; ++i) {
      bios_[i].set_read(
          block_sectors * (i * 7919 % 100'000), blkown::Segment{memory_.bytes, sizeof memory_},
          {[](void* ended, mq::Bio&) { ++*static_cast<std::uint64_t*>(ended); }, &ended_},
          {.polled = way.is_polled});
      list_.push_back(&bios_[i]);
    }
  }
  ReadRounds(const ReadRounds&) = delete;
  ReadRounds& operator=(const ReadRounds&) = delete;
  ~ReadRounds() {
    if (disk_ != nullptr) static_cast<void>(mq::remove(runtime_, *disk_));
  }

  /// Submits the reads, lets `reap(disk, context)` complete them, and runs the context once.
  template <class Reap>
  [[gnu::always_inline]] void round(Reap reap) {
    mq::Context& context = runtime_.context(0);
    {
      const mq::Context::Scope here{context};
      if (way_.is_listed) {
        disk_->submit(context, list_);
      } else {
        for (mq::Bio& bio : bios_) disk_->submit(context, bio);
      }
      reap(*disk_, context);
    }
    context.run();
  }
  /// The reads of the present round that have not ended.
  [[nodiscard]] std::uint64_t missing(std::uint64_t rounds) const noexcept {
    return rounds * bios_.size() - ended_;
  }
  [[nodiscard]] const char* error() const noexcept { return error_; }
  [[nodiscard]] std::uint64_t ended_ok() const noexcept {
    return disk_->counters().ended(blkown::Status::ok);
  }

 private:
  Block memory_{};
  ReadWay way_;
  std::uint64_t ended_ = 0;
  mq::LoopRuntime runtime_;
  std::unique_ptr<mq::Disk<D>> disk_;
  std::vector<mq::Bio> bios_;
  std::vector<mq::Bio*> list_;
  const char* error_ = nullptr;
};

[[nodiscard]] mq::DiskConfig plain_config(std::uint32_t depth) {
  return {.capacity_sectors = EmptyReads::capacity_sectors, .depth = std::max(depth, 64U)};
}

/// Calls `measure(rounds, reap)` for a way of the null block driver, with its disk.
template <class Measure>
void with_null_block(std::uint32_t depth, const ReadWay& way, null_block::Config config,
                     const mq::LoopHooks& hooks, Measure measure) {
  config.size = EmptyReads::capacity_sectors * mq::sector_bytes;
  config.hw_queue_depth = std::max(depth, 64U);
  config.poll_queues = way.is_polled ? 1 : 0;
  config.max_submit_queues = 1;
  null_block::Driver driver{1};
  ReadRounds<null_block::Driver> rounds{
      depth,
      way,
      null_block::disk_config_of(config),
      driver,
      null_block::Driver::QueueData{std::make_unique<null_block::Device>(config)},
      hooks};
  if (way.is_polled) {
    measure(rounds, [](null_block::Disk& disk, mq::Context& context) {
      static_cast<void>(disk.poll(context));
    });
  } else {
    measure(rounds, [](auto&, auto&) {});
  }
}
/// The same with a driver that ends each read at once.
template <class Measure>
void with_ends_at_once(std::uint32_t depth, const ReadWay& way, const mq::LoopHooks& hooks,
                       Measure measure) {
  EndsAtOnce driver;
  ReadRounds<EndsAtOnce> rounds{depth, way, plain_config(depth), driver, {}, hooks};
  measure(rounds, [](auto&, auto&) {});
}
/// The same with a driver that completes each read later, by its cookie.
template <class Measure>
void with_completes_later(std::uint32_t depth, const ReadWay& way, const mq::LoopHooks& hooks,
                          Measure measure) {
  CompletesLater driver;
  ReadRounds<CompletesLater> rounds{depth, way, plain_config(depth), driver, {}, hooks};
  measure(rounds, [&](mq::Disk<CompletesLater>& disk, mq::Context&) {
    driver.reap(disk.hw_queue(blkown::QueueIndex{0}));
  });
}

}  // namespace

}  // namespace bench

#endif
