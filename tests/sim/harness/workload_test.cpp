// SPDX-License-Identifier: BSL-1.0

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <blkown/sim/device/latency.hpp>
#include <blkown/sim/device/media/media.hpp>
#include <blkown/sim/device/random.hpp>
#include <blkown/sim/harness/workload.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace {

using blkown::Segment;
using blkown::Status;
using blkown::sim::MemoryMedia;
using blkown::sim::Opcode;
using blkown::sim::Random;
using blkown::sim::Workload;

constexpr std::size_t sector_bytes = 512;

/// A workload, and a medium without faults.
class WorkloadTest : public testing::Test {
 protected:
  static constexpr std::uint32_t slot_count = 4;

  /// Begins I/Os on the slot until one has this opcode. The others end with ok.
  void begin(std::uint32_t index, Opcode opcode, std::uint32_t least_sectors = 1) {
    while (true) {
      segment_count_ = workload_.begin(index, dice_, segments_);
      const Workload::Slot& slot = workload_.slot(index);
      if (slot.opcode == opcode && slot.length_sectors >= least_sectors) return;
      carry_out(index);
      ASSERT_EQ(workload_.end(index, Status::ok), nullptr);
    }
  }
  [[nodiscard]] std::size_t length_bytes(std::uint32_t index) const {
    return workload_.slot(index).length_sectors * sector_bytes;
  }
  /// Executes the I/O as a correct device does.
  void carry_out(std::uint32_t index) {
    const Workload::Slot& slot = workload_.slot(index);
    const std::uint64_t offset = workload_.sector_of(index) * sector_bytes;
    switch (slot.opcode) {
      case Opcode::read:
        ASSERT_TRUE(media_.read(offset, {slot.memory, length_bytes(index)}));
        break;
      case Opcode::write:
        ASSERT_TRUE(media_.write(offset, {slot.memory, length_bytes(index)}));
        break;
      case Opcode::discard:
      case Opcode::write_zeroes: ASSERT_TRUE(media_.zero(offset, length_bytes(index))); break;
      default: break;
    }
  }

  Workload workload_{slot_count};
  MemoryMedia media_{workload_.capacity_bytes()};
  Random dice_{1};
  std::array<Segment, 3> segments_;
  std::uint32_t segment_count_ = 0;
};

TEST_F(WorkloadTest, FindsNothingWithACorrectDevice) {
  std::set<Opcode> opcodes;
  for (std::uint32_t i = 0; i != 1000; ++i) {
    const std::uint32_t index = i % slot_count;
    static_cast<void>(workload_.begin(index, dice_, segments_));
    opcodes.insert(workload_.slot(index).opcode);
    carry_out(index);
    ASSERT_EQ(workload_.end(index, Status::ok), nullptr);
  }
  EXPECT_EQ(opcodes, (std::set{Opcode::flush, Opcode::write, Opcode::read, Opcode::write_zeroes,
                               Opcode::discard}));
  EXPECT_EQ(workload_.compare(media_), nullptr);
}

TEST_F(WorkloadTest, GivesEachSlotItsOwnSectorsAndMemory) {
  EXPECT_EQ(workload_.capacity_bytes(), slot_count * Workload::slot_bytes);
  for (int i = 0; i != 500; ++i) {
    for (std::uint32_t index = 0; index != slot_count; ++index) {
      const std::uint32_t count = workload_.begin(index, dice_, segments_);
      const Workload::Slot& slot = workload_.slot(index);
      const bool has_memory = slot.opcode == Opcode::read || slot.opcode == Opcode::write;
      ASSERT_EQ(count != 0, has_memory);
      ASSERT_GE(slot.length_sectors, 1U);
      ASSERT_GE(workload_.sector_of(index), index * Workload::slot_sectors);
      ASSERT_LE(workload_.sector_of(index) + slot.length_sectors,
                (index + 1) * Workload::slot_sectors);
      std::size_t total_bytes = 0;
      const std::byte* const room = workload_.arena().data() + index * Workload::slot_room_bytes;
      for (const Segment& segment : std::span{segments_}.first(count)) {
        ASSERT_GE(segment.data, room);
        ASSERT_LE(segment.data + segment.length_bytes, room + Workload::slot_room_bytes);
        total_bytes += segment.length_bytes;
      }
      if (count == 2) {
        ASSERT_EQ(segments_[1].data, segments_[0].data + segments_[0].length_bytes);
      }
      ASSERT_EQ(total_bytes, has_memory ? length_bytes(index) : 0U);
      ASSERT_EQ(workload_.end(index, Status::io_error), nullptr);
    }
  }
}

