// SPDX-License-Identifier: BSL-1.0
//
// Tests of examples/null_block: each parameter by a test that fails without it.

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "null_block/control.hpp"
#include "null_block/null_block.hpp"
#include "null_block/shared_tags.hpp"
#include "world.hpp"

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
    std::vector<std::string> wrong{std::to_string(each.max + 1),
                                   "",
                                   "x",
                                   "1x",
                                   "-1",
                                   "+1",
                                   " 1",
                                   "0x1",
                                   "1.0",
                                   "18446744073709551616",
                                   "99999999999999999999999"};
    // 2^64 in all, and a suffix of more or other letters.
    wrong.insert(wrong.end(), {"17179869184g", "1K", "1kb", "1t", "k"});
    if (each.form != null_block::Form::size) wrong.emplace_back("1k");
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
  EXPECT_EQ(error_of("size=1m,"), "'': give KEY=VALUE");
  EXPECT_EQ(error_of(",size=1m"), "'': give KEY=VALUE");
  EXPECT_EQ(error_of("size=1m,,discard=1"), "'': give KEY=VALUE");
  EXPECT_EQ(error_of("=1"), "=1: there is no such parameter; see show");
  EXPECT_EQ(error_of("size=1m=2m"), "size=1m=2m: give a size from 512 to 70368744177664");
  EXPECT_EQ(error_of("size=1m,discard=1,size=2m"), "size=2m: give each parameter once");
  EXPECT_EQ(error_of("size=1m,size=1m"), "size=1m: give each parameter once");
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

TEST(NullBlock, TheMemoryLimitIsKeptAndCanChange) {
  World world{"memory_backed=1,memory_limit=8k"};
  EXPECT_EQ(world.write(0, 16, 1), Status::ok);
  EXPECT_EQ(world.write(16, 8, 1), Status::no_space);
  EXPECT_EQ(world.write(8, 8, 2), Status::ok) << "this page is there";
  EXPECT_EQ(world.disk->device().store->used_bytes(), 8192U);
  world.must_set("memory_limit", "12k");
  EXPECT_EQ(world.write(16, 8, 3), Status::ok);
  EXPECT_EQ(world.content(8, 16).substr(0, 2), "02");
}

TEST(NullBlock, AFullCacheAtTheMemoryLimitWritesBackInPlace) {
  World world{"memory_backed=1,memory_limit=8k,cache_size=1m"};
  EXPECT_EQ(world.write(0, 8, 1), Status::ok);
  EXPECT_EQ(world.run(mq::Op::flush, 0, 0), Status::ok);
  EXPECT_EQ(world.write(0, 8, 2), Status::ok);
  EXPECT_EQ(world.write(8, 8, 3), Status::ok) << "the cached copy of page 0 is written back";
  EXPECT_EQ(world.content(0, 16), "02 02 02 02 02 02 02 02 03 03 03 03 03 03 03 03");
  EXPECT_EQ(world.write(16, 8, 3), Status::no_space);
}

// Goal: a page that is in the store does not need another one.
TEST(NullBlock, AtTheMemoryLimitAPageIsOverwrittenWithOrWithoutFua) {
  World world{"memory_backed=1,memory_limit=4k,cache_size=1m,blocksize=512"};
  EXPECT_EQ(world.write(0, 4, 1), Status::ok);
  EXPECT_EQ(world.write(1, 1, 2, {.fua = true}), Status::ok) << "the page is cached";
  EXPECT_EQ(world.content(0, 5), "01 02 01 01 00");
  EXPECT_EQ(world.write(2, 1, 3), Status::ok) << "the page is durable";
  EXPECT_EQ(world.content(0, 5), "01 02 03 01 00");
  EXPECT_EQ(world.disk->device().store->used_bytes(), 4096U);
  world.cut_power();
  EXPECT_EQ(world.content(1, 1), "02");
  EXPECT_EQ(world.write(8, 8, 4, {.fua = true}), Status::no_space);
}

TEST(NullBlock, AtTheMemoryLimitAWriteWithFuaTakesThePageOfACachedCopy) {
  World world{"memory_backed=1,memory_limit=8k,cache_size=1m"};
  EXPECT_EQ(world.write(0, 8, 1), Status::ok);
  EXPECT_EQ(world.run(mq::Op::flush, 0, 0), Status::ok);
  EXPECT_EQ(world.write(0, 8, 2), Status::ok);
  EXPECT_EQ(world.write(8, 8, 3, {.fua = true}), Status::ok);
  EXPECT_EQ(world.content(0, 16), "02 02 02 02 02 02 02 02 03 03 03 03 03 03 03 03");
}

TEST(NullBlock, SizeAndBlockAreThoseOfTheDisk) {
  World world{"size=64k,blocksize=1k"};
  EXPECT_EQ(world.run(mq::Op::read, 126, 2), Status::ok);
  EXPECT_EQ(world.run(mq::Op::read, 128, 2), Status::invalid);
  EXPECT_EQ(world.run(mq::Op::read, 1, 2), Status::invalid);
}

TEST(NullBlock, ReadOnlyRefusesWritesAndCanChange) {
  World world{"read_only=1"};
  EXPECT_EQ(world.write(0, 8, 1), Status::not_supported);
  world.must_set("read_only", "0");
  EXPECT_EQ(world.write(0, 8, 1), Status::ok);
}

// --- the volatile cache --------------------------------------------------------------------------

TEST(NullBlock, APowerCutDropsWhatIsCachedOnly) {
  World world{"memory_backed=1,cache_size=1m,blocksize=512"};
  EXPECT_EQ(world.write(0, 4, 1), Status::ok);
  EXPECT_EQ(world.run(mq::Op::flush, 0, 0), Status::ok);
  EXPECT_EQ(world.write(1, 2, 2), Status::ok);
  EXPECT_EQ(world.write(6, 1, 2), Status::ok);
  EXPECT_EQ(world.content(0, 8), "01 02 02 01 00 00 02 00");
  world.cut_power();
  EXPECT_EQ(world.content(0, 8), "01 01 01 01 00 00 00 00");
  EXPECT_EQ(world.disk->device().store->used_bytes(), 4096U);
}

TEST(NullBlock, WithoutACacheAPowerCutDropsNothing) {
  World world{"memory_backed=1,blocksize=512"};
  EXPECT_EQ(world.write(0, 2, 1), Status::ok);
  world.cut_power();
  EXPECT_EQ(world.content(0, 2), "01 01");
}

