// SPDX-License-Identifier: BSL-1.0

#include <gtest/gtest.h>

#include <blkown/sim/device/media/cached_media.hpp>
#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <vector>

namespace {

using blkown::sim::CachedMedia;
using blkown::sim::CacheMode;
using Bytes = std::vector<std::byte>;

constexpr std::uint64_t block_bytes = 512;
constexpr std::uint64_t cut_count = 64;

Bytes blocks_of(std::size_t sectors, int value) {
  return Bytes(sectors * block_bytes, static_cast<std::byte>(value));
}
void put(CachedMedia& media, std::uint64_t sector, std::size_t count, int value) {
  EXPECT_TRUE(media.write(sector * block_bytes, blocks_of(count, value)));
}
/// The values that a sector may have after a power cut.
std::set<int> left(const CachedMedia& media, std::size_t sector) {
  std::set<int> values;
  for (std::uint64_t seed = 0; seed != cut_count; ++seed) {
    const Bytes content = media.after_power_cut(seed);
    const auto its = std::span{content}.subspan(sector * block_bytes, block_bytes);
    for (const std::byte byte : its) EXPECT_EQ(byte, its.front()) << "a sector is not torn";
    values.insert(static_cast<int>(its.front()));
  }
  return values;
}

TEST(CachedMedia, APowerCutLeavesEachSectorOldOrNew) {
  CachedMedia media{4 * block_bytes};
  put(media, 1, 2, 7);
  EXPECT_EQ(left(media, 0), (std::set{0}));
  EXPECT_EQ(left(media, 1), (std::set{0, 7}));
  EXPECT_EQ(left(media, 2), (std::set{0, 7}));
  std::set<std::pair<std::byte, std::byte>> pairs;
  for (std::uint64_t seed = 0; seed != cut_count; ++seed) {
    const Bytes content = media.after_power_cut(seed);
    pairs.insert({content[block_bytes], content[2 * block_bytes]});
  }
  EXPECT_EQ(pairs.size(), 4U) << "independently of the others";
}

TEST(CachedMedia, AnyOfTheCachedWritesToASectorMayBeLeft) {
  CachedMedia media{block_bytes};
  put(media, 0, 1, 1);
  put(media, 0, 1, 2);
  EXPECT_TRUE(media.zero(0, block_bytes));
  put(media, 0, 1, 3);
  EXPECT_EQ(left(media, 0), (std::set{0, 1, 2, 3}));
}

TEST(CachedMedia, AFlushMakesEverythingDurable) {
  CachedMedia media{4 * block_bytes};
  put(media, 0, 2, 1);
  put(media, 3, 1, 1);
  EXPECT_TRUE(media.flush());
  put(media, 3, 1, 2);
  EXPECT_EQ(left(media, 0), (std::set{1}));
  EXPECT_EQ(left(media, 1), (std::set{1}));
  EXPECT_EQ(left(media, 3), (std::set{1, 2}));
}

TEST(CachedMedia, AFlushOfARangeLeavesTheRestCached) {
  CachedMedia media{4 * block_bytes};
  put(media, 0, 4, 1);
  EXPECT_TRUE(media.flush_range(block_bytes, 2 * block_bytes));
  EXPECT_EQ(left(media, 0), (std::set{0, 1}));
  EXPECT_EQ(left(media, 1), (std::set{1}));
  EXPECT_EQ(left(media, 2), (std::set{1}));
  EXPECT_EQ(left(media, 3), (std::set{0, 1}));
  EXPECT_TRUE(media.flush_range(0, 0));
  EXPECT_EQ(left(media, 0), (std::set{0, 1}));
}

TEST(CachedMedia, APowerCutEmptiesTheCache) {
  CachedMedia media{2 * block_bytes};
  put(media, 0, 2, 1);
  const Bytes expected = media.after_power_cut(5);
  media.power_cut(5);
  for (std::uint64_t seed = 0; seed != cut_count; ++seed) {
    EXPECT_EQ(media.after_power_cut(seed), expected);
  }
  Bytes seen(expected.size());
  EXPECT_TRUE(media.read(0, seen));
  EXPECT_EQ(seen, expected);
}

TEST(CachedMedia, AWriteThroughCacheLosesNothing) {
  CachedMedia media{2 * block_bytes, CacheMode::write_through};
  put(media, 0, 2, 1);
  EXPECT_EQ(left(media, 0), (std::set{1}));
  EXPECT_EQ(left(media, 1), (std::set{1}));
}

}  // namespace