TEST_F(WorkloadTest, FindsAnIoThatEndsTwice) {
  begin(1, Opcode::flush);
  EXPECT_EQ(workload_.end(1, Status::ok), nullptr);
  EXPECT_STREQ(workload_.end(1, Status::ok), "an I/O ended twice");
  EXPECT_STREQ(workload_.end(0, Status::ok), "an I/O ended twice") << "it never began";
}

TEST_F(WorkloadTest, FindsAReadThatReturnsOtherData) {
  for (const std::size_t wrong : {std::size_t{0}, std::size_t{1}}) {
    begin(2, Opcode::read, 2);
    carry_out(2);
    std::byte* const last = workload_.slot(2).memory + length_bytes(2) - 1;
    *(wrong == 0 ? workload_.slot(2).memory : last) ^= std::byte{1};
    EXPECT_STREQ(workload_.end(2, Status::ok), "a read returned other data than was written");
  }
  begin(2, Opcode::read);
  EXPECT_STREQ(workload_.end(2, Status::ok), "a read returned other data than was written")
      << "no data was transferred";
}

TEST_F(WorkloadTest, KnowsTheDataWritten) {
  begin(0, Opcode::write);
  const std::uint64_t sector = workload_.sector_of(0);
  EXPECT_EQ(workload_.end(0, Status::ok), nullptr);
  EXPECT_STREQ(workload_.compare(media_), "the medium holds other data than was written")
      << "the device has not written";
  ASSERT_TRUE(media_.write(sector * sector_bytes, {workload_.slot(0).memory, length_bytes(0)}));
  EXPECT_EQ(workload_.compare(media_), nullptr);
}

TEST_F(WorkloadTest, KnowsTheSectorsDiscarded) {
  ASSERT_TRUE(media_.write(0, std::vector(media_.capacity_bytes(), std::byte{7})));
  EXPECT_STREQ(workload_.compare(media_), "the medium holds other data than was written");
  ASSERT_TRUE(media_.zero(0, media_.capacity_bytes()));
  for (const Opcode opcode : {Opcode::discard, Opcode::write_zeroes}) {
    begin(0, Opcode::write, Workload::slot_sectors);
    carry_out(0);
    ASSERT_EQ(workload_.end(0, Status::ok), nullptr);
    begin(0, opcode);
    ASSERT_EQ(workload_.end(0, Status::ok), nullptr);
    EXPECT_STREQ(workload_.compare(media_), "the medium holds other data than was written");
    carry_out(0);
    EXPECT_EQ(workload_.compare(media_), nullptr);
  }
}

// Goal: after an error the content of the sectors is unknown and is not compared.
TEST_F(WorkloadTest, NoTwoWordsOfAWriteAreTheSame) {
  std::set<std::uint64_t> words;
  std::size_t count = 0;
  for (int i = 0; i != 20; ++i) {
    begin(1, Opcode::write);
    for (std::size_t at = 0; at != length_bytes(1); at += 8, ++count) {
      std::uint64_t word = 0;
      std::memcpy(&word, workload_.slot(1).memory + at, 8);
      words.insert(word);
    }
    carry_out(1);
    ASSERT_EQ(workload_.end(1, Status::ok), nullptr);
  }
  EXPECT_EQ(words.size(), count);
}

TEST(RandomNumbers, SkippingIsDrawing) {
  Random drawn{7}, skipped{7};
  for (int i = 0; i != 5; ++i) static_cast<void>(drawn.next());
  skipped.skip(5);
  EXPECT_EQ(drawn.next(), skipped.next());
}

