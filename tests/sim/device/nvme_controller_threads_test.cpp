// SPDX-License-Identifier: BSL-1.0
//
// An NvmeController whose threads each drive and execute their own I/O queue, while another thread
// sends admin commands. The data is checked.

#include <gtest/gtest.h>

#include <algorithm>
#include <blkown/dma/ring_word.hpp>
#include <cstring>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "sim/device/nvme_bench.hpp"

namespace sim_test {
namespace {

/// What one thread knows of its queue. NvmeBench's own queues are for one thread.
class QueueThread {
 public:
  /// `block_bytes`: of namespace 1.
  QueueThread(NvmeBench& bench, std::uint16_t queue, std::size_t block_bytes = 512)
      : bench_{bench}, queue_{queue}, block_bytes_{block_bytes} {}

  /// Writes `count` blocks, one after the other, and reads them back. Returns the number of I/Os
  /// that were right.
  int run(int count) {
    int right = 0;
    for (int i = 0; i != count; ++i) {
      const std::uint64_t block = queue_ * 64U + static_cast<unsigned>(i % 64);
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
    return bench_.pages(NvmeBench::data_page + 16U * queue_).first(block_bytes_);
  }
  /// Maps the memory for a command, sends the command, executes it, takes its completion, and
  /// unmaps the memory.
  [[nodiscard]] bool carry_out(Entry entry) {
    entry.command_id = next_id_++;
    const blkown::Cookie cookie{.value = entry.command_id,
                                .generation = {},
                                .tag = {},
                                .queue = blkown::QueueIndex{queue_ - 1U}};
    const blkown::Segment data{memory().data(), memory().size()};
    const auto iova = bench_.iommu.map(data, blkown::dma::Direction::bidirectional, cookie);
    if (!iova.has_value()) return false;
    entry.prp1 = *iova;
    const bool is_done = execute(entry);
    const blkown::dma::IovaSegment segment{*iova, data.length_bytes};
    return bench_.iommu.unmap(segment).has_value() &&
           bench_.iommu.invalidate({&segment, 1}).has_value() && is_done;
  }
  [[nodiscard]] bool execute(const Entry& entry) {
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
  std::size_t block_bytes_;
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

// Goal: the I/Os of two queues take no lock in common, of the controller or the IOMMU.
TEST(NvmeThreads, TwoQueuesShareNothing) {
  NvmeConfig config = NvmeBench::two_queues();
  config.shortest_ns = config.longest_ns = 0;
  NvmeBench bench{config};
  blkown::sim::MemoryMedia media{NvmeBench::capacity_bytes};
  const blkown::sim::NvmeNamespace only{&media, NvmeBench::page};
  bench.controller.emplace(config, bench.iommu, std::span{&only, 1});
  bench.start();
  const std::uint64_t calls = bench.controller->shared_calls();
  constexpr int count = 1000;
  int right[2] = {};
  std::thread first{[&] { right[0] = QueueThread{bench, 1, NvmeBench::page}.run(count); }};
  std::thread second{[&] { right[1] = QueueThread{bench, 2, NvmeBench::page}.run(count); }};
  first.join();
  second.join();
  EXPECT_EQ(right[0], count);
  EXPECT_EQ(right[1], count);
  EXPECT_EQ(bench.controller->shared_calls(), calls);
  EXPECT_EQ(bench.iommu.shared_maps(), 0U);
  EXPECT_EQ(bench.iommu.fault_counts().total(), 0U);
  EXPECT_EQ(bench.iommu.mapped_pages(), NvmeBench::page_count);
  bench.controller.reset();  // before its medium
}

// Goal: a flush is alone on the medium, and every range of it has one writer.
TEST(NvmeThreads, RangesOfAMediumHaveLocksOfTheirOwn) {
  blkown::sim::detail::RangeLock lock{true};
  constexpr std::uint64_t stripe = 65536;
  const std::pair<std::uint64_t, std::uint64_t> ranges[] = {
      {0, 1}, {stripe - 1, 2}, {28 * stripe, 8 * stripe}, {5, 32 * stripe}, {0, UINT64_MAX}};
  int counts[std::size(ranges)] = {};
  std::uint32_t stripes[32] = {};  // written by all threads, each stripe under its lock
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i != std::size(ranges); ++i) {
    threads.emplace_back([&, i] {
      const auto [offset, length] = ranges[i];
      for (int round = 0; round != 200; ++round) {
        const blkown::sim::detail::RangeLock::Guard guard{lock, offset, length};
        const std::uint64_t first = offset / stripe;
        const std::uint64_t count =
            std::min<std::uint64_t>((length - 1 + offset % stripe) / stripe + 1, 32);
        for (std::uint64_t at = first; at != first + count; ++at) ++stripes[at % 32];
        ++counts[i];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const int count : counts) EXPECT_EQ(count, 200);
  EXPECT_EQ(stripes[0], 200U * 5) << "the third range wraps around";
  EXPECT_EQ(stripes[1], 200U * 4);
  EXPECT_EQ(stripes[27], 200U * 2);
  EXPECT_EQ(stripes[28], 200U * 3);
}

// Goal: a medium with a write cache has no lock of the whole medium.
// Method: two threads write neighbouring sectors, and make those of one of them durable.
// ThreadSanitizer sees what they share.
TEST(NvmeThreads, ACachedMediumIsAccessedByRanges) {
  constexpr std::uint64_t sector = 512, sectors = 256;
  CachedMedia media{sectors * sector};
  ASSERT_TRUE(media.has_ranges());
  const auto fill = [&](std::uint64_t first, bool flushes) {
    for (int round = 1; round != 20; ++round) {
      const std::vector<std::byte> data(sector, std::byte{static_cast<unsigned char>(round)});
      for (std::uint64_t i = first; i < sectors; i += 2) {
        EXPECT_TRUE(media.write(i * sector, data));
        if (flushes) {
          EXPECT_TRUE(media.flush_range(i * sector, sector));
        }
      }
    }
  };
  std::thread first{fill, 0, true};
  std::thread second{fill, 1, false};
  first.join();
  second.join();
  bool is_old = false;
  for (std::uint64_t seed = 0; seed != 8; ++seed) {
    const auto content = media.after_power_cut(seed);
    for (std::uint64_t i = 0; i != sectors; ++i) {
      const bool is_latest = content[i * sector] == std::byte{19};
      EXPECT_TRUE(is_latest || i % 2 == 1) << i;
      is_old = is_old || !is_latest;
    }
  }
  EXPECT_TRUE(is_old) << "the sectors of the other thread are cached";
  EXPECT_TRUE(media.flush());
  EXPECT_EQ(media.after_power_cut(1)[sector], std::byte{19});
}

// Goal: the IOMMU's locks are taken unless the configuration says that there is one thread.
// Method: two threads map, access and unmap memory in the same area. A page that both of them take
// refuses one, and ThreadSanitizer sees every access that no lock orders.
TEST(NvmeThreads, TwoThreadsMayShareAnAreaOfTheIommu) {
  Iommu iommu{{.page_count = 32}};
  const auto use = [&](std::uint32_t queue) {
    std::vector<std::byte> memory(64);
    const std::byte value{static_cast<unsigned char>(queue + 1)};
    const blkown::Cookie cookie{
        .value = queue + 1U, .generation = {}, .tag = {}, .queue = blkown::QueueIndex{queue}};
    for (int i = 0; i != 500; ++i) {
      const auto iova =
          iommu.map({memory.data(), memory.size()}, blkown::dma::Direction::bidirectional, cookie);
      ASSERT_TRUE(iova.has_value());
      EXPECT_TRUE(iommu.write(*iova, {&value, 1}, {.cookie = cookie.value}));
      EXPECT_EQ(memory.front(), value);
      const blkown::dma::IovaSegment segment{.iova = *iova, .length_bytes = memory.size()};
      EXPECT_TRUE(iommu.unmap(segment).has_value());
      EXPECT_TRUE(iommu.invalidate({&segment, 1}).has_value());
    }
  };
  std::thread first{use, 0};
  std::thread second{use, 1};
  first.join();
  second.join();
  EXPECT_EQ(iommu.mapped_pages(), 0U);
  EXPECT_EQ(iommu.bad_unmaps(), 0U);
  EXPECT_EQ(iommu.fault_counts().not_forbidden, 0U);
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
