// SPDX-License-Identifier: BSL-1.0
//
// Goal: the parts of a bio cover it, obey every limit, and are as long as the limits allow.
// Method: random bios and limits, compared with a reference that tries each length.

#include <gtest/gtest.h>

#include <blkown/mq/detail/split.hpp>
#include <blkown/mq/limits.hpp>
#include <blkown/mq/segments.hpp>
#include <blkown/sim/device/random.hpp>
#include <cstdint>
#include <vector>

#include "stress/effort.hpp"

namespace mq = blkown::mq;
using blkown::Segment;
using mq::Op;
using mq::QueueLimits;
using mq::RequestSegments;
using mq::SegmentCursor;
using mq::detail::Part;
using mq::detail::SplitLimits;

namespace {

std::byte* at(std::uintptr_t address) { return reinterpret_cast<std::byte*>(address); }

std::vector<Segment> pieces_of(const std::vector<Segment>& memory, SegmentCursor from,
                               std::uint64_t length_bytes, const QueueLimits& limits) {
  std::vector<Segment> pieces;
  for (const Segment piece : RequestSegments{memory, from, length_bytes, limits.max_segment_bytes,
                                             limits.virt_boundary_mask}) {
    pieces.push_back(piece);
  }
  return pieces;
}

/// Whether the pieces obey the limits.
bool is_acceptable(const std::vector<Segment>& pieces, const QueueLimits& limits) {
  if (pieces.size() > limits.max_segments) return false;
  for (std::size_t i = 0; i != pieces.size(); ++i) {
    const Segment& piece = pieces[i];
    if (piece.empty() || piece.length_bytes > limits.max_segment_bytes) return false;
    const auto begin = reinterpret_cast<std::uintptr_t>(piece.data);
    const auto end = reinterpret_cast<std::uintptr_t>(piece.end());
    if (i != 0 && (begin & limits.virt_boundary_mask) != 0) return false;
    if (i + 1 != pieces.size() && (end & limits.virt_boundary_mask) != 0) return false;
  }
  return true;
}

/// The addresses of all bytes of the memory, in order.
std::vector<std::uintptr_t> bytes_of(const std::vector<Segment>& memory) {
  std::vector<std::uintptr_t> bytes;
  for (const Segment& segment : memory) {
    for (std::size_t i = 0; i != segment.length_bytes; ++i) {
      bytes.push_back(reinterpret_cast<std::uintptr_t>(segment.data) + i);
    }
  }
  return bytes;
}

std::uint64_t total_bytes(const std::vector<Segment>& memory) {
  std::uint64_t total = 0;
  for (const Segment& segment : memory) total += segment.length_bytes;
  return total;
}

}  // namespace

TEST(RequestSegments, KnowTheirLengthAndWhetherThereAreAny) {
  const std::vector<Segment> memory{{at(0x1000), 4096}, {at(0x8000), 512}};
  const RequestSegments all{memory, {}, 4608, 4096, 0};
  EXPECT_FALSE(all.empty());
  EXPECT_EQ(all.length_bytes(), 4608U);
  EXPECT_EQ(all.count(), 2U);
  const RequestSegments none{memory, {2, 0}, 0, 4096, 0};
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(none.length_bytes(), 0U);
  EXPECT_EQ(none.count(), 0U);
}

TEST(Split, DoesNotSplitABioThatFits) {
  const std::vector<Segment> memory{{at(0x1000), 4096}};
  const Part part =
      mq::detail::next_part({Op::read, memory, {}, 4096}, SplitLimits{QueueLimits{}, 512});
  EXPECT_EQ(part.length_bytes, 4096U);
  EXPECT_EQ(part.end, (SegmentCursor{1, 0}));
}

TEST(Split, CutsAtMaxSectors) {
  const std::vector<Segment> memory{{at(0x1000), 10 * 512}};
  const QueueLimits limits{.max_sectors = 4};
  Part part = mq::detail::next_part({Op::write, memory, {}, 10 * 512}, SplitLimits{limits, 512});
  EXPECT_EQ(part.length_bytes, 4U * 512);
  part = mq::detail::next_part({Op::write, memory, part.end, 6 * 512}, SplitLimits{limits, 512});
  EXPECT_EQ(part.length_bytes, 4U * 512);
  part = mq::detail::next_part({Op::write, memory, part.end, 2 * 512}, SplitLimits{limits, 512});
  EXPECT_EQ(part.length_bytes, 2U * 512);
  EXPECT_EQ(part.end, (SegmentCursor{1, 0}));
}

