// SPDX-License-Identifier: BSL-1.0
//
// Goal: the programs of the block layer's README work as printed: the driver, the functions that
// create and remove a disk, and the submitter.

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include BLKOWN_README_PROGRAM

namespace {

TEST(ReadmeRamDisk, ReadsWhatWasWritten) {
  mq::LoopRuntime runtime;
  RamDisk driver;
  auto disk = make_disk(driver, runtime, 64);
  ASSERT_NE(disk, nullptr);
  EXPECT_STREQ(disk->config().name, "ram0");
  EXPECT_TRUE(round_trip(driver, runtime, *disk));
  EXPECT_EQ(disk->counters().ended(blkown::Status::ok), 2U);
  driver.interrupt(disk->hw_queue(blkown::QueueIndex{0}), 12345);
  blkown::Word refused = 0;
  for (const blkown::Word count : disk->counters().rejected_lookups) refused += count;
  EXPECT_EQ(refused, 1U);
  EXPECT_TRUE(remove_disk(runtime, std::move(disk)));
}

TEST(ReadmeRamDisk, PrintsTheFieldOfAWrongConfiguration) {
  mq::LoopRuntime runtime;
  RamDisk driver;
  testing::internal::CaptureStderr();
  EXPECT_EQ(make_disk(driver, runtime, 0), nullptr);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "disk 'ram0': capacity_sectors: too small\n");
}

// Goal: a full ring is not an error, and a request that the device loses times out.
TEST(ReadmeRamDisk, AFullRingAndALostAnswer) {
  static std::uint64_t now_ns = 1'000'000'000;
  mq::LoopRuntime runtime{
      1, {.argument = nullptr, .now_ns = [](void*) { return now_ns; }, .wake = nullptr}};
  RamDisk driver;
  auto disk = *mq::Disk<RamDisk>::create({.capacity_sectors = 64, .depth = 128, .timeout_ms = 100},
                                         driver, runtime, {std::vector<std::byte>(64 * 512)});
  static int timed_out = 0;
  static int good = 0;
  std::vector<std::byte> memory(512);
  std::vector<mq::Bio> bios(70);
  const auto count = [](void*, mq::Bio& bio) {
    ++(bio.status() == blkown::Status::ok ? good : timed_out);
  };
  for (mq::Bio& bio : bios) {
    bio.set_read(0, blkown::Segment{memory.data(), 512}, {.function = count});
    disk->submit(runtime.context(0), bio);
  }
  auto& ring = disk->hw_queue(blkown::QueueIndex{0}).data.ring;
  EXPECT_EQ(ring.size(), 64U);
  ring.erase(ring.begin());  // lost
  while (good != 69) {
    for (const std::uint64_t id : std::exchange(ring, {}))
      driver.interrupt(disk->hw_queue(blkown::QueueIndex{0}), id);
    runtime.run();
  }
  EXPECT_EQ(timed_out, 0);
  for (int i = 0; i != 200 && timed_out == 0; ++i) {
    now_ns += 1'000'000;
    runtime.run();
  }
  EXPECT_EQ(timed_out, 1);
  EXPECT_TRUE(remove_disk(runtime, std::move(disk)));
}

// Goal: a bio that another thread posts is submitted by the loop; the loop need not sleep long.
TEST(ReadmeRamDisk, SubmitsForAnotherThread) {
  mq::LoopRuntime runtime;
  RamDisk driver;
  auto disk = make_disk(driver, runtime, 64);
  ASSERT_NE(disk, nullptr);
  EXPECT_EQ(run_and_get_poll_ms(runtime), -1);
  auto bio = mq::Bio::flush({});
  Submission submission{*disk, runtime.context(0), bio};
  std::thread{[&] { submit_on_its_context(submission); }}.join();
  EXPECT_FALSE(bio.is_in_flight());
  const int poll_ms = run_and_get_poll_ms(runtime);  // until the next timeout scan
  EXPECT_GT(poll_ms, 0);
  EXPECT_LE(poll_ms, 30'001);
  auto& hw = disk->hw_queue(blkown::QueueIndex{0});
  for (const std::uint64_t id : std::exchange(hw.data.ring, {})) driver.interrupt(hw, id);
  runtime.run();
  EXPECT_EQ(bio.status(), blkown::Status::ok);
  EXPECT_TRUE(remove_disk(runtime, std::move(disk)));
}

// Goal: a reserved request is sent and ends, and without reserved tags there is none.
TEST(ReadmeRamDisk, SendsAKeepAlive) {
  mq::LoopRuntime runtime;
  RamDisk driver;
  for (const std::uint32_t reserved : {0U, 1U}) {
    auto disk = *mq::Disk<RamDisk>::create({.capacity_sectors = 64, .reserved_depth = reserved},
                                           driver, runtime, {std::vector<std::byte>(64 * 512)});
    unsigned ended = 0;
    const bool is_sent =
        send_keep_alive(*disk, runtime.context(0),
                        {[](void* its, auto&) { ++*static_cast<unsigned*>(its); }, &ended});
    EXPECT_EQ(is_sent, reserved != 0);
    auto& hw = disk->hw_queue(blkown::QueueIndex{0});
    for (const std::uint64_t id : std::exchange(hw.data.ring, {})) driver.interrupt(hw, id);
    runtime.run();
    EXPECT_EQ(ended, reserved);
    EXPECT_EQ(mq::remove(runtime, *disk), blkown::Status::ok);
  }
}

}  // namespace