TEST_F(WorkloadTest, ExpectsNothingAfterAFailedWrite) {
  begin(3, Opcode::write, 2);
  const std::uint64_t sector = workload_.sector_of(3);
  ASSERT_TRUE(media_.write(sector * sector_bytes, {workload_.slot(3).memory, sector_bytes}));
  EXPECT_EQ(workload_.end(3, Status::medium_error), nullptr);
  EXPECT_EQ(workload_.compare(media_), nullptr) << "half of it was written";
  begin(3, Opcode::write, Workload::slot_sectors);
  carry_out(3);
  EXPECT_EQ(workload_.end(3, Status::ok), nullptr);
  ASSERT_TRUE(media_.zero(sector * sector_bytes, sector_bytes));
  EXPECT_NE(workload_.compare(media_), nullptr) << "the content is known again";
}

TEST_F(WorkloadTest, ExpectsNothingOfAFailedRead) {
  begin(0, Opcode::read);
  EXPECT_EQ(workload_.end(0, Status::medium_error), nullptr);
}

// Goal: data that a false completion made wrong is not counted against the driver.
TEST_F(WorkloadTest, ExpectsNothingOfAnIoWithAFalseCompletion) {
  begin(1, Opcode::read);
  workload_.taint(workload_.sector_of(1));
  EXPECT_EQ(workload_.end(1, Status::ok), nullptr);
  begin(3, Opcode::write);
  workload_.taint(workload_.sector_of(3));
  EXPECT_EQ(workload_.end(3, Status::ok), nullptr);
  EXPECT_EQ(workload_.compare(media_), nullptr);
  begin(2, Opcode::read);
  workload_.taint(workload_.sector_of(1));
  EXPECT_NE(workload_.end(2, Status::ok), nullptr) << "the other slot was marked";
}

TEST_F(WorkloadTest, AFalseCompletionAffectsOneIoOnly) {
  begin(1, Opcode::flush);
  workload_.taint(workload_.sector_of(1));
  workload_.taint(slot_count * Workload::slot_sectors);
  EXPECT_EQ(workload_.end(1, Status::ok), nullptr);
  begin(1, Opcode::read);
  EXPECT_NE(workload_.end(1, Status::ok), nullptr);
}

// --- other disks ---------------------------------------------------------------------------------

TEST(WorkloadOfBlocks, DoesIoOfWholeBlocks) {
  Workload workload{1, {.block_sectors = 8, .mix = {}, .sizes = {}}};
  Random dice{1};
  std::array<Segment, 3> segments;
  std::set<std::pair<std::uint32_t, std::uint32_t>> places;
  for (int i = 0; i != 200; ++i) {
    static_cast<void>(workload.begin(0, dice, segments));
    places.emplace(workload.slot(0).first_sector, workload.slot(0).length_sectors);
    ASSERT_EQ(workload.end(0, Status::io_error), nullptr);
  }
  EXPECT_EQ(places, (std::set<std::pair<std::uint32_t, std::uint32_t>>{{0, 8}, {0, 16}, {8, 8}}));
}

/// The number of the I/Os of 1,000 that have each operation.
std::map<Opcode, int> operations_of(const blkown::sim::WorkloadConfig& config) {
  Workload workload{1, config};
  Random dice{1};
  std::array<Segment, 3> segments;
  std::map<Opcode, int> counts;
  for (int i = 0; i != 1000; ++i) {
    static_cast<void>(workload.begin(0, dice, segments));
    ++counts[workload.slot(0).opcode];
    EXPECT_EQ(workload.end(0, Status::io_error), nullptr);
  }
  return counts;
}