TEST(Split, EndsOnWholeBlocks) {
  const std::vector<Segment> memory{{at(0x1000), 6 * 4096}};
  const QueueLimits limits{.max_sectors = 11};
  EXPECT_EQ(mq::detail::next_part({Op::read, memory, {}, 6 * 4096}, SplitLimits{limits, 4096})
                .length_bytes,
            4096U);
}

TEST(Split, GivesNothingIfNoBlockFits) {
  const std::vector<Segment> memory{{at(0x1001), 200}, {at(0x3000), 312}};
  const QueueLimits one{.max_segments = 1};
  EXPECT_EQ(mq::detail::next_part({Op::read, memory, {}, 512}, SplitLimits{one, 512}).length_bytes,
            0U);
}

TEST(Split, OperationsWithoutDataHaveTheirOwnLimit) {
  const QueueLimits limits{.max_discard_sectors = 1000,
                           .max_write_zeroes_sectors = ~std::uint64_t{0}};
  EXPECT_EQ(mq::detail::next_part({Op::discard, {}, {}, 5000 * 512}, SplitLimits{limits, 512})
                .length_bytes,
            1000U * 512);
  EXPECT_EQ(mq::detail::next_part({Op::write_zeroes, {}, {}, 5000 * 512}, SplitLimits{limits, 512})
                .length_bytes,
            5000U * 512);
  // This limit in bytes exceeds 64 bits.
  const QueueLimits endless{.max_discard_sectors = std::uint64_t{1} << 55};
  EXPECT_EQ(mq::detail::next_part({Op::discard, {}, {}, 5000 * 512}, SplitLimits{endless, 512})
                .length_bytes,
            5000U * 512);
}

TEST(Split, AZoneAppendIsNeverSplit) {
  const std::vector<Segment> memory{{at(0x1000), 4096}};
  QueueLimits limits{.max_zone_append_sectors = 8};
  EXPECT_EQ(mq::detail::next_part({Op::zone_append, memory, {}, 4096}, SplitLimits{limits, 512})
                .length_bytes,
            4096U);
  limits.max_zone_append_sectors = 7;
  EXPECT_EQ(mq::detail::next_part({Op::zone_append, memory, {}, 4096}, SplitLimits{limits, 512})
                .length_bytes,
            0U);
}

TEST(Split, NoRequestCrossesAChunk) {
  const std::vector<Segment> memory{{at(0x1000), 64 * 512}};
  // Neither the chunk nor the first sector is a power of two.
  const SplitLimits limits{
      QueueLimits{.max_discard_sectors = 40, .max_write_zeroes_sectors = 1000, .chunk_sectors = 24},
      512};
  for (const Op op : {Op::read, Op::write}) {
    EXPECT_EQ(mq::detail::next_part({op, memory, {}, 64 * 512, 23}, limits).length_bytes, 512U);
    EXPECT_EQ(mq::detail::next_part({op, memory, {}, 64 * 512, 24}, limits).length_bytes,
              24U * 512);
    EXPECT_EQ(mq::detail::next_part({op, memory, {}, 24 * 512, 24}, limits).length_bytes, 24U * 512)
        << "a whole chunk is not split";
  }
  for (const Op op : {Op::discard, Op::write_zeroes}) {
    EXPECT_EQ(mq::detail::next_part({op, {}, {}, 64 * 512, 47}, limits).length_bytes, 512U);
    EXPECT_EQ(mq::detail::next_part({op, {}, {}, 64 * 512, 48}, limits).length_bytes, 24U * 512);
  }
}

