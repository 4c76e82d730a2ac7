// SPDX-License-Identifier: BSL-1.0
//
// An NvmeController whose threads each drive and execute their own I/O queue, while another thread
// sends admin commands. The data is checked.

#include <gtest/gtest.h>

#include <blkown/dma/ring_word.hpp>
#include <cstring>
#include <span>
#include <thread>
#include <vector>

#include "sim/nvme_bench.hpp"

namespace sim_test {
namespace {

/// What one thread knows of its queue. NvmeBench's own queues are for one thread.
class QueueThread {
 public:
  QueueThread(NvmeBench& bench, std::uint16_t queue) : bench_{bench}, queue_{queue} {}

  /// Writes `count` blocks, one after the other, and reads them back. Returns the number of I/Os
  /// that were right.
  int run(int count) {
    int right = 0;
    for (int i = 0; i != count; ++i) {
      const std::uint64_t block = queue_ * 256U + static_cast<unsigned>(i % 128);
      std::memset(memory().data(), queue_ * 16 + i % 13, memory().size());
      const auto written = NvmeBench::of(memory());
      if (!carry_out(Entry::write(1, {block, 1}))) continue;
      std::memset(memory().data(), 0, memory().size());
      if (carry_out(Entry::read(1, {block, 1})) && NvmeBench::of(memory()) == written) ++right;
    }
    return right;
  }

 private:
  [[nodiscard]] std::span<std::byte> memory() {
    return bench_.pages(NvmeBench::data_page + 16U * queue_).first(512);
  }
  /// Sends a command, executes it, and takes its completion.
  [[nodiscard]] bool carry_out(Entry entry) {
    entry.command_id = next_id_++;
    entry.prp1 = bench_.iova_of(NvmeBench::data_page + 16U * queue_);
    std::memcpy(bench_.pages(2U * queue_).data() + tail_ * sizeof entry, &entry, sizeof entry);
    tail_ = (tail_ + 1) % NvmeBench::entries;
    bench_.ring(queue_, false, tail_);
    const std::byte* const at = bench_.pages(2U * queue_ + 1).data() + head_ * sizeof done_;
    const auto& posted = *reinterpret_cast<const nvme::CompletionEntry*>(at);
    // The admin queue's thread may execute this command, too.
    do {
      static_cast<void>(bench_.controller->step_queue(queue_, 1'000'000));
    } while (nvme::CompletionEntry::phase_of(blkown::dma::load_acquire(posted.status_and_phase)) !=
             phase_);
    done_ = posted;
    head_ = (head_ + 1) % NvmeBench::entries;
    if (head_ == 0) phase_ = !phase_;
    bench_.ring(queue_, true, head_);
    return done_.command_id == entry.command_id && done_.status().is_success();
  }

  NvmeBench& bench_;
  std::uint16_t queue_;
  std::uint16_t next_id_ = 0;
  std::uint32_t tail_ = 0;
  std::uint32_t head_ = 0;
  bool phase_ = true;
  nvme::CompletionEntry done_;
};

TEST(NvmeThreads, EachThreadExecutesItsOwnQueue) {
  NvmeConfig config = NvmeBench::two_queues();
  config.shortest_ns = config.longest_ns = 0;
  NvmeBench bench{config};
  bench.start();
  bench.controller->set_hooks({});  // the bench's are for one thread
  constexpr int count = 2000;
  int right[2] = {};
  std::thread first{[&] { right[0] = QueueThread{bench, 1}.run(count); }};
  std::thread second{[&] { right[1] = QueueThread{bench, 2}.run(count); }};
  // Meanwhile the admin queue reads what the others count, and changes what they use.
  for (int i = 0; i != 200; ++i) {
    bench.put(bench.with_data(Entry::get_log_page(nvme::LogPageId::smart, 512)), 0);
    bench.put(Entry::set_features(nvme::FeatureId::interrupt_coalescing, 0x0101), 0);
    bench.put(Entry::set_features(nvme::FeatureId::volatile_write_cache, i % 2 == 0 ? 0U : 1U), 0);
    bench.put(NvmeBench::with_id(Entry::abort(1, 0xFFFF), 9), 0);
    bench.ring_tail(0);
    std::size_t done = 0;
    while (done != 4) {
      static_cast<void>(bench.controller->step(1'000'000));
      done += bench.completions(0).size();
    }
    static_cast<void>(bench.controller->events());
    static_cast<void>(bench.csts());
  }
  first.join();
  second.join();
  EXPECT_EQ(right[0], count);
  EXPECT_EQ(right[1], count);
  EXPECT_EQ(bench.admin(bench.with_data(Entry::get_log_page(nvme::LogPageId::smart, 512))).code,
            Code::success);
  EXPECT_EQ(bench.in_data<nvme::SmartLog>().host_writes.low, 2U * count);
}

// Goal: a failure that one queue's thread causes stops the other queue, too.
TEST(NvmeThreads, AFatalErrorStopsEveryQueue) {
  NvmeBench bench;
  bench.start();
  bench.submit(NvmeBench::flush(1), 1);
  Entry entry = bench.create_cq(2);
  EXPECT_EQ(bench.admin(Entry::delete_io_sq(2)).code, Code::success);
  entry = bench.create_sq(2);
  entry.prp1 = 0x5000'0000;
  EXPECT_EQ(bench.admin(entry).code, Code::success);
  bench.ring(2, false, 1);
  EXPECT_TRUE(bench.controller->step_queue(2, 1'000'000));
  EXPECT_EQ(bench.failures, 1);
  EXPECT_TRUE(bench.csts().is_fatal());
  EXPECT_FALSE(bench.controller->step_queue(1, 1'000'000));
  EXPECT_FALSE(bench.controller->step_queue(2, 1'000'000));
}

}  // namespace
}  // namespace sim_test
