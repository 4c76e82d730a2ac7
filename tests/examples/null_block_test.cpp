// SPDX-License-Identifier: BSL-1.0
//
// Tests of examples/null_block: each parameter by a test that fails without it.

#include <gtest/gtest.h>

#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "null_block/null_block.hpp"
#include "null_block_world.hpp"

namespace {

namespace mq = blkown::mq;
using blkown::Status;
using null_block::Completion;
using null_block::Config;
using null_world::World;

// --- the table of the parameters -----------------------------------------------------------------

std::string error_of(std::string_view text) {
  const auto made = null_block::parse_config(text);
  return made ? "" : made.error().text;
}

TEST(NullBlockConfig, TakesEachParameterAtBothEndsOfItsRange) {
  for (const null_block::Parameter& each : null_block::parameters) {
    for (const std::uint64_t value : {each.min, each.max}) {
      Config config;
      const auto set = null_block::set_parameter(config, each.key, std::to_string(value));
      ASSERT_TRUE(set.has_value()) << set.error().text;
      EXPECT_EQ(config.*each.value, value) << each.key;
    }
  }
}

TEST(NullBlockConfig, RefusesEachParameterBeyondItsRangeWithKeyValueAndRange) {
  for (const null_block::Parameter& each : null_block::parameters) {
    Config config;
    std::vector<std::string> wrong{std::to_string(each.max + 1), "", "x", "1x", "-1"};
    if (each.min != 0) wrong.push_back(std::to_string(each.min - 1));
    for (const std::string& value : wrong) {
      const auto set = null_block::set_parameter(config, each.key, value);
      ASSERT_FALSE(set.has_value()) << each.key << "=" << value;
      const std::string& text = set.error().text;
      EXPECT_TRUE(text.starts_with(std::string{each.key} + "=" + value + ": give ")) << text;
      EXPECT_TRUE(text.ends_with(null_block::allowed(each))) << text;
    }
    EXPECT_EQ(config, Config{}) << "a refused value changes nothing";
  }
}

TEST(NullBlockConfig, TheDefaultsAreWithinTheirRanges) {
  const Config config;
  for (const null_block::Parameter& each : null_block::parameters) {
    Config read;
    const auto set =
        null_block::set_parameter(read, each.key, null_block::value_text(config, each));
    EXPECT_TRUE(set.has_value()) << set.error().text;
    EXPECT_EQ(read, config) << each.key;
  }
}

TEST(NullBlockConfig, NamesWhatIsWrong) {
  EXPECT_EQ(error_of("frob=1"), "frob=1: there is no such parameter; see show");
  EXPECT_EQ(error_of("size"), "'size': give KEY=VALUE");
  EXPECT_EQ(error_of("blocksize=3k"), "blocksize=3k: give a power of 2 from 512 to 65536");
  EXPECT_EQ(error_of("completion=later"), "completion=later: give none, softirq or timer");
  EXPECT_EQ(error_of("size=5k"), "size=5120: give a multiple of blocksize=4096");
  EXPECT_EQ(error_of("cache_size=1m"), "cache_size=1048576: needs memory_backed=1");
  EXPECT_EQ(error_of("memory_limit=1m"), "memory_limit=1048576: needs memory_backed=1");
  EXPECT_EQ(error_of("submit_queues=17"), "submit_queues=17: give at most max_submit_queues=16");
  EXPECT_EQ(error_of("timeout_ms=0,timeout_probability=1"),
            "timeout_probability=1: a request that is lost needs a timeout_ms other than 0");
  EXPECT_EQ(error_of("discard_granularity=512"),
            "discard_granularity=512: give a multiple of blocksize=4096");
  EXPECT_EQ(error_of("size=1m,blocksize=512,completion=timer,home_node=none"), "");
}

// --- completions ---------------------------------------------------------------------------------

TEST(NullBlock, CompletionNoneEndsInTheSubmit) {
  World world{"completion=none"};
  auto bio = world.start(mq::Op::write, 0, 8);
  EXPECT_TRUE(bio->has_ended);
  EXPECT_EQ(bio->status(), Status::ok);
}

TEST(NullBlock, CompletionSoftirqEndsWhenTheContextRuns) {
  World world{"completion=softirq"};
  auto bio = world.start(mq::Op::write, 0, 8);
  EXPECT_FALSE(bio->has_ended);
  world.runtime.run();
  EXPECT_TRUE(bio->has_ended);
  EXPECT_EQ(bio->status(), Status::ok);
}

TEST(NullBlock, CompletionTimerEndsWhenItsTimeHasPassed) {
  World world{"completion=timer,completion_nsec=5000"};
  auto bio = world.start(mq::Op::write, 0, 8);
  world.pass(4999);
  EXPECT_FALSE(bio->has_ended);
  world.pass(1);
  EXPECT_TRUE(bio->has_ended);
  EXPECT_EQ(bio->status(), Status::ok);
}

TEST(NullBlock, TheCompletionChangesWhileTheDiskIsUp) {
  World world{"completion=softirq"};
  world.must_set("completion", "none");
  EXPECT_TRUE(world.start(mq::Op::write, 0, 8)->has_ended);
  world.must_set("completion", "timer");
  world.must_set("completion_nsec", "7");
  auto bio = world.start(mq::Op::write, 0, 8);
  world.pass(6);
  EXPECT_FALSE(bio->has_ended);
  world.pass(1);
  EXPECT_TRUE(bio->has_ended);
}

// --- memory --------------------------------------------------------------------------------------

TEST(NullBlock, WithMemoryADiskReadsWhatWasWrittenAndZeroesElsewhere) {
  World world{"memory_backed=1,blocksize=512"};
  EXPECT_EQ(world.write(9, 2, 0x5A), Status::ok);
  EXPECT_EQ(world.content(8, 4), "00 5a 5a 00");
}

TEST(NullBlock, WithoutMemoryAReadLeavesTheMemoryAlone) {
  World world{"blocksize=512"};
  EXPECT_EQ(world.write(9, 2, 0x5A), Status::ok);
  EXPECT_EQ(world.content(8, 4), "ee ee ee ee");
}

TEST(NullBlock, ABlockMayBeInSeveralPiecesOfMemory) {
  World world{"memory_backed=1,blocksize=512"};
  std::vector<std::byte> memory(1024, std::byte{1});
  memory[600] = std::byte{2};
  const std::vector<blkown::Segment> pieces{
      {memory.data(), 100}, {memory.data() + 100, 550}, {memory.data() + 650, 374}};
  EXPECT_EQ(world.write(4, pieces), Status::ok);
  EXPECT_EQ(world.bytes(4, 2), memory);
}

}  // namespace