TEST(NullBlock, WithFuaAWriteIsDurableAndOthersAreNot) {
  World world{"memory_backed=1,cache_size=1m,blocksize=512"};
  EXPECT_EQ(world.write(0, 2, 1), Status::ok);
  EXPECT_EQ(world.write(1, 1, 2, {.fua = true}), Status::ok);
  EXPECT_EQ(world.content(0, 2), "01 02");
  world.cut_power();
  EXPECT_EQ(world.content(0, 2), "00 02");
}

TEST(NullBlock, WithoutFuaAFlushFollows) {
  World world{"memory_backed=1,cache_size=1m,blocksize=512,fua=0"};
  EXPECT_EQ(world.write(0, 2, 1), Status::ok);
  EXPECT_EQ(world.write(1, 1, 2, {.fua = true}), Status::ok);
  world.cut_power();
  EXPECT_EQ(world.content(0, 2), "01 02");
}

TEST(NullBlock, APreflushMakesEarlierWritesDurable) {
  World world{"memory_backed=1,cache_size=1m,blocksize=512"};
  EXPECT_EQ(world.write(0, 1, 1), Status::ok);
  EXPECT_EQ(world.write(1, 1, 2, {.preflush = true}), Status::ok);
  world.cut_power();
  EXPECT_EQ(world.content(0, 2), "01 00");
}

TEST(NullBlock, AFullCacheWritesItsOldestPageBack) {
  World world{"memory_backed=1,cache_size=8k"};
  for (unsigned i = 0; i != 3; ++i) EXPECT_EQ(world.write(i * 8, 8, i + 1), Status::ok);
  EXPECT_EQ(world.disk->device().store->cached_bytes(), 8192U);
  world.cut_power();
  EXPECT_EQ(world.content(0, 1 * 8).substr(0, 2), "01");
  EXPECT_EQ(world.content(8, 1 * 8).substr(0, 2), "00");
  EXPECT_EQ(world.content(16, 1 * 8).substr(0, 2), "00");
}

// Goal: the command's seed chooses the blocks that a real cache would have written back in time.
TEST(NullBlock, APowerCommandCutsAsItsSeedSays) {
  const auto content_after = [](std::string_view off) {
    World world{"memory_backed=1,cache_size=1m,blocksize=512"};
    EXPECT_EQ(world.write(0, 32, 1), Status::ok);
    EXPECT_EQ(world.run(mq::Op::flush, 0, 0), Status::ok);
    EXPECT_EQ(world.write(0, 32, 2), Status::ok);
    EXPECT_EQ(null_block::answer_to(*world.disk, off), "ok\n");
    EXPECT_TRUE(null_block::answer_to(*world.disk, "show").contains("\npower=off\n"));
    EXPECT_EQ(world.write(0, 1, 3), Status::offline);
    EXPECT_EQ(null_block::answer_to(*world.disk, "power on"), "ok\n");
    EXPECT_TRUE(null_block::answer_to(*world.disk, "show").contains("\npower=on\n"));
    return world.content(0, 32);
  };
  const std::string none = content_after("power off");
  EXPECT_EQ(none.find("02"), none.npos);
  EXPECT_EQ(content_after("power off 0"), none);
  const std::string some = content_after("power off 7");
  EXPECT_NE(some.find("01"), some.npos);
  EXPECT_NE(some.find("02"), some.npos);
  EXPECT_EQ(content_after("power off 7"), some);
  EXPECT_NE(content_after("power off 8"), some);
}

TEST(NullBlock, WithoutPowerEveryIoFails) {
  World world{
      "memory_backed=1,cache_size=1m,discard=1,write_zeroes=1,discard_granularity=64k,"
      "badblocks_once=1"};
  world.must_set("badblocks", "+512-512");
  world.disk->power_off();
  EXPECT_EQ(world.write(0, 8, 1), Status::offline);
  EXPECT_EQ(world.write(0, 8, 1, {.fua = true}), Status::offline);
  EXPECT_EQ(world.run(mq::Op::read, 0, 8), Status::offline);
  EXPECT_EQ(world.run(mq::Op::flush, 0, 0), Status::offline);
  EXPECT_EQ(world.run(mq::Op::discard, 0, 128), Status::offline);
  EXPECT_EQ(world.run(mq::Op::discard, 0, 8), Status::offline) << "a part of a unit";
  EXPECT_EQ(world.run(mq::Op::write_zeroes, 0, 8), Status::offline);
  EXPECT_EQ(world.run(mq::Op::read, 512, 8), Status::offline) << "a bad block";
  world.disk->power_on();
  EXPECT_EQ(world.write(0, 8, 1), Status::ok);
  EXPECT_EQ(world.run(mq::Op::read, 512, 8), Status::io_error) << "no I/O has reached the block";
}

// --- discard, write zeroes and the limits --------------------------------------------------------

TEST(NullBlock, DiscardIsThereIfItIsAskedFor) {
  World world{"memory_backed=1"};
  EXPECT_EQ(world.run(mq::Op::discard, 0, 8), Status::not_supported);
  world.must_set("discard", "1");
  EXPECT_EQ(world.write(0, 16, 1), Status::ok);
  EXPECT_EQ(world.run(mq::Op::discard, 0, 8), Status::ok);
  EXPECT_EQ(world.content(0, 16), "00 00 00 00 00 00 00 00 01 01 01 01 01 01 01 01");
  EXPECT_EQ(world.disk->device().store->used_bytes(), 4096U) << "the page was given back";
}

TEST(NullBlock, ADiscardOfAPartOfAUnitIsIgnoredAndSplitsAreBetweenUnits) {
  World world{
      "memory_backed=1,discard=1,blocksize=512,discard_granularity=2k,discard_alignment=512,"
      "max_discard=4k"};
  EXPECT_EQ(world.write(0, 24, 1), Status::ok);
  world.take_ranges();
  EXPECT_EQ(world.run(mq::Op::discard, 3, 18), Status::ok);
  // Units begin at 1, 5, 9, 13, 17 and 21.
  EXPECT_EQ(world.take_ranges(), "3+6 9+8 17+4");
  EXPECT_EQ(world.content(0, 24),
            "01 01 01 01 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01 01 01");
}