TEST(WorkloadOfAMix, HasEachOperationAsOftenAsItsWeightSays) {
  blkown::sim::OperationMix mix{.flush = 0, .discard = 0, .write_zeroes = 0, .write = 1, .read = 0};
  EXPECT_EQ(operations_of({.block_sectors = 1, .mix = mix, .sizes = {}}),
            (std::map<Opcode, int>{{Opcode::write, 1000}}));
  mix.write = 3;
  mix.flush = 1'000'000;
  mix.compare = 1'000'000;
  auto counts = operations_of({.block_sectors = 1, .mix = mix, .sizes = {}});
  EXPECT_NEAR(counts[Opcode::flush], 500, 60);
  EXPECT_NEAR(counts[Opcode::compare], 500, 60);
  mix = {.flush = 10, .discard = 20, .write_zeroes = 30, .write = 15, .read = 25, .compare = 0};
  counts = operations_of({.block_sectors = 1, .mix = mix, .sizes = {}});
  EXPECT_NEAR(counts[Opcode::flush], 100, 40);
  EXPECT_NEAR(counts[Opcode::discard], 200, 50);
  EXPECT_NEAR(counts[Opcode::write_zeroes], 300, 60);
  EXPECT_NEAR(counts[Opcode::write], 150, 50);
  EXPECT_NEAR(counts[Opcode::read], 250, 60);
}

// Goal: each length comes as often as its weight says, and an I/O of it at each place.
TEST(WorkloadOfSizes, HasTheLengthsAtEachPlace) {
  for (const std::uint32_t block_sectors : {1U, 8U}) {
    Workload workload{
        1, {.block_sectors = block_sectors, .mix = {}, .sizes = {{1, 1}, {8, 2}, {16, 1}}}};
    Random dice{1};
    std::array<Segment, 3> segments;
    std::map<std::uint32_t, int> lengths;
    std::set<std::uint32_t> places;
    for (int i = 0; i != 1000; ++i) {
      static_cast<void>(workload.begin(0, dice, segments));
      const Workload::Slot& slot = workload.slot(0);
      ++lengths[slot.length_sectors];
      if (slot.length_sectors == 8) places.insert(slot.first_sector);
      ASSERT_LE(slot.first_sector + slot.length_sectors, Workload::slot_sectors);
      ASSERT_EQ(workload.end(0, Status::io_error), nullptr);
    }
    EXPECT_NEAR(lengths[16], 250, 60);
    // An I/O of one sector is one of a block.
    EXPECT_NEAR(lengths[8], block_sectors == 1 ? 500 : 750, 60);
    EXPECT_EQ(lengths.size(), block_sectors == 1 ? 3U : 2U);
    EXPECT_EQ(places.size(), 8 / block_sectors + 1);
  }
}

// Goal: the shapes of latency keep their limits and differ.
TEST(Latency, HasTheShapeThatWasChosen) {
  using blkown::sim::LatencyShape;
  struct Config {
    std::uint64_t shortest_ns = 1000;
    std::uint64_t longest_ns = 1'000'000;
    LatencyShape latency{};
  };
  Random dice{1};
  std::map<LatencyShape, int> above_middle;
  std::map<LatencyShape, int> zero;
  for (const auto shape :
       {LatencyShape::uniform, LatencyShape::constant, LatencyShape::heavy_tailed}) {
    std::uint64_t longest_ns = 0;
    for (int i = 0; i != 10'000; ++i) {
      const std::uint64_t ns = blkown::sim::detail::draw_latency_ns(Config{.latency = shape}, dice);
      ASSERT_TRUE(ns == 0 || ns >= 1000);
      ASSERT_LE(ns, 1'000'000U);
      above_middle[shape] += ns > 500'000 ? 1 : 0;
      zero[shape] += ns == 0 ? 1 : 0;
      longest_ns = std::max(longest_ns, ns);
    }
    EXPECT_EQ(longest_ns == 1000, shape == LatencyShape::constant);
  }
  EXPECT_NEAR(above_middle[LatencyShape::uniform], 4375, 300);
  EXPECT_GT(above_middle[LatencyShape::heavy_tailed], 0) << "the tail ends early";
  EXPECT_LT(above_middle[LatencyShape::heavy_tailed], 50);
  EXPECT_NEAR(zero[LatencyShape::uniform], 1250, 200);
  EXPECT_NEAR(zero[LatencyShape::heavy_tailed], 1250, 200);
  EXPECT_EQ(zero[LatencyShape::constant], 0);
  const Config empty{.shortest_ns = 0, .longest_ns = 0, .latency = LatencyShape::heavy_tailed};
  for (int i = 0; i != 100; ++i) {
    EXPECT_EQ(blkown::sim::detail::draw_latency_ns(empty, dice), 0U);
  }
}