// Goal: a discard or write_zeroes that exceeds the limit is split between units, and only there.
// Method: every small limit, unit and place, against a search for the longest part.
TEST(Split, RangesAreSplitBetweenUnits) {
  for (std::uint64_t unit = 1; unit <= 7; ++unit) {
    for (std::uint64_t first = 0; first != unit; ++first) {
      for (std::uint64_t most = unit; most <= 12; ++most) {
        const QueueLimits discards{.max_discard_sectors = most,
                                   .discard_granularity_sectors = unit,
                                   .discard_alignment_sectors = first};
        const QueueLimits zeroes{.max_write_zeroes_sectors = most,
                                 .write_zeroes_granularity_sectors = unit,
                                 .write_zeroes_alignment_sectors = first};
        ASSERT_FALSE(mq::check(discards, 512).has_value());
        ASSERT_FALSE(mq::check(zeroes, 512).has_value());
        for (std::uint64_t sector = 0; sector != 15; ++sector) {
          for (std::uint64_t left = 1; left != 30; ++left) {
            std::uint64_t longest = 0;
            for (std::uint64_t tried = 1; tried <= most && tried <= left; ++tried) {
              if (tried == left || (sector + tried + unit - first) % unit == 0) longest = tried;
            }
            if (longest == 0) longest = most;  // no unit ends within the limit
            const auto part_of = [&](Op op, const QueueLimits& limits) {
              return mq::detail::next_part({op, {}, {}, left * 512, sector},
                                           SplitLimits{limits, 512})
                  .length_bytes;
            };
            ASSERT_EQ(part_of(Op::discard, discards), longest * 512)
                << "unit " << unit << " from " << first << ", limit " << most << ", " << left
                << " sectors at " << sector;
            ASSERT_EQ(part_of(Op::write_zeroes, zeroes), longest * 512);
          }
        }
      }
    }
  }
}

// Goal: limits are accepted exactly if the splitter can give a block at the best address to one
// request.
// Method: segments of every length, also of odd ones, and every alignment.
TEST(Split, ABlockAtTheBestAddressFitsExactlyWhereTheLimitsAreAccepted) {
  int accepted = 0;
  int refused = 0;
  for (const std::uint32_t block_bytes : {512U, 1024U}) {
    const std::vector<Segment> memory{{at(0x10000), block_bytes}};
    for (std::uint32_t segment_bytes = 1; segment_bytes <= 1030; ++segment_bytes) {
      for (std::uint32_t segments = 1; segments <= 5; ++segments) {
        for (std::uint32_t alignment = 1; alignment <= block_bytes; alignment *= 2) {
          if (segment_bytes < alignment) continue;  // no piece at all
          const QueueLimits limits{.max_segments = segments,
                                   .max_segment_bytes = segment_bytes,
                                   .dma_alignment_mask = alignment - 1};
          const SplitLimits split{limits, block_bytes};
          const Part part = mq::detail::next_part({Op::read, memory, {}, block_bytes}, split);
          const bool fits = part.length_bytes == block_bytes;
          ASSERT_EQ(mq::check(limits, block_bytes).has_value(), !fits)
              << segments << " segments of " << segment_bytes << ", alignment " << alignment;
          ++(fits ? accepted : refused);
        }
      }
    }
  }
  EXPECT_GT(accepted, 1000);
  EXPECT_GT(refused, 1000);
}

TEST(RequestSegments, SkipsEmptySegments) {
  const std::vector<Segment> memory{
      {at(0x10), 0}, {at(0x1000), 100}, {at(0x20), 0}, {at(0x2000), 50}};
  const auto pieces = pieces_of(memory, {}, 150, QueueLimits{});
  ASSERT_EQ(pieces.size(), 2U);
  EXPECT_EQ(pieces[0], memory[1]);
  EXPECT_EQ(pieces[1], memory[3]);
  EXPECT_EQ((RequestSegments{memory, {}, 150, 65536, 0}.count()), 2U);
}

TEST(RequestSegments, AreWholeWithoutACut) {
  std::array<std::byte, 8192> bytes;
  const std::array memory{blkown::Segment{bytes.data(), 5000}, blkown::Segment{&bytes[5000], 1000}};
  EXPECT_EQ((RequestSegments{memory, {}, 5500, RequestSegments::Cut{}}.count()), 2U);
}

TEST(RequestSegments, CutsASegmentThatBeginsOffTheBoundary) {
  const std::vector<Segment> memory{{at(0x1800), 0x2000}};
  const QueueLimits limits{.max_segment_bytes = 0x1000, .virt_boundary_mask = 0xFFF};
  const auto pieces = pieces_of(memory, {}, 0x2000, limits);
  ASSERT_EQ(pieces.size(), 3U);
  EXPECT_EQ(pieces[0], (Segment{at(0x1800), 0x800}));
  EXPECT_EQ(pieces[1], (Segment{at(0x2000), 0x1000}));
  EXPECT_EQ(pieces[2], (Segment{at(0x3000), 0x800}));
}

