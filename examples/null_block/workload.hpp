// SPDX-License-Identifier: BSL-1.0
//
// Workload: random reads and writes of single blocks on each context, with what was written
// checked.
//
// Each context has blocks of its own. A block holds its index and the number of its last write, so
// a read finds data that is in the wrong place, old or torn. After an error the block is not
// checked until it is written again. A power cut of a disk with a cache loses data, which is found.

#ifndef NULL_BLOCK_WORKLOAD_HPP
#define NULL_BLOCK_WORKLOAD_HPP

#include <atomic>
#include <blkown/mq/mq.hpp>
#include <blkown/mq/thread_runtime.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "null_block.hpp"

namespace null_block {

/// What a workload has done.
struct WorkloadResult {
  std::uint64_t reads = 0;
  std::uint64_t writes = 0;
  std::uint64_t failed = 0;
  std::uint64_t wrong = 0;  ///< Reads of what was not written.
};

/// One context's part of a workload.
class Workload {
 public:
  /// Runs `count` I/Os, `depth` at a time, on the blocks from `first` on. If `is_checked`, data is
  /// compared; if `is_new`, the blocks are zeroes at first.
  Workload(Disk& disk, mq::Context& context, std::uint64_t first, std::uint64_t blocks,
           std::uint64_t count, std::uint32_t depth, bool is_checked, bool is_new,
           std::uint64_t seed)
      : disk_{disk},
        context_{context},
        block_bytes_{disk.config().logical_block_bytes},
        first_{first},
        left_{count},
        is_checked_{is_checked},
        is_polled_{disk.config().poll_queues != 0},
        random_{seed},
        last_(static_cast<std::size_t>(blocks), Block{.is_unknown = !is_new}) {
    for (std::uint32_t i = 0; i != depth; ++i) {
      ios_.push_back(std::make_unique<Io>(*this, block_bytes_));
    }
  }

  /// Begins. The result is there when the event is set.
  void start() { context_.post(begin_); }
  [[nodiscard]] mq::Event& done() noexcept { return done_; }
  [[nodiscard]] const WorkloadResult& result() const noexcept { return result_; }

 private:
  struct Io {
    Io(Workload& its, std::size_t bytes) : workload{its}, memory(bytes) {}
    Workload& workload;
    std::vector<std::byte> memory;
    mq::Bio bio;
    std::size_t block = 0;
  };
  /// What is known of a block.
  struct Block {
    std::uint64_t number = 0;  // of the last write; 0: it was never written
    bool is_busy = false;
    bool is_unknown = false;  // a write has failed
  };

  static void begin(void* self, mq::Work&) {
    auto& its = *static_cast<Workload*>(self);
    its.in_flight_ = its.ios_.size();
    for (auto& io : its.ios_) its.submit_next(*io);
    if (its.is_polled_) its.context_.post_local(its.poll_);
  }
  static void poll(void* self, mq::Work& work) {
    auto& its = *static_cast<Workload*>(self);
    static_cast<void>(its.disk_.poll(its.context_));
    if (its.in_flight_ != 0) {
      its.context_.post_local(work);
    } else {
      its.done_.set();
    }
  }

  void submit_next(Io& io) {
    if (left_ == 0) {
      --in_flight_;
      // The poll's work sets the event itself, in its last run.
      if (in_flight_ == 0 && !is_polled_) done_.set();
      return;
    }
    --left_;
    do {
      io.block = static_cast<std::size_t>(random_() % last_.size());
    } while (last_[io.block].is_busy);
    last_[io.block].is_busy = true;
    const std::uint64_t sector = (first_ + io.block) * block_bytes_ / mq::sector_bytes;
    const blkown::Segment memory{io.memory.data(), io.memory.size()};
    const mq::OnEnd<mq::Bio> on_end{&Workload::ended, &io};
    if (random_() % 2 == 0) {
      ++result_.writes;
      last_[io.block].number += 1;
      fill(io);
      io.bio.set_write(sector, memory, on_end, {.polled = is_polled_});
    } else {
      ++result_.reads;
      io.bio.set_read(sector, memory, on_end, {.polled = is_polled_});
    }
    disk_.submit(context_, io.bio);
  }
  static void ended(void* argument, mq::Bio& bio) {
    Io& io = *static_cast<Io*>(argument);
    Workload& its = io.workload;
    Block& block = its.last_[io.block];
    block.is_busy = false;
    const bool is_write = bio.op() == mq::Op::write;
    if (bio.status() != blkown::Status::ok) {
      ++its.result_.failed;
      block.is_unknown = block.is_unknown || is_write;
    } else if (is_write) {
      block.is_unknown = false;
    } else if (its.is_checked_ && !block.is_unknown && !its.is_right(io)) {
      ++its.result_.wrong;
    }
    its.submit_next(io);
  }

  void fill(Io& io) const {
    const std::uint64_t words[2]{first_ + io.block, last_[io.block].number};
    for (std::size_t i = 0; i != io.memory.size(); i += sizeof(words)) {
      std::memcpy(io.memory.data() + i, words, sizeof(words));
    }
  }
  [[nodiscard]] bool is_right(const Io& io) const {
    std::uint64_t words[2]{first_ + io.block, last_[io.block].number};
    if (words[1] == 0) words[0] = 0;
    for (std::size_t i = 0; i != io.memory.size(); i += sizeof(words)) {
      if (std::memcmp(io.memory.data() + i, words, sizeof(words)) != 0) return false;
    }
    return true;
  }

  Disk& disk_;
  mq::Context& context_;
  std::size_t block_bytes_;
  std::uint64_t first_;
  std::uint64_t left_;
  bool is_checked_;
  bool is_polled_;
  std::mt19937_64 random_;
  std::vector<Block> last_;
  std::vector<std::unique_ptr<Io>> ios_;
  std::size_t in_flight_ = 0;
  WorkloadResult result_;
  mq::Event done_;
  mq::Work begin_{&Workload::begin, this};
  mq::Work poll_{&Workload::poll, this};
};

}  // namespace null_block

#endif