TEST(NullBlock, WriteZeroesZeroesPartsOfUnitsToo) {
  World world{
      "memory_backed=1,write_zeroes=1,blocksize=512,write_zeroes_granularity=2k,"
      "write_zeroes_alignment=1k,max_write_zeroes=2k"};
  EXPECT_EQ(world.write(0, 12, 1), Status::ok);
  world.take_ranges();
  EXPECT_EQ(world.run(mq::Op::write_zeroes, 1, 8), Status::ok);
  EXPECT_EQ(world.take_ranges(), "1+1 2+4 6+3");
  EXPECT_EQ(world.content(0, 12), "01 00 00 00 00 00 00 00 00 01 01 01");
  world.must_set("write_zeroes", "0");
  EXPECT_EQ(world.run(mq::Op::write_zeroes, 1, 8), Status::not_supported);
}

TEST(NullBlock, ZeroesReplaceWhatIsCachedDurably) {
  World world{"memory_backed=1,cache_size=1m,write_zeroes=1,blocksize=512"};
  EXPECT_EQ(world.write(0, 4, 1), Status::ok);
  EXPECT_EQ(world.run(mq::Op::flush, 0, 0), Status::ok);
  EXPECT_EQ(world.write(0, 4, 2), Status::ok);
  EXPECT_EQ(world.run(mq::Op::write_zeroes, 1, 2), Status::ok);
  EXPECT_EQ(world.content(0, 4), "02 00 00 02");
  world.cut_power();
  EXPECT_EQ(world.content(0, 4), "01 00 00 01");
}

TEST(NullBlock, LimitsSplitAndChangeWhileTheDiskIsUp) {
  World world{"blocksize=512"};
  EXPECT_EQ(world.write(0, 24, 1), Status::ok);
  EXPECT_EQ(world.take_ranges(), "0+24");
  world.must_set("max_sectors", "10");
  EXPECT_EQ(world.write(0, 24, 1), Status::ok);
  EXPECT_EQ(world.take_ranges(), "0+10 10+10 20+4");
  world.must_set("chunk_sectors", "8");
  EXPECT_EQ(world.write(4, 12, 1), Status::ok);
  EXPECT_EQ(world.take_ranges(), "4+4 8+8");
}

TEST(NullBlock, TheVirtBoundarySplitsAtPiecesThatDoNotMeetAtAPage) {
  World world{"blocksize=512"};
  std::vector<std::byte> memory(16384);
  std::byte* page = memory.data();
  while (reinterpret_cast<std::uintptr_t>(page) % 4096 != 0) ++page;
  const std::vector<blkown::Segment> pieces{{page, 512}, {page + 1024, 512}};
  EXPECT_EQ(world.write(0, pieces), Status::ok);
  EXPECT_EQ(world.take_ranges(), "0+2");
  world.must_set("virt_boundary", "1");
  EXPECT_EQ(world.write(0, pieces), Status::ok);
  EXPECT_EQ(world.take_ranges(), "0+1 1+1");
}

TEST(NullBlock, RefusedLimitsNameTheParameter) {
  World world{"blocksize=4096"};
  world.must_refuse("max_sectors", "4",
                    "max_sectors=4: too small; max_sectors is 4, the limit is 8");
  world.must_refuse("chunk_sectors", "12",
                    "chunk_sectors=12: not a multiple of the limit; chunk_sectors is 12, the limit"
                    " is 8");
  world.must_refuse("blocksize", "512",
                    "blocksize=512: the disk is up; give it when the disk is made");
  EXPECT_EQ(world.write(0, 24, 1), Status::ok);
  EXPECT_EQ(world.take_ranges(), "0+24") << "nothing has changed";
  const auto made = world.make("discard=1,discard_alignment=4k");
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().text,
            "discard_alignment=4096: too large; discard_alignment_sectors is 8, the limit is 0");
}

// --- bad blocks ----------------------------------------------------------------------------------

TEST(NullBlock, BadBlocksFailUntilTheyAreCleared) {
  World world{"memory_backed=1,blocksize=512"};
  world.must_set("badblocks", "+8-15");
  EXPECT_EQ(world.write(0, 8, 1), Status::ok);
  EXPECT_EQ(world.write(7, 2, 2), Status::io_error);
  EXPECT_EQ(world.run(mq::Op::read, 15, 1), Status::io_error);
  EXPECT_EQ(world.run(mq::Op::read, 16, 1), Status::ok);
  EXPECT_EQ(world.content(7, 1), "01") << "nothing of the failed write";
  world.must_set("badblocks", "-10-12");
  EXPECT_EQ(world.disk->device().bad_blocks.text(), "8-9 13-15");
  EXPECT_EQ(world.run(mq::Op::read, 10, 3), Status::ok);
  EXPECT_EQ(world.run(mq::Op::read, 9, 1), Status::io_error);
  EXPECT_EQ(world.run(mq::Op::read, 13, 1), Status::io_error);
  world.must_set("badblocks", "+0-20");
  world.must_set("badblocks", "-0-20");
  EXPECT_EQ(world.run(mq::Op::read, 0, 24), Status::ok);
  for (const char* const wrong : {"", "8-15", "+8", "+9-8", "+x-8", "+1-2k"}) {
    world.must_refuse(
        "badblocks", wrong,
        std::string{"badblocks="} + wrong + ": give +FIRST-LAST or -FIRST-LAST, in sectors");
  }
}

// Goal: ranges that touch are one, so that an I/O meets all of its bad sectors at once.
TEST(NullBlock, BadBlocksThatTouchAreOneRange) {
  World world{"badblocks_once=1,blocksize=512"};
  for (const char* const range : {"+8-15", "+20-23", "+12-17", "+18-19", "+0-1", "+30-30"})
    world.must_set("badblocks", range);
  EXPECT_EQ(world.disk->device().bad_blocks.text(), "0-1 8-23 30-30");
  EXPECT_EQ(world.run(mq::Op::read, 4, 24), Status::io_error);
  EXPECT_EQ(world.run(mq::Op::read, 4, 24), Status::ok) << "all that the read has met is good";
  EXPECT_EQ(world.disk->device().bad_blocks.text(), "0-1 30-30");
  world.must_set("badblocks", "+0-30");
  EXPECT_EQ(world.disk->device().bad_blocks.text(), "0-30");
}

TEST(NullBlock, BadBlocksWithoutMemoryFailToo) {
  World world{""};
  world.must_set("badblocks", "+8-8");
  EXPECT_EQ(world.run(mq::Op::read, 8, 8), Status::io_error);
}

