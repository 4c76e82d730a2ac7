// SPDX-License-Identifier: BSL-1.0
//
// Goal: a driver of the block layer survives the faults of a controller on threads, too, but for
// false completions, which a driver with 4 bits of generation may have to believe: every bio ends
// once, the copy equals the source, and no memory stays mapped.
// Method: the driver of examples/nvme copies one disk to another, each with a controller of its
// own.

#include <gtest/gtest.h>

#include <blkown/mq/thread_runtime.hpp>
#include <blkown/sim/device/media/media.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "dma_round_trip/copier.hpp"
#include "dma_round_trip/machine.hpp"

namespace {

using namespace round_trip;

constexpr std::size_t disk_bytes = 4 << 20;

/// Copies, with faults that the seed decides, and returns the number of faults.
std::size_t copy_on_threads(std::uint64_t seed) {
  mq::ThreadRuntime runtime{4};
  sim::MemoryMedia from{disk_bytes};
  sim::MemoryMedia to{disk_bytes};
  std::vector<std::byte> content(disk_bytes);
  for (std::size_t i = 0; i != disk_bytes; ++i) content[i] = std::byte(i * 7 + i / 512 + seed);
  EXPECT_TRUE(from.write(0, content));
  const auto config = [](std::uint64_t its_seed) {
    return MachineConfig{.depth = 8, .timeout_ms = 250, .seed = its_seed, .has_faults = true};
  };
  Machine source{runtime, from, config(2 * seed)};
  Machine destination{runtime, to, config(2 * seed + 1)};
  Copier copier{*source.disk(), *destination.disk()};
  for (std::uint32_t i = 0; i != 3; ++i) copier.start_on(runtime.context(i), 3);
  runtime.wait_for(copier.done());
  EXPECT_EQ(copier.status(), blkown::Status::ok);
  EXPECT_EQ(copier.copied_bytes(), disk_bytes);
  EXPECT_TRUE(source.shut_down(runtime));
  EXPECT_TRUE(destination.shut_down(runtime));
  EXPECT_EQ(std::memcmp(from.bytes().data(), to.bytes().data(), disk_bytes), 0);
  return source.faults().struck().size() + destination.faults().struck().size();
}

TEST(MqOnThreads, ADriverSurvivesLateLostAndRepeatedCompletionsAndResets) {
  std::size_t strikes = 0;
  for (std::uint64_t seed = 0; seed != 4; ++seed) {
    SCOPED_TRACE(seed);
    strikes += copy_on_threads(seed);
  }
  EXPECT_GT(strikes, 16U);
}

}  // namespace