/// A workload with compares.
class WorkloadOfCompares : public testing::Test {
 protected:
  /// Begins I/Os until one is a compare that must fail, or one that need not. Writes end with ok.
  void begin_compare(bool must_fail) {
    std::array<Segment, 3> segments;
    for (int tries = 0; tries != 10'000; ++tries) {
      count_ = workload_.begin(0, dice_, segments);
      const Workload::Slot& slot = workload_.slot(0);
      const bool is_compare = slot.opcode == Opcode::compare;
      if (is_compare && slot.must_fail == must_fail && has_written_) return;
      if (slot.opcode == Opcode::write) {
        has_written_ = true;
        std::memcpy(content_.data() + slot.first_sector * sector_bytes, slot.memory, bytes());
      } else if (!workload_.written(0).empty()) {
        std::memset(content_.data() + slot.first_sector * sector_bytes, 0, bytes());
      }
      // A read ends with an error, because nothing carries it out.
      const bool writes = !workload_.written(0).empty();
      ASSERT_EQ(workload_.end(0, writes ? Status::ok : Status::io_error), nullptr);
    }
    FAIL() << "no such compare";
  }
  [[nodiscard]] std::size_t bytes() const {
    return workload_.slot(0).length_sectors * sector_bytes;
  }
  [[nodiscard]] bool is_equal() const {
    const Workload::Slot& slot = workload_.slot(0);
    return std::memcmp(content_.data() + slot.first_sector * sector_bytes, slot.memory, bytes()) ==
           0;
  }

  Workload workload_{
      1, {.block_sectors = 1, .mix = blkown::sim::OperationMix::standard(true), .sizes = {}}};
  Random dice_{1};
  std::uint32_t count_ = 0;
  bool has_written_ = false;
  std::array<std::byte, Workload::slot_bytes> content_{};
};

TEST_F(WorkloadOfCompares, ACompareOfOtherDataMustFail) {
  for (int i = 0; i != 20; ++i) {
    begin_compare(true);
    EXPECT_FALSE(is_equal());
    EXPECT_NE(count_, 0U);
    EXPECT_TRUE(workload_.written(0).empty());
    if (i % 2 == 0) {
      EXPECT_EQ(workload_.end(0, Status::medium_error), nullptr);
    } else {
      EXPECT_STREQ(workload_.end(0, Status::ok),
                   "a compare with other data than was written succeeded");
    }
  }
}

TEST_F(WorkloadOfCompares, ACompareOfTheSameDataMaySucceed) {
  for (int i = 0; i != 20; ++i) {
    begin_compare(false);
    EXPECT_TRUE(is_equal());
    EXPECT_EQ(workload_.end(0, i % 2 == 0 ? Status::ok : Status::medium_error), nullptr);
  }
}

TEST_F(WorkloadOfCompares, ExpectsNothingOfACompareWithAFalseCompletion) {
  begin_compare(true);
  workload_.taint(0);
  EXPECT_EQ(workload_.end(0, Status::ok), nullptr);
}

// Goal: where writes have failed, a compare with any data may succeed.
TEST_F(WorkloadOfCompares, ExpectsNothingWhereTheContentIsUnknown) {
  std::array<Segment, 3> segments;
  int compares = 0;
  for (int i = 0; i != 1000; ++i) {
    static_cast<void>(workload_.begin(0, dice_, segments));
    const Workload::Slot& slot = workload_.slot(0);
    if (i > 500 && slot.opcode == Opcode::compare) {
      ++compares;
      ASSERT_FALSE(slot.must_fail);
    }
    ASSERT_EQ(workload_.end(0, Status::io_error), nullptr);
  }
  EXPECT_GT(compares, 10);
}

}  // namespace