TEST(NullBlock, BadBlocksFailEachOperationWithARange) {
  World world{"memory_backed=1,discard=1,write_zeroes=1,cache_size=1m"};
  world.must_set("badblocks", "+8-8");
  for (const mq::Op op : {mq::Op::read, mq::Op::write, mq::Op::discard, mq::Op::write_zeroes}) {
    EXPECT_EQ(world.run(op, 8, 8), Status::io_error) << to_string(op);
    EXPECT_EQ(world.run(op, 0, 8), Status::ok) << to_string(op);
  }
  EXPECT_EQ(world.run(mq::Op::flush, 0, 0), Status::ok);
}

TEST(NullBlock, BadBlocksOnceAreGoodAfterTheirError) {
  World world{"badblocks_once=1,blocksize=512"};
  world.must_set("badblocks", "+8-15");
  EXPECT_EQ(world.run(mq::Op::read, 0, 10), Status::io_error);
  EXPECT_EQ(world.run(mq::Op::read, 0, 10), Status::ok) << "what the read has touched";
  EXPECT_EQ(world.run(mq::Op::read, 10, 1), Status::io_error);
}

TEST(NullBlock, PartialIoMovesWhatLiesBeforeTheBadBlock) {
  World world{"memory_backed=1,badblocks_partial_io=1,blocksize=1k"};
  world.must_set("badblocks", "+5-5");
  EXPECT_EQ(world.write(0, 8, 1), Status::io_error);
  world.must_set("badblocks", "-5-5");
  EXPECT_EQ(world.content(0, 8), "01 01 01 01 00 00 00 00") << "whole blocks";
  world.must_set("badblocks", "+2-3");
  const auto bio = world.start(mq::Op::read, 0, 8);
  EXPECT_EQ(bio->status(), Status::io_error);
  EXPECT_EQ(std::to_integer<int>(bio->memory[1023]), 1);
  EXPECT_EQ(std::to_integer<int>(bio->memory[1024]), 0xEE);
}

// Goal: a change waits for the requests in flight, which see the old values to their end.
TEST(NullBlock, AChangeWaitsForWhatIsInFlight) {
  World world{"completion=softirq"};
  struct Seen {
    World& world;
    mq::Bio bio{};
    std::uint64_t seed = 0;
  } seen{world};
  std::vector<std::byte> memory(4096);
  seen.bio.set_read(0, blkown::Segment{memory.data(), memory.size()},
                    {[](void* self, mq::Bio&) {
                       auto& its = *static_cast<Seen*>(self);
                       its.seed = its.world.disk->config().fault_seed;
                     },
                     &seen});
  world.disk->disk().submit(world.runtime.context(0), seen.bio);
  EXPECT_EQ(seen.seed, 0U) << "it is in flight";
  world.must_set("fault_seed", "5");
  EXPECT_EQ(seen.seed, 1U);
}

// --- the bandwidth -------------------------------------------------------------------------------

/// Checks the bytes that pass in 10 s with mbps=10: 64 KiB at a time, 8 in flight.
void check_bandwidth(std::string_view parameters) {
  World world{parameters};
  const std::uint64_t start_ns = world.now_ns;
  std::vector<std::unique_ptr<null_world::TestBio>> bios(8);
  std::uint64_t ended_bytes = 0;
  while (world.now_ns < start_ns + 10'000'000'000) {
    for (auto& each : bios) {
      while (each == nullptr || each->has_ended) {
        if (each != nullptr) ended_bytes += 65536;
        each = world.start(mq::Op::read, 0, 128);
      }
    }
    const auto next = world.runtime.next_timer_ns();
    ASSERT_TRUE(next.has_value()) << "the queues are stopped, and nothing starts them";
    world.now_ns = std::max(*next, world.now_ns);
    world.runtime.run();
  }
  EXPECT_GE(ended_bytes, std::uint64_t{100} << 20);
  EXPECT_LE(ended_bytes, (std::uint64_t{100} << 20) + (10 << 20) / 50 + 65536);
  for (auto& each : bios) world.finish(*each);
}

TEST(NullBlock, TheBandwidthIsExactOnTheVirtualClock) { check_bandwidth("mbps=10"); }

// Goal: a request that is requeued pays once.
TEST(NullBlock, TheBandwidthIsExactWithRequeues) {
  check_bandwidth("mbps=10,requeue_probability=50");
}