namespace {

QueueLimits random_limits(blkown::sim::Random& random, std::uint32_t block_bytes) {
  QueueLimits limits;
  limits.max_sectors = static_cast<std::uint32_t>(block_bytes / 512 + random.below(12));
  limits.max_segments = static_cast<std::uint32_t>(1 + random.below(6));
  limits.virt_boundary_mask = random.chance(1, 2) ? 0 : (random.chance(1, 2) ? 511 : 2047);
  limits.max_segment_bytes =
      static_cast<std::uint32_t>((limits.virt_boundary_mask + 1) *
                                 (1 + random.below(limits.virt_boundary_mask == 0 ? 4000 : 4)));
  if (random.chance(1, 2)) limits.chunk_sectors = block_bytes / 512 * (1 + random.below(20));
  return limits;
}

/// Segments at random addresses, of a whole number of blocks together.
std::vector<Segment> random_memory(blkown::sim::Random& random, std::uint32_t block_bytes) {
  std::vector<Segment> memory;
  std::uintptr_t address = 0x100000;
  const std::size_t segments = 1 + random.below(6);
  for (std::size_t i = 0; i != segments; ++i) {
    address += random.chance(1, 3) ? 0 : 512 * random.below(9) + (random.chance(1, 4) ? 17 : 0);
    std::size_t length_bytes = static_cast<std::size_t>(512 * random.below(9));
    if (random.chance(1, 5)) length_bytes += static_cast<std::size_t>(random.below(512));
    memory.push_back({at(address), length_bytes});
    address += length_bytes;
  }
  const std::uint64_t rest = total_bytes(memory) % block_bytes;
  if (rest != 0) {
    memory.push_back({at(address + 4096), static_cast<std::size_t>(block_bytes - rest)});
  }
  return memory;
}

/// The reference for next_part: the longest run of blocks from the cursor on that obeys the limits.
std::uint64_t longest_part(const std::vector<Segment>& memory, SegmentCursor cursor,
                           std::uint64_t left_bytes, const QueueLimits& limits,
                           std::uint32_t block_bytes, std::uint64_t sector) {
  std::uint64_t longest = 0;
  for (std::uint64_t tried = block_bytes; tried <= left_bytes; tried += block_bytes) {
    if (tried > std::uint64_t{limits.max_sectors} * 512) break;
    const std::uint64_t last = sector + tried / 512 - 1;
    const std::uint64_t chunk = limits.chunk_sectors;
    if (chunk != 0 && sector / chunk != last / chunk) break;
    if (is_acceptable(pieces_of(memory, cursor, tried, limits), limits)) longest = tried;
  }
  return longest;
}

}  // namespace

TEST(Split, PartsOfRandomBiosCoverThemAndAreOfMaximalLength) {
  blkown::sim::Random random{20260101};
  int refused = 0;
  int several = 0;
  const auto rounds = static_cast<int>(stress::scaled(4'000, 400));
  for (int round = 0; round != rounds; ++round) {
    const std::uint32_t block_bytes = random.chance(1, 2) ? 512 : 1024;
    const QueueLimits limits = random_limits(random, block_bytes);
    if (mq::check(limits, block_bytes).has_value()) continue;
    const std::uint64_t first_sector = block_bytes / 512 * random.below(100);
    const std::vector<Segment> memory = random_memory(random, block_bytes);
    const std::uint64_t length_bytes = total_bytes(memory);
    if (length_bytes == 0) continue;

    SegmentCursor cursor;
    std::uint64_t done_bytes = 0;
    std::vector<std::uintptr_t> seen;
    while (done_bytes != length_bytes) {
      const Part part = mq::detail::next_part(
          {Op::read, memory, cursor, length_bytes - done_bytes, first_sector + done_bytes / 512},
          SplitLimits{limits, block_bytes});
      const std::uint64_t longest = longest_part(memory, cursor, length_bytes - done_bytes, limits,
                                                 block_bytes, first_sector + done_bytes / 512);
      ASSERT_EQ(part.length_bytes, longest) << "round " << round << " at " << done_bytes;
      if (part.length_bytes == 0) break;
      const auto pieces = pieces_of(memory, cursor, part.length_bytes, limits);
      for (const std::uintptr_t byte : bytes_of(pieces)) seen.push_back(byte);
      several += done_bytes != 0;
      done_bytes += part.length_bytes;
      cursor = part.end;
    }
    refused += done_bytes != length_bytes;
    auto expected = bytes_of(memory);
    expected.resize(static_cast<std::size_t>(done_bytes));
    ASSERT_EQ(seen, expected) << "round " << round;
  }
  EXPECT_GT(refused, rounds / 40) << "bios that no request can hold";
  EXPECT_GT(several, rounds / 4) << "bios of several parts";
}
