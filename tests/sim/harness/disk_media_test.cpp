// SPDX-License-Identifier: BSL-1.0
//
// The disks of a run: their media, their namespaces and their sectors.

#include <blkown/sim/harness/disk_media.hpp>

#include <gtest/gtest.h>
#include <array>
#include <blkown/nvme/submission_entry.hpp>
#include <blkown/sim/device/media/cached_media.hpp>
#include <blkown/sim/harness/device_events.hpp>
#include <blkown/sim/harness/history.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <span>

namespace {

using blkown::nvme::SubmissionEntry;
using blkown::sim::CacheMode;
using blkown::sim::DiskMedia;
using blkown::sim::detail::DiskPlace;

TEST(DiskMedia, AnOffsetIsOfTheDiskAtItsPlace) {
  DiskMedia media{3, 1024, CacheMode::write_back};
  EXPECT_EQ(media.capacity_bytes(), 3U * 1024);
  std::array<std::byte, 512> data{};
  data.fill(std::byte{7});
  ASSERT_TRUE(media.write(1024 + 512, data));
  EXPECT_EQ(media.disk(1).bytes()[512], std::byte{7});
  EXPECT_EQ(media.disk(1).bytes()[511], std::byte{});
  for (const std::uint32_t other : {0U, 2U}) {
    for (const std::byte one : media.disk(other).bytes()) ASSERT_EQ(one, std::byte{});
  }
  std::array<std::byte, 512> seen{};
  ASSERT_TRUE(media.read(1024 + 512, seen));
  EXPECT_EQ(seen, data);
  ASSERT_TRUE(media.zero(1024 + 512, 512));
  EXPECT_EQ(media.disk(1).bytes()[512], std::byte{});
}

TEST(WatchedMedia, IsAccessedByOneContextAtATime) {
  EXPECT_FALSE(blkown::sim::WatchedMedia(4096, CacheMode::write_back).has_ranges());
}

TEST(WatchedMedia, KnowsTheSectorsThatWereWritten) {
  using Sectors = std::set<std::uint64_t>;
  blkown::sim::WatchedMedia media{4096, CacheMode::write_back};
  const auto changed = [&] {
    Sectors sectors;
    for (std::uint64_t sector = 0; sector != 8; ++sector) {
      if (media.changes().contains(sector)) sectors.insert(sector);
    }
    media.forget_changes();
    return sectors;
  };
  EXPECT_EQ(changed(), Sectors{});
  const std::array<std::byte, 1024> data{};
  ASSERT_TRUE(media.write(512, data));
  ASSERT_TRUE(media.zero(2048, 512));
  EXPECT_EQ(changed(), (Sectors{1, 2, 4}));
  std::array<std::byte, 1024> seen{};
  ASSERT_TRUE(media.read(512, seen));
  ASSERT_TRUE(media.flush());
  ASSERT_TRUE(media.zero(0, 0));
  EXPECT_EQ(changed(), Sectors{});
  // Bytes beyond a sector's end are of the next one.
  ASSERT_TRUE(media.write(511, std::span{data}.first(2)));
  media.note_change(7);
  EXPECT_EQ(changed(), (Sectors{0, 1, 7}));
}

/// Whether one of some power cuts loses the disk's first byte, which was written.
[[nodiscard]] bool may_lose(DiskMedia& media, std::uint32_t disk) {
  for (std::uint64_t seed = 0; seed != 20; ++seed) {
    if (media.disk(disk).after_power_cut(seed)[0] != std::byte{7}) return true;
  }
  return false;
}

TEST(DiskMedia, ADisksFlushLeavesTheOthersCached) {
  DiskMedia media{2, 512, CacheMode::write_back};
  std::array<std::byte, 512> data{};
  data.fill(std::byte{7});
  ASSERT_TRUE(media.write(0, data));
  ASSERT_TRUE(media.write(512, data));
  ASSERT_TRUE(media.disk(1).flush());
  EXPECT_TRUE(may_lose(media, 0));
  EXPECT_FALSE(may_lose(media, 1));
  ASSERT_TRUE(media.flush());
  EXPECT_FALSE(may_lose(media, 0));
}

TEST(DiskPlace, OneNamespaceIsOfNoDisk) {
  for (std::uint32_t first = 1; first != 5; ++first) {
    const DiskPlace place{.nsid = first, .disk_count = 3};
    for (std::uint32_t disk = 0; disk != 3; ++disk) {
      EXPECT_EQ(place.disk_of(place.nsid_of(disk)), disk);
    }
    EXPECT_EQ(place.disk_of(place.nsid_of(3)), std::nullopt);
    for (const std::uint32_t none : {0U, 5U, ~0U}) EXPECT_EQ(place.disk_of(none), std::nullopt);
  }
  const DiskPlace one{.nsid = 2};
  EXPECT_EQ(one.nsid_of(0), 2U);
  EXPECT_EQ(one.nsid_of(1), 1U);
  EXPECT_EQ(one.disk_of(2), 0U);
  EXPECT_EQ(one.disk_of(1), std::nullopt);
}

TEST(DiskPlace, ABlockBehindTheEndOfADiskHasNoSector) {
  const DiskPlace place{.nsid = 2, .block_sectors = 8, .disk_count = 2, .disk_sectors = 512};
  EXPECT_EQ(place.sector_of(2, 63), 504U);
  EXPECT_EQ(place.sector_of(3, 63), 1016U);
  EXPECT_EQ(place.sector_of(2, 64), std::nullopt);
  EXPECT_EQ(place.sector_of(2, std::uint64_t{1} << 61), std::nullopt) << "eight times this is 0";
  EXPECT_EQ(place.sector_of(1, 0), std::nullopt);
}

TEST(DiskPlace, ACommandsSectorIsOneOfItsDisk) {
  const DiskPlace place{.nsid = 3, .block_sectors = 8, .disk_count = 2, .disk_sectors = 512};
  SubmissionEntry entry = SubmissionEntry::write(place.nsid_of(1), {.slba = 2, .block_count = 1});
  EXPECT_EQ(first_sector_of(entry, place), 512U);
  EXPECT_EQ(to_string(io_of(entry, place)), "write of sectors 16 to 23 of disk 1");
  entry.nsid = place.nsid_of(2);
  EXPECT_EQ(first_sector_of(entry, place), 0U);
  EXPECT_EQ(to_string(io_of(entry, place)),
            "write of sectors 16 to 23, in the namespace of another disk");
}

}  // namespace
