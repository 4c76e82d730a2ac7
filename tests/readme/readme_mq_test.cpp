// SPDX-License-Identifier: BSL-1.0
//
// The block layer README's driver and submitter, as printed there.

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include BLKOWN_README_PROGRAM

namespace {

struct Event {
  static void set(void* event, mq::Control&) { static_cast<mq::Event*>(event)->set(); }
};

TEST(ReadmeRamDisk, ReadsWhatWasWritten) {
  mq::LoopRuntime runtime;
  RamDisk driver;
  auto made = mq::Disk<RamDisk>::create({.capacity_sectors = 64}, driver, runtime,
                                        {std::vector<std::byte>(64 * 512)});
  ASSERT_TRUE(made.has_value());
  auto disk = *std::move(made);
  EXPECT_TRUE(round_trip(driver, runtime, *disk));
  EXPECT_EQ(disk->counters().ended(blkown::Status::ok), 2U);
  driver.interrupt(disk->hw_queue(0), 12345);
  blkown::Word refused = 0;
  for (const blkown::Word count : disk->counters().rejected_lookups) refused += count;
  EXPECT_EQ(refused, 1U);

  mq::Event gone;
  mq::Control removal{{&Event::set, &gone}};
  disk->remove(removal);
  EXPECT_TRUE(runtime.wait_for(gone));
}

// Goal: a full ring is not an error, and what the device forgets times out.
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
  std::vector<std::unique_ptr<mq::Bio>> bios;
  for (int i = 0; i != 70; ++i) {
    bios.emplace_back(new mq::Bio(mq::Bio::read(
        0, blkown::Segment{memory.data(), 512},
        {[](void*, mq::Bio& bio) { ++(bio.status() == blkown::Status::ok ? good : timed_out); },
         nullptr})));
    disk->submit(runtime.context(0), *bios.back());
  }
  auto& ring = disk->hw_queue(0).data.ring;
  EXPECT_EQ(ring.size(), 64U);
  ring.erase(ring.begin());  // lost
  while (good != 69) {
    for (const std::uint64_t id : std::exchange(ring, {})) driver.interrupt(disk->hw_queue(0), id);
    runtime.run();
  }
  EXPECT_EQ(timed_out, 0);
  for (int i = 0; i != 200 && timed_out == 0; ++i) {
    now_ns += 1'000'000;
    runtime.run();
  }
  EXPECT_EQ(timed_out, 1);
  mq::Event gone;
  mq::Control removal{{&Event::set, &gone}};
  disk->remove(removal);
  EXPECT_TRUE(runtime.wait_for(gone));
}

}  // namespace