TEST(NullBlock, ARequestLongerThanATickOfTheBandwidthPasses) {
  World world{"mbps=1"};
  const std::uint64_t start_ns = world.now_ns;
  for (int i = 0; i != 3; ++i) EXPECT_EQ(world.run(mq::Op::read, 0, 2048), Status::ok);
  // 2 MiB are paid for when the third passes.
  EXPECT_GE(world.now_ns - start_ns, 1'980'000'000U);
  EXPECT_LE(world.now_ns - start_ns, 2'020'000'000U);
}

TEST(NullBlock, WritesPayForTheBandwidthAndFlushesDoNot) {
  World world{"mbps=1,memory_backed=1,cache_size=1m"};
  EXPECT_TRUE(world.start(mq::Op::write, 0, 2048)->has_ended);
  EXPECT_TRUE(world.start(mq::Op::flush, 0, 0)->has_ended);
  const auto waits = world.start(mq::Op::write, 0, 8);
  EXPECT_FALSE(waits->has_ended);
  const std::uint64_t start_ns = world.now_ns;
  world.finish(*waits);
  EXPECT_GE(world.now_ns - start_ns, 980'000'000U);
}

TEST(NullBlock, NoBurstFollowsAPauseOfTheBandwidth) {
  World world{"mbps=10"};
  const auto count_at_once = [&] {
    std::vector<std::unique_ptr<null_world::TestBio>> bios;
    do {
      bios.push_back(world.start(mq::Op::read, 0, 8));
    } while (bios.back()->has_ended);
    world.finish(*bios.back());
    return bios.size() - 1;
  };
  const std::size_t first = count_at_once();
  EXPECT_EQ(first, (10'485'760 / 50 + 4095) / 4096) << "a tick's bytes";
  world.pass(10'000'000'000);
  EXPECT_LE(count_at_once(), first);
}

// Goal: the requests of all queues wait, and none is tried again and again.
TEST(NullBlock, TheBandwidthStopsAndStartsAllQueues) {
  World world{"mbps=1,submit_queues=2", 2};
  const auto stopped = [&] {
    std::string text;
    for (std::uint32_t i = 0; i != 2; ++i)
      text += world.disk->disk().hw_queue(blkown::QueueIndex{i}).is_stopped() ? "1" : "0";
    return text;
  };
  for (const std::uint32_t first : {0U, 1U}) {
    world.finish(*world.start(mq::Op::read, 0, 2048, {}, {}, first));
    EXPECT_EQ(stopped(), "00");
    const auto held = world.start(mq::Op::read, 0, 8, {}, {}, first);
    world.runtime.run();
    EXPECT_EQ(stopped(), "11");
    const auto waits = world.start(mq::Op::read, 0, 8, {}, {}, 1 - first);
    world.finish(*held);
    world.finish(*waits);
    EXPECT_EQ(stopped(), "00");
  }
}

TEST(NullBlock, TheBandwidthChangesWhileBiosWait) {
  World world{"mbps=1"};
  EXPECT_EQ(world.run(mq::Op::read, 0, 2048), Status::ok);
  const auto waits = world.start(mq::Op::read, 0, 2048);
  EXPECT_FALSE(waits->has_ended);
  world.must_set("mbps", "0");
  const std::uint64_t start_ns = world.now_ns;
  world.finish(*waits);
  EXPECT_LE(world.now_ns - start_ns, 5'000'000U) << "not the alarm of the old bandwidth";
  EXPECT_TRUE(world.start(mq::Op::read, 0, 2048)->has_ended);
}

// Goal: the alarm of the old bandwidth, here due in 32 s, does not delay what the new one holds
// back.
TEST(NullBlock, AChangedBandwidthHoldsBackForItsOwnTime) {
  World world{"mbps=1,max_sectors=65536"};
  EXPECT_EQ(world.run(mq::Op::read, 0, 65536), Status::ok);
  const auto held = world.start(mq::Op::read, 0, 8);
  EXPECT_FALSE(held->has_ended);
  const std::uint64_t start_ns = world.now_ns;
  world.must_set("mbps", "100");
  world.finish(*held);
  EXPECT_EQ(world.run(mq::Op::read, 0, 65536), Status::ok);
  EXPECT_EQ(world.run(mq::Op::read, 0, 8), Status::ok);
  EXPECT_EQ(world.now_ns - start_ns, 320'000'000U) << "32 MiB at 100 MiB/s";
}

TEST(NullBlock, ADiskIsRemovedWhileItsBandwidthHoldsBiosBack) {
  World world{"mbps=1"};
  EXPECT_EQ(world.run(mq::Op::read, 0, 2048), Status::ok);
  const auto waits = world.start(mq::Op::read, 0, 2048);
  world.disk.reset();
  EXPECT_EQ(waits->status(), Status::offline);
}

// --- faults --------------------------------------------------------------------------------------

TEST(NullBlock, ALostRequestTimesOutAndNotEarlier) {
  World world{"timeout_ms=100,timeout_probability=100,timeout_interval=2,timeout_times=1"};
  EXPECT_EQ(world.run(mq::Op::read, 0, 8), Status::ok);
  const std::uint64_t start_ns = world.now_ns;
  EXPECT_EQ(world.run(mq::Op::read, 0, 8), Status::timed_out);
  EXPECT_GE(world.now_ns - start_ns, 100'000'000U);
  EXPECT_LE(world.now_ns - start_ns, 300'000'000U) << "timeout_ms, and not its default";
  for (int i = 0; i != 4; ++i) EXPECT_EQ(world.run(mq::Op::read, 0, 8), Status::ok) << "once";
}

TEST(NullBlock, FaultsRequeueRequestsInBothWaysAndEachEnds) {
  World world{"requeue_probability=50,memory_backed=1,blocksize=512"};
  for (unsigned i = 0; i != 200; ++i) EXPECT_EQ(world.write(i, 1, i), Status::ok);
  EXPECT_EQ(world.content(98, 2), "62 63");
  EXPECT_GT(world.disk->device().requeues.faults(), 100U);
  EXPECT_GT(world.disk->disk().counters().requeued_requests, 50U) << "the driver's own";
}

/// What became of each read: a dot, or the steps by which it came back: r a refusal, q a requeue.
std::string requeues_of(std::string_view parameters) {
  World world{parameters};
  std::string seen;
  world.disk->disk().set_trace({[](void* text, const mq::TraceEvent& event) {
                                  auto& steps = *static_cast<std::string*>(text);
                                  if (event.step == mq::TraceStep::rejected) steps += 'r';
                                  if (event.step == mq::TraceStep::requeued) steps += 'q';
                                },
                                &seen});
  for (int i = 0; i != 12; ++i) {
    EXPECT_EQ(world.run(mq::Op::read, 0, 8), Status::ok);
    seen += '.';
  }
  return seen;
}

TEST(NullBlock, RequeuesKeepTheirIntervalTheirNumberAndTheirTurns) {
  EXPECT_EQ(requeues_of("requeue_probability=100,requeue_interval=3"), "..q..rq..q..rq..q..");
  EXPECT_EQ(requeues_of("requeue_probability=100,requeue_interval=3,requeue_times=2"),
            "..q..rq........");
  EXPECT_EQ(requeues_of("requeue_probability=100,requeue_times=5"), "qrqqrqq............");
}

// Goal: a change of something else is none of a fault's or of the bandwidth's.
TEST(NullBlock, AFaultAndTheBandwidthBeginAgainWithTheirOwnParametersOnly) {
  World world{"requeue_probability=100,requeue_times=1,mbps=1"};
  null_block::Device& device = world.disk->device();
  EXPECT_EQ(world.run(mq::Op::read, 0, 2048), Status::ok);
  world.must_set("timeout_interval", "2");
  world.must_set("fault_seed", "1");
  EXPECT_EQ(device.requeues.faults(), 1U);
  const auto held = world.start(mq::Op::read, 0, 8);
  EXPECT_FALSE(held->has_ended) << "the read before it is not paid for";
  for (const char* const key : {"requeue_interval", "requeue_times", "fault_seed"}) {
    world.must_set(key, "3");
    EXPECT_EQ(device.requeues.faults(), 0U) << key;
    for (int chance = 1; chance <= 3; ++chance) EXPECT_EQ(device.requeues.fires(), chance == 3);
  }
  world.must_set("mbps", "2");
  const std::uint64_t start_ns = world.now_ns;
  world.finish(*held);
  EXPECT_LE(world.now_ns - start_ns, 5'000'000U);
}

TEST(NullBlock, EachKindOfFaultHasItsOwnSequenceOfTheSeed) {
  const auto sequence = [](null_block::FaultPoint& point) {
    std::string seen;
    for (int i = 0; i != 64; ++i) seen += point.fires() ? 'x' : '.';
    return seen;
  };
  const auto sequences = [&](std::string_view seed) {
    World world{"timeout_probability=50,requeue_probability=50,init_hctx_times=1"};
    world.must_set("init_hctx_probability", "50");
    world.must_set("init_hctx_times", "0");
    world.must_set("fault_seed", seed);
    null_block::Device& device = world.disk->device();
    return std::array{sequence(device.timeouts), sequence(device.requeues),
                      sequence(device.init_hctx)};
  };
  const auto first = sequences("7");
  EXPECT_EQ(sequences("7"), first);
  EXPECT_NE(first[0], first[1]);
  EXPECT_NE(first[0], first[2]);
  EXPECT_NE(first[1], first[2]);
  const auto other = sequences("70");
  for (std::size_t i = 0; i != first.size(); ++i) EXPECT_NE(other[i], first[i]) << i;
}

TEST(NullBlock, ASeedRepeatsTheFaults) {
  const auto run = [](const char* text) {
    World world{text};
    std::string seen;
    for (int i = 0; i != 100; ++i) {
      seen += world.run(mq::Op::read, 0, 8) == Status::ok ? '.' : 'x';
    }
    return seen;
  };
  const std::string first = run("timeout_probability=20,fault_seed=7");
  EXPECT_EQ(run("timeout_probability=20,fault_seed=7"), first);
  EXPECT_NE(run("timeout_probability=20,fault_seed=8"), first);
  EXPECT_NE(first.find('x'), first.npos);
}

TEST(NullBlock, AQueueThatCannotBePutIntoUseIsAnError) {
  World world{""};
  const auto made = world.make("init_hctx_probability=100");
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().text, "init_hctx_probability=100: the queue was refused");
  world.must_set("init_hctx_probability", "100");
  world.must_refuse("submit_queues", "2", "submit_queues=2: a queue was refused: resource");
  EXPECT_EQ(world.disk->config().submit_queues, 1U);
  EXPECT_EQ(world.run(mq::Op::read, 0, 8), Status::ok) << "the first queue works";
}

TEST(NullBlock, RefusalsOfQueuesKeepTheirIntervalAndTheirNumber) {
  World world{"max_submit_queues=4"};
  world.must_set("init_hctx_interval", "3");
  world.must_set("init_hctx_times", "1");
  world.must_set("init_hctx_probability", "100");
  world.must_refuse("submit_queues", "4", "submit_queues=4: a queue was refused: resource");
  world.must_set("submit_queues", "4");  // once
  World twice{""};
  twice.must_set("init_hctx_times", "2");
  twice.must_set("init_hctx_probability", "100");
  for (int i = 0; i != 2; ++i)
    twice.must_refuse("submit_queues", "2", "submit_queues=2: a queue was refused: resource");
  twice.must_set("submit_queues", "2");
  World few{"init_hctx_probability=100,init_hctx_interval=2,max_submit_queues=2"};
  few.must_refuse("submit_queues", "2", "submit_queues=2: a queue was refused: resource");
  few.must_set("submit_queues", "2");
}

// --- queues --------------------------------------------------------------------------------------

TEST(NullBlock, NeighbouringContextsShareAQueueAndTheNumberChanges) {
  World world{"submit_queues=2", 4};
  const auto on_each = [&] {
    for (std::uint32_t i = 0; i != 4; ++i) {
      world.finish(*world.start(mq::Op::read, 0, 8, {}, {}, i));
    }
    return world.take_queues();
  };
  EXPECT_EQ(on_each(), "0 0 1 1");
  world.must_set("submit_queues", "4");
  EXPECT_EQ(on_each(), "0 1 2 3");
  world.must_set("submit_queues", "1");
  EXPECT_EQ(on_each(), "0 0 0 0");
  world.must_refuse("submit_queues", "17", "submit_queues=17: give at most max_submit_queues=16");
}

TEST(NullBlock, TheNumberOfQueuesChangesUnderLoad) {
  World world{"submit_queues=4,completion=softirq,hw_queue_depth=2", 4};
  std::vector<std::unique_ptr<null_world::TestBio>> bios;
  for (const char* const count : {"1", "3", "4", "2"}) {
    for (std::uint32_t i = 0; i != 40; ++i) {
      bios.push_back(world.start(mq::Op::read, 0, 8, {}, {}, i % 4));
    }
    world.must_set("submit_queues", count);
  }
  for (auto& each : bios) {
    world.finish(*each);
    EXPECT_EQ(each->status(), Status::ok);
  }
}

TEST(NullBlock, AQueueForEachNodeReplacesTheNumberGiven) {
  World world{"use_per_node_hctx=1,submit_queues=3,max_submit_queues=3", 3};
  EXPECT_EQ(world.disk->disk().config().normal_queues, null_block::node_count());
  EXPECT_EQ(world.disk->config().submit_queues, null_block::node_count()) << "as show tells";
  EXPECT_EQ(null_block::count_nodes("0\n"), 1U);
  EXPECT_EQ(null_block::count_nodes("0-3\n"), 4U);
  EXPECT_EQ(null_block::count_nodes("0,2-3,8\n"), 4U);
  EXPECT_EQ(null_block::count_nodes(""), 1U);
  EXPECT_EQ(null_block::count_nodes("no nodes\n"), 1U);
  // The number can be changed from there: it was a number of nodes, and not 3.
  world.must_set("submit_queues", "3");
  for (std::uint32_t i = 0; i != 3; ++i) {
    world.finish(*world.start(mq::Op::read, 0, 8, {}, {}, i));
  }
  EXPECT_EQ(world.take_queues(), "0 1 2");
}

TEST(NullBlock, APolledBioEndsWhenItIsPolledForAndABatchAtATime) {
  World world{"poll_queues=1"};
  std::vector<std::unique_ptr<null_world::TestBio>> bios;
  for (int i = 0; i != 5; ++i) {
    bios.push_back(world.start(mq::Op::read, 0, 8, {}, {.polled = true}));
  }
  world.runtime.run();
  for (auto& each : bios) EXPECT_FALSE(each->has_ended);
  EXPECT_TRUE(world.start(mq::Op::read, 0, 8)->has_ended) << "not polled";
  EXPECT_EQ(world.disk->disk().poll(world.runtime.context(0)), 5U);
  world.runtime.run();
  for (auto& each : bios) EXPECT_TRUE(each->has_ended);
}

TEST(NullBlock, ThereAreAsManyPollQueuesAsAreAskedFor) {
  World world{"submit_queues=1,max_submit_queues=1,poll_queues=2", 2};
  EXPECT_EQ(world.disk->disk().hw_queue_count(), 3U);
  for (const std::uint32_t context : {0U, 1U}) {
    const auto bio = world.start(mq::Op::read, 0, 8, {}, {.polled = true}, context);
    world.finish(*bio);
    EXPECT_EQ(bio->status(), Status::ok);
  }
  EXPECT_EQ(world.take_queues(), "1 2");
}

TEST(NullBlock, TheDepthBoundsTheRequestsInFlight) {
  World world{"completion=timer,hw_queue_depth=2"};
  std::vector<std::unique_ptr<null_world::TestBio>> bios;
  for (int i = 0; i != 3; ++i) bios.push_back(world.start(mq::Op::read, 0, 8));
  EXPECT_EQ(world.disk->disk().counters().in_flight(), 2U);
  for (auto& each : bios) world.finish(*each);
}

TEST(NullBlock, WithASharedTagBitmapTheQueuesHaveOneSetOfTags) {
  for (const bool is_shared : {false, true}) {
    World world{is_shared ? "completion=timer,hw_queue_depth=2,submit_queues=2,shared_tag_bitmap=1"
                          : "completion=timer,hw_queue_depth=2,submit_queues=2",
                2};
    std::vector<std::unique_ptr<null_world::TestBio>> bios;
    for (std::uint32_t i = 0; i != 4; ++i) {
      bios.push_back(world.start(mq::Op::read, 0, 8, {}, {}, i / 2));
    }
    EXPECT_EQ(world.disk->disk().counters().in_flight(), is_shared ? 2U : 4U);
    for (auto& each : bios) world.finish(*each);
  }
}

TEST(NullBlock, WithSharedTagsTwoDisksDrawFromOneSet) {
  auto pool = null_block::TagPool::create(
      {.queue_count = 1, .depth = 4, .layout = blkown::CookieLayout::nbd()});
  ASSERT_TRUE(pool.has_value());
  World world{"shared_tags=1,completion=timer", 1, pool->get()};
  auto second = world.make("shared_tags=1", pool->get());
  ASSERT_TRUE(second.has_value()) << second.error().text;
  std::vector<std::unique_ptr<null_world::TestBio>> bios;
  for (int i = 0; i != 4; ++i) bios.push_back(world.start(mq::Op::read, 0, 8));
  null_world::TestBio other{4096, {}};
  other.bio.set_read(0, blkown::Segment{other.memory.data(), 4096}, other.on_end());
  (*second)->disk().submit(world.runtime.context(0), other.bio);
  EXPECT_FALSE(other.has_ended) << "the first disk has all tags";
  for (auto& each : bios) world.finish(*each);
  world.runtime.run();
  EXPECT_TRUE(other.has_ended);
  const auto alone = world.make("shared_tags=1");
  ASSERT_FALSE(alone.has_value());
  EXPECT_EQ(alone.error().text, "shared_tags=1: there is no set of tags to share");
  const auto told = [&] {
    return null_block::answer_to(*world.disk, "show").contains("disks_with_these_tags=2\n");
  };
  EXPECT_TRUE(told());
  second->reset();
  EXPECT_FALSE(told());
  world.disk.reset();
}

// Goal: the disks of a process with shared_tags=1 get one set, and only they.
TEST(NullBlock, TheFirstDiskDecidesWhatTheSharedTagsAreLike) {
  const auto config_of = [](std::string_view text) { return *null_block::parse_config(text); };
  null_block::SharedTags tags;
  EXPECT_EQ(tags.pool_for(config_of("")), nullptr);
  const auto first =
      tags.pool_for(config_of("shared_tags=1,hw_queue_depth=5,max_submit_queues=3,poll_queues=1"));
  ASSERT_TRUE(first.has_value());
  World world{"shared_tags=1,hw_queue_depth=5,max_submit_queues=3,poll_queues=1", 1, *first};
  EXPECT_EQ((*first)->tags().depth(), 5U);
  EXPECT_EQ((*first)->tags().queue_count(), 4U);
  const auto pool_of = [&](std::string_view more) {
    return tags.pool_for(config_of("shared_tags=1," + std::string{more}));
  };
  EXPECT_EQ(pool_of("hw_queue_depth=5,max_submit_queues=3,poll_queues=1,submit_queues=2"), *first);
  const auto other = pool_of("max_submit_queues=3,poll_queues=1");
  ASSERT_FALSE(other.has_value());
  EXPECT_EQ(other.error().text,
            "hw_queue_depth=64: give hw_queue_depth=5, as the first disk with shared_tags=1");
  EXPECT_FALSE(pool_of("hw_queue_depth=5,max_submit_queues=4,poll_queues=1").has_value());
  EXPECT_FALSE(pool_of("hw_queue_depth=5,max_submit_queues=3").has_value());
  EXPECT_EQ(tags.pool_for(config_of("")), nullptr);
  null_block::SharedTags bitmap;
  EXPECT_EQ(
      (*bitmap.pool_for(config_of("shared_tags=1,shared_tag_bitmap=1")))->tags().queue_count(), 1U);
}

// Goal: a disk that was not made, or that is gone, does not decide for those that follow.
TEST(NullBlock, SharedTagsWithoutADiskAreReplaced) {
  null_block::SharedTags tags;
  mq::LoopRuntime runtime;
  using Disk = null_block::NullDisk<mq::LoopRuntime>;
  const auto make =
      [&](std::string_view text) -> std::expected<std::unique_ptr<Disk>, null_block::ConfigError> {
    const auto config = *null_block::parse_config(text);
    const auto pool = tags.pool_for(config);
    if (!pool) return std::unexpected(pool.error());
    return Disk::create(config, runtime, *pool);
  };
  EXPECT_FALSE(make("shared_tags=1,hw_queue_depth=8,init_hctx_probability=100").has_value());
  {
    const auto first = make("shared_tags=1,hw_queue_depth=16");
    ASSERT_TRUE(first.has_value()) << first.error().text;
    EXPECT_FALSE(make("shared_tags=1,hw_queue_depth=8").has_value());
    EXPECT_EQ((*first)->disk().pool().tags().depth(), 16U);
  }
  EXPECT_TRUE(make("shared_tags=1,hw_queue_depth=8").has_value());
}

TEST(NullBlock, ABlockingDriverIsCalledInTheContextsWork) {
  World world{"blocking=1"};
  const auto bio = world.start(mq::Op::read, 0, 8);
  EXPECT_FALSE(bio->has_ended);
  world.runtime.run();
  EXPECT_TRUE(bio->has_ended);
}

TEST(NullBlock, APlugsBiosComeAsOneBatch) {
  World world{""};
  std::vector<std::unique_ptr<null_world::TestBio>> bios;
  {
    const null_block::Disk::Plug plug{world.disk->disk(), world.runtime.context(0)};
    for (int i = 0; i != 5; ++i) bios.push_back(world.start(mq::Op::read, 0, 8));
  }
  for (auto& each : bios) EXPECT_TRUE(each->has_ended);
  EXPECT_EQ(world.disk->disk().hw_queue(blkown::QueueIndex{0}).data.batches, 1U);
}

TEST(NullBlock, PagesComeFromTheHomeNode) {
  World world{""};
  const auto made = world.make("home_node=1023");
  ASSERT_FALSE(made.has_value());
  EXPECT_TRUE(made.error().text.starts_with("home_node=1023: the machine has no such node"))
      << made.error().text;
  World on_node{"home_node=0,memory_backed=1"};
  EXPECT_EQ(on_node.write(0, 8, 1), Status::ok);
  const std::byte* page = nullptr;
  EXPECT_EQ(on_node.disk->device().store->read(
                0, 4096, [&](const std::byte* from, std::size_t) { page = from; }),
            Status::ok);
  ASSERT_NE(page, nullptr);
  int mode = 0;
  if (syscall(SYS_get_mempolicy, &mode, nullptr, 0UL, page, 2UL) == 0) {
    EXPECT_EQ(mode, 2) << "MPOL_BIND";
  } else {
    // A kernel without nodes, or a container that may not ask: the page is an ordinary one.
    EXPECT_TRUE(errno == ENOSYS || errno == EPERM) << errno;
  }
}

TEST(NullBlock, ARotationalDiskSaysSo) {
  EXPECT_TRUE(World{"rotational=1"}.disk->disk().config().rotational);
  EXPECT_FALSE(World{"rotational=0"}.disk->disk().config().rotational);
}

TEST(NullBlock, WithoutASchedulerBiosAreIssuedInTheOrderOfTheirSubmits) {
  World world{"no_sched=1,completion=timer,hw_queue_depth=1"};
  std::vector<std::unique_ptr<null_world::TestBio>> bios;
  for (const unsigned sector : {64U, 0U, 72U, 8U})
    bios.push_back(world.start(mq::Op::read, sector, 8));
  for (auto& each : bios) world.finish(*each);
  EXPECT_EQ(world.take_ranges(), "64+8 0+8 72+8 8+8");
  EXPECT_EQ(error_of("no_sched=0"), "no_sched=0: give a whole number 1");
}

TEST(NullBlock, ACommandThatTheDiskCannotObeyIsAnError) {
  World world{""};
  for (const char* const line : {"power off", "power on", "power off 3"}) {
    EXPECT_EQ(null_block::answer_to(*world.disk, line), "error: power: needs memory_backed=1\n");
  }
  World with_memory{"memory_backed=1"};
  for (const char* const line :
       {"power", "power down", "power on 1", "power off x", "power off -1", "power off 1 2"}) {
    EXPECT_EQ(null_block::answer_to(*with_memory.disk, line),
              "error: power: give on, off, or off SEED\n");
  }
  for (const char* const line : {"", " ", "set", "set mbps", "set mbps 1 2", "show all", "Show"}) {
    const std::string answer = null_block::answer_to(*world.disk, line);
    EXPECT_TRUE(answer.starts_with("error: ")) << answer;
    EXPECT_EQ(std::ranges::count(answer, '\n'), 1) << answer;
  }
}

TEST(NullBlock, AShowHasTheStateAndTheCounters) {
  World world{
      "memory_backed=1,cache_size=1m,timeout_ms=100,timeout_probability=100,timeout_interval=3,"
      "timeout_times=1,requeue_probability=100,requeue_times=1"};
  world.must_set("badblocks", "+80-87");
  EXPECT_EQ(world.write(0, 8, 1), Status::ok);
  EXPECT_EQ(world.write(8, 16, 1), Status::ok);
  EXPECT_EQ(world.run(mq::Op::read, 0, 8), Status::timed_out);
  EXPECT_EQ(world.run(mq::Op::read, 80, 8), Status::io_error);
  EXPECT_EQ(null_block::answer_to(*world.disk, "set completion timer"), "ok\n");
  const auto in_flight = world.start(mq::Op::read, 0, 8);
  const std::string text = "\n" + null_block::answer_to(*world.disk, "show");
  for (const char* const line :
       {"badblocks=80-87", "power=on", "memory_used=12288", "cached=12288", "bios_ended=4",
        "requests_in_flight=1", "requests_timed_out=1", "requests_requeued=1", "ended_ok=2",
        "ended_timed_out=1", "ended_io_error=1"}) {
    EXPECT_TRUE(text.contains("\n" + std::string{line} + "\n")) << line << text;
  }
  EXPECT_FALSE(text.contains("ended_offline")) << "none has";
  world.finish(*in_flight);
}

TEST(NullBlock, AShowHasEachParameter) {
  World world{"size=1m,completion=timer"};
  const std::string text = "\n" + null_block::answer_to(*world.disk, "show");
  for (const null_block::Parameter& each : null_block::parameters)
    EXPECT_TRUE(text.contains("\n" + std::string{each.key} + "=")) << each.key;
  EXPECT_TRUE(text.contains("\nsize=1048576\n")) << text;
  EXPECT_TRUE(text.contains("\ncompletion=timer\n")) << text;
  EXPECT_TRUE(text.contains("\nhome_node=none\n")) << text;
  EXPECT_TRUE(text.ends_with("\nok\n")) << text;
}

}  // namespace
