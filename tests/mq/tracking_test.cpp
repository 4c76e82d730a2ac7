// SPDX-License-Identifier: BSL-1.0
//
// Tests of the tracking build on a disk: the table of requests in flight lists the holders of each
// request.

#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mq/fake_driver.hpp"

namespace {

namespace mq = blkown::mq;
using blkown::Place;
using fake::Bench;
using fake::Read;
using Mode = fake::Driver::Mode;
using ARef = blkown::ARef<fake::Driver::Rq>;

Place next_to(Place here = Place::current()) { return here; }

/// The table's line for a pin that was taken in the source line after `place`.
std::string since(const Place& place) {
  return std::string{"  held since "} + place.file_name() + ":" + std::to_string(place.line() + 1) +
         ", " + place.function_name() + "\n";
}

std::string table_of(mq::Disk<fake::Driver>& disk) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file{std::tmpfile(), &std::fclose};
  disk.print_in_flight(file.get());
  std::rewind(file.get());
  std::string text;
  for (int c = std::fgetc(file.get()); c != EOF; c = std::fgetc(file.get())) {
    text += static_cast<char>(c);
  }
  return text;
}

}  // namespace

TEST(TrackedDisk, PrintsTheHoldersOfEachRequest) {
  Bench bench;
  bench.driver.next = {Mode::publish, Mode::publish};
  Read free{8}, held{9};
  bench.disk->submit(bench.context(), free.bio);
  bench.disk->submit(bench.context(), held.bio);
  auto& hw = bench.disk->hw_queue(blkown::QueueIndex{0});
  {
    const Place looked_up = next_to();
    const auto pin = hw.tag_to_rq(bench.driver.published[1].second);
    ASSERT_TRUE(pin.has_value());
    const Place copied = next_to();
    const ARef copy = *pin;
    const std::string row = "pins 2, read of 512 bytes at sector 9\n";
    const std::string table = table_of(*bench.disk);
    EXPECT_NE(table.find(row + since(looked_up) + since(copied)), std::string::npos) << table;
    EXPECT_NE(table.find("pins 0, read of 512 bytes at sector 8\n"), std::string::npos) << table;
    EXPECT_EQ(table.find("held since"), table.find(row) + row.size() + 2) << "for one row only";
  }
  EXPECT_EQ(table_of(*bench.disk).find("held since"), std::string::npos);
  bench.driver.reap(bench.data());
  bench.runtime.run();
}

// Goal: the table shows the pin that keeps an ended request.
TEST(TrackedDisk, PrintsThePinOfARequestThatHasEnded) {
  Bench bench;
  bench.driver.next = {Mode::publish};
  Read read;
  bench.disk->submit(bench.context(), read.bio);
  {
    auto claim =
        bench.disk->hw_queue(blkown::QueueIndex{0}).claim(bench.driver.published[0].second);
    ASSERT_TRUE(claim.has_value());
    const Place pinned = next_to();
    const ARef pin = claim->pin();
    std::move(*claim).end_ok();
    bench.runtime.run();
    EXPECT_EQ(read.ends.count, 0);
    const std::string table = table_of(*bench.disk);
    const std::string row = ": ended, pinned, pins 1, read of 512 bytes at sector 0\n";
    EXPECT_NE(table.find(row + since(pinned)), std::string::npos) << table;
  }
  bench.runtime.run();
  EXPECT_EQ(read.ends.count, 1);
}

TEST(TrackedDisk, AScanIsAHolderSinceItsCaller) {
  Bench bench;
  bench.driver.next = {Mode::publish};
  Read read;
  bench.disk->submit(bench.context(), read.bio);
  std::string table;
  const auto look = [&](const ARef&, const blkown::Cookie&) { table += table_of(*bench.disk); };
  const Place scanned = next_to();
  bench.disk->hw_queue(blkown::QueueIndex{0}).for_each_in_flight(look);
  EXPECT_NE(table.find(since(scanned)), std::string::npos) << table;
  bench.driver.reap(bench.data());
  bench.runtime.run();
}

TEST(TrackedDisk, ATimerHoldsSinceItsReferenceWasTaken) {
  Bench bench;
  bench.driver.next = {Mode::publish};
  Read read;
  bench.disk->submit(bench.context(), read.bio);
  int fired = 0;
  mq::Timer<ARef> timer{[](void* count, ARef&&) { ++*static_cast<int*>(count); }, &fired};
  auto& hw = bench.disk->hw_queue(blkown::QueueIndex{0});
  const Place looked_up = next_to();
  auto pin = hw.tag_to_rq(bench.driver.published[0].second);
  ASSERT_TRUE(pin.has_value());
  timer.arm(bench.context(), 1'000'000, *std::move(pin));
  EXPECT_NE(table_of(*bench.disk).find(since(looked_up)), std::string::npos)
      << table_of(*bench.disk);
  bench.clock.pass_ms(2);
  bench.runtime.run();
  EXPECT_EQ(fired, 1);
  EXPECT_EQ(table_of(*bench.disk).find("held since"), std::string::npos);
  bench.driver.reap(bench.data());
  bench.runtime.run();
}
