// SPDX-License-Identifier: BSL-1.0
//
// Disks of examples/null_block that share tags, on runtimes of their own, with I/O on all of them
// while some are made and destroyed: what nbd_server's exports with shared_tags=1 are.

#include <gtest/gtest.h>

#include <blkown/mq/mq.hpp>
#include <blkown/mq/thread_runtime.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "null_block/null_block.hpp"
#include "null_block/shared_tags.hpp"
#include "null_block/workload.hpp"

namespace {

namespace mq = blkown::mq;
using null_block::Config;

/// A disk on threads of its own.
struct SharingDisk {
  SharingDisk(std::uint32_t contexts, const Config& its_config, null_block::SharedTags& tags)
      : config{its_config}, runtime{contexts} {
    const auto pool = tags.pool_for(config);
    if (!pool) {
      ADD_FAILURE() << pool.error().text;
      return;
    }
    auto made = null_block::NullDisk<mq::ThreadRuntime>::create(config, runtime, *pool);
    if (made) {
      disk = *std::move(made);
    } else {
      ADD_FAILURE() << made.error().text;
    }
  }

  /// Runs `count` checked I/Os on each context, 16 at a time.
  void run(std::uint64_t count) {
    if (disk == nullptr) return;
    const std::uint64_t blocks = config.size / config.blocksize / runtime.context_count();
    std::vector<std::unique_ptr<null_block::Workload>> parts;
    for (std::uint32_t i = 0; i != runtime.context_count(); ++i) {
      parts.push_back(std::make_unique<null_block::Workload>(
          disk->disk(), runtime.context(i), i * blocks, blocks, count, 16, true, is_new, i));
      parts.back()->start();
    }
    is_new = false;
    for (std::uint32_t i = 0; i != runtime.context_count(); ++i) {
      parts[i]->done().wait();
      runtime.run_on(i, [] {});  // the event is set in the part's own function
      const null_block::WorkloadResult& result = parts[i]->result();
      EXPECT_EQ(result.reads + result.writes, count);
      EXPECT_EQ(result.failed, 0U);
      EXPECT_EQ(result.wrong, 0U);
    }
  }

  const Config config;
  mq::ThreadRuntime runtime;
  std::unique_ptr<null_block::NullDisk<mq::ThreadRuntime>> disk;
  bool is_new = true;
};

// Goal: a disk that goes gives its tags back, and wakes the contexts of the others that wait for
// them.
TEST(NullBlockShared, DisksComeAndGoWhileOthersHaveIo) {
  for (const char* const more :
       {"hw_queue_depth=2", "hw_queue_depth=2,completion=timer,completion_nsec=1000",
        "shared_tag_bitmap=1,hw_queue_depth=1,completion=softirq,submit_queues=2",
        "hw_queue_depth=3,mbps=400,submit_queues=2"}) {
    SCOPED_TRACE(more);
    null_block::SharedTags tags;
    const auto config =
        null_block::parse_config("shared_tags=1,memory_backed=1,size=4m," + std::string{more});
    ASSERT_TRUE(config.has_value()) << config.error().text;
    SharingDisk first{2, *config, tags};
    std::thread load{[&] { first.run(1000); }};
    for (std::uint32_t i = 0; i != 6; ++i) {
      SharingDisk second{1 + i % 3, *config, tags};
      second.run(30);
    }
    load.join();
  }
}

}  // namespace
