// SPDX-License-Identifier: BSL-1.0
//
// Goal: an invalid configuration is refused, and the error names the field.
// Method: each case changes one field of a valid configuration.

#include <gtest/gtest.h>

#include <blkown/mq/disk_config.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <set>
#include <string>

namespace mq = blkown::mq;
using mq::DiskConfig;
using mq::DiskReason;
using mq::QueueLimits;

namespace {

DiskConfig sound() {
  DiskConfig config;
  config.capacity_sectors = 1 << 20;
  config.logical_block_bytes = 4096;
  config.io_min_bytes = 4096;
  config.limits.max_discard_sectors = 4096;
  return config;
}

/// `given` and `limit`: what the error tells of the field.
void expect_refused(DiskReason reason, const char* field, std::uint64_t given, std::uint64_t limit,
                    const std::function<void(DiskConfig&)>& spoil) {
  DiskConfig config = sound();
  spoil(config);
  const auto error = mq::detail::check_config(config);
  ASSERT_TRUE(error.has_value()) << field << " was accepted";
  EXPECT_STREQ(error->field, field);
  EXPECT_EQ(error->reason, reason) << to_string(error->reason);
  EXPECT_EQ(error->given, given) << field;
  EXPECT_EQ(error->limit, limit) << field;
}

}  // namespace

TEST(DiskConfig, NeedsOnlyACapacity) {
  EXPECT_FALSE(mq::detail::check_config(sound()).has_value());
  EXPECT_FALSE(mq::detail::check_config(DiskConfig{.capacity_sectors = 1}).has_value());
}

TEST(DiskConfig, AcceptsEachLimitItself) {
  const DiskConfig at_the_limits[] = {
      {.capacity_sectors = 128, .logical_block_bytes = 65536},
      {.capacity_sectors = ~std::uint64_t{0} / 512},
      {.capacity_sectors = 1, .normal_queues = 32767, .read_queues = 32768, .poll_queues = 1},
      {.capacity_sectors = 1, .normal_queues = 2, .max_normal_queues = 2},
      {.capacity_sectors = 1, .depth = 1},
      {.capacity_sectors = 1, .depth = 8, .reserved_depth = 7},
      {.capacity_sectors = 1, .timeout_ms = 1U << 30},
      {.capacity_sectors = 1,
       .zoned = true,
       .zone_sectors = 1,
       .max_open_zones = 3,
       .max_active_zones = 3},
      {.capacity_sectors = 1, .zoned = true, .zone_sectors = 1, .max_open_zones = 3},
      {.capacity_sectors = 1, .busy_delay_ms = 1}};
  for (const DiskConfig& config : at_the_limits) {
    const auto error = mq::detail::check_config(config);
    EXPECT_FALSE(error.has_value()) << error->field << ": " << to_string(error->reason);
  }
}

TEST(DiskConfig, TheErrorNamesTheField) {
  using enum DiskReason;
  expect_refused(not_a_power_of_two, "logical_block_bytes", 1000, 512,
                 [](DiskConfig& c) { c.logical_block_bytes = 1000; });
  expect_refused(too_small, "logical_block_bytes", 256, 512,
                 [](DiskConfig& c) { c.logical_block_bytes = 256; });
  expect_refused(too_large, "logical_block_bytes", 131072, 65536,
                 [](DiskConfig& c) { c.logical_block_bytes = 131072; });
  expect_refused(not_a_multiple, "io_min_bytes", 512, 4096,
                 [](DiskConfig& c) { c.io_min_bytes = 512; });
  expect_refused(not_a_multiple, "io_opt_bytes", 12288, 8192, [](DiskConfig& c) {
    c.io_min_bytes = 8192;
    c.io_opt_bytes = 12288;
  });
  expect_refused(too_small, "capacity_sectors", 0, 8,
                 [](DiskConfig& c) { c.capacity_sectors = 0; });
  expect_refused(not_a_multiple, "capacity_sectors", 12, 8,
                 [](DiskConfig& c) { c.capacity_sectors = 12; });
  expect_refused(too_large, "capacity_sectors", 1152921504606846976, 36028797018963967,
                 [](DiskConfig& c) { c.capacity_sectors = std::uint64_t{1} << 60; });
}

TEST(DiskConfig, TheErrorNamesTheFieldOfTheDevice) {
  using enum DiskReason;
  expect_refused(contradicts, "fua", 1, 0, [](DiskConfig& c) { c.fua = true; });
  expect_refused(contradicts, "zone_sectors", 0, 1, [](DiskConfig& c) { c.zoned = true; });
  expect_refused(contradicts, "zone_sectors", 8, 0, [](DiskConfig& c) { c.zone_sectors = 8; });
  expect_refused(contradicts, "max_open_zones", 3, 0, [](DiskConfig& c) { c.max_open_zones = 3; });
  expect_refused(contradicts, "max_active_zones", 3, 0,
                 [](DiskConfig& c) { c.max_active_zones = 3; });
  expect_refused(too_large, "max_open_zones", 4, 3, [](DiskConfig& c) {
    c.zoned = true;
    c.zone_sectors = 64;
    c.max_open_zones = 4;
    c.max_active_zones = 3;
  });
  expect_refused(not_a_multiple, "zone_sectors", 12, 8, [](DiskConfig& c) {
    c.zoned = true;
    c.zone_sectors = 12;
  });
  expect_refused(contradicts, "chunk_sectors", 32, 64, [](DiskConfig& c) {
    c.zoned = true;
    c.zone_sectors = 64;
    c.limits.chunk_sectors = 32;
  });
  expect_refused(not_a_multiple, "chunk_sectors", 64, 48, [](DiskConfig& c) {
    c.zoned = true;
    c.zone_sectors = 64;
    c.limits.discard_granularity_sectors = 48;
  });
  expect_refused(too_small, "normal_queues", 0, 1, [](DiskConfig& c) { c.normal_queues = 0; });
  expect_refused(too_small, "max_normal_queues", 3, 4, [](DiskConfig& c) {
    c.normal_queues = 4;
    c.max_normal_queues = 3;
  });
  expect_refused(too_large, "queues", 65537, 65536,
                 [](DiskConfig& c) { c.max_normal_queues = 65537; });
  expect_refused(too_large, "queues", 65537, 65536, [](DiskConfig& c) { c.read_queues = 65536; });
  expect_refused(too_large, "queues", 65537, 65536,
                 [](DiskConfig& c) { c.read_queues = c.poll_queues = 32768; });
  expect_refused(too_small, "depth", 0, 1, [](DiskConfig& c) { c.depth = 0; });
  expect_refused(too_large, "timeout_ms", 1073741825, 1073741824,
                 [](DiskConfig& c) { c.timeout_ms = (1U << 30) + 1; });
  expect_refused(too_small, "busy_delay_ms", 0, 1, [](DiskConfig& c) { c.busy_delay_ms = 0; });
  expect_refused(too_large, "reserved_depth", 64, 63,
                 [](DiskConfig& c) { c.reserved_depth = c.depth; });
}

TEST(QueueLimits, TheErrorNamesTheField) {
  using enum DiskReason;
  expect_refused(too_small, "max_sectors", 7, 8, [](DiskConfig& c) { c.limits.max_sectors = 7; });
  expect_refused(too_small, "max_segments", 0, 1, [](DiskConfig& c) { c.limits.max_segments = 0; });
  expect_refused(not_a_mask, "virt_boundary_mask", 4096, 0,
                 [](DiskConfig& c) { c.limits.virt_boundary_mask = 4096; });
  expect_refused(too_small, "max_segment_bytes", 0, 1,
                 [](DiskConfig& c) { c.limits.max_segment_bytes = 0; });
  expect_refused(not_a_multiple, "max_segment_bytes", 6144, 4096, [](DiskConfig& c) {
    c.limits.virt_boundary_mask = 4095;
    c.limits.max_segment_bytes = 6144;
  });
  expect_refused(too_small, "max_discard_sectors", 1, 8,
                 [](DiskConfig& c) { c.limits.max_discard_sectors = 1; });
  expect_refused(too_small, "max_write_zeroes_sectors", 7, 8,
                 [](DiskConfig& c) { c.limits.max_write_zeroes_sectors = 7; });
  expect_refused(too_large, "max_zone_append_sectors", 2561, 2560, [](DiskConfig& c) {
    c.limits.max_zone_append_sectors = c.limits.max_sectors + 1;
  });
  expect_refused(not_a_multiple, "chunk_sectors", 12, 8,
                 [](DiskConfig& c) { c.limits.chunk_sectors = 12; });
}

TEST(QueueLimits, TheErrorNamesTheFieldOfMemory) {
  using enum DiskReason;
  expect_refused(too_small, "max_segments", 7, 8, [](DiskConfig& c) {
    c.limits.max_segments = 7;
    c.limits.max_segment_bytes = 512;
  });
  expect_refused(not_a_mask, "dma_alignment_mask", 4, 0,
                 [](DiskConfig& c) { c.limits.dma_alignment_mask = 4; });
  expect_refused(too_large, "dma_alignment_mask", 8191, 4095,
                 [](DiskConfig& c) { c.limits.dma_alignment_mask = 8191; });
  expect_refused(too_small, "max_segment_bytes", 511, 512, [](DiskConfig& c) {
    c.limits.max_segment_bytes = 511;
    c.limits.dma_alignment_mask = 511;
  });
}

TEST(QueueLimits, TheErrorNamesTheFieldOfUnits) {
  using enum DiskReason;
  expect_refused(not_a_multiple, "discard_granularity_sectors", 4, 8,
                 [](DiskConfig& c) { c.limits.discard_granularity_sectors = 4; });
  expect_refused(not_a_multiple, "discard_alignment_sectors", 4, 8, [](DiskConfig& c) {
    c.limits.discard_granularity_sectors = 16;
    c.limits.discard_alignment_sectors = 4;
  });
  expect_refused(too_large, "discard_alignment_sectors", 8, 0,
                 [](DiskConfig& c) { c.limits.discard_alignment_sectors = 8; });
  expect_refused(too_large, "write_zeroes_alignment_sectors", 16, 15, [](DiskConfig& c) {
    c.limits.write_zeroes_granularity_sectors = 16;
    c.limits.write_zeroes_alignment_sectors = 16;
  });
  expect_refused(too_small, "max_write_zeroes_sectors", 8, 16, [](DiskConfig& c) {
    c.limits.max_write_zeroes_sectors = 8;
    c.limits.write_zeroes_granularity_sectors = 16;
  });
  expect_refused(contradicts, "discard_alignment_sectors", 8, 64, [](DiskConfig& c) {
    c.limits.chunk_sectors = 64;
    c.limits.discard_granularity_sectors = 16;
    c.limits.discard_alignment_sectors = 8;
  });
}

namespace {

/// Whether a block can be cut into at most `pieces` pieces that obey the limits, wherever they lie.
/// Tries every length of the first piece. The lengths are multiples of `step`. A piece that is not
/// the last one ends on the boundary, so a first piece may begin off it.
bool can_be_cut(std::uint32_t bytes, std::uint32_t pieces, bool is_first, std::uint32_t step,
                const QueueLimits& limits) {
  if (bytes == 0) return true;
  if (pieces == 0) return false;
  for (std::uint32_t piece = step; piece <= limits.max_segment_bytes && piece <= bytes;
       piece += step) {
    if ((piece & limits.dma_alignment_mask) != 0) continue;
    const bool is_last = piece == bytes;
    const bool begins_on_boundary_or_may = is_first || (piece & limits.virt_boundary_mask) == 0;
    if (!is_last && !begins_on_boundary_or_may) continue;
    if (can_be_cut(bytes - piece, pieces - 1, false, step, limits)) return true;
  }
  return false;
}

}  // namespace

// Goal: limits are refused exactly where no block can obey them, in every combination.
// Method: small limits of every kind, against a search for a way to cut one block into pieces.
TEST(QueueLimits, AreRefusedExactlyWhereNoBlockCanObeyThem) {
  constexpr std::uint32_t step = 128;
  unsigned refused = 0;
  unsigned accepted = 0;
  for (const std::uint32_t block_bytes : {512U, 1024U, 2048U}) {
    for (std::uint32_t segment_bytes = step; segment_bytes <= 9 * step; segment_bytes += step) {
      for (std::uint32_t segments = 1; segments <= 5; ++segments) {
        for (const std::uint64_t boundary : {0U, 127U, 255U, 511U}) {
          // A boundary that a piece cannot reach is an error of its own.
          if ((segment_bytes & boundary) != 0) continue;
          for (const std::uint32_t alignment : {0U, 127U, 255U, 511U, 1023U}) {
            for (std::uint32_t sectors = 1; sectors <= 5; ++sectors) {
              for (std::uint64_t chunk = 0; chunk <= 5; ++chunk) {
                const QueueLimits limits{.max_sectors = sectors,
                                         .max_segments = segments,
                                         .max_segment_bytes = segment_bytes,
                                         .virt_boundary_mask = boundary,
                                         .dma_alignment_mask = alignment,
                                         .chunk_sectors = chunk};
                const bool is_obeyable = sectors * 512 >= block_bytes &&
                                         chunk * 512 % block_bytes == 0 &&
                                         (block_bytes & alignment) == 0 &&
                                         can_be_cut(block_bytes, segments, true, step, limits);
                ASSERT_EQ(mq::check(limits, block_bytes).has_value(), !is_obeyable)
                    << block_bytes << " bytes, " << segments << " segments of " << segment_bytes
                    << ", boundary " << boundary << ", alignment " << alignment << ", " << sectors
                    << " sectors, chunk " << chunk;
                ++(is_obeyable ? accepted : refused);
              }
            }
          }
        }
      }
    }
  }
  EXPECT_GT(accepted, 1000U);
  EXPECT_GT(refused, 1000U);
}

TEST(QueueLimits, AreAcceptedUpToTheirExtremes) {
  const QueueLimits edge{.max_sectors = 8,
                         .max_segments = 1,
                         .max_segment_bytes = 4096,
                         .virt_boundary_mask = 4095,
                         .max_discard_sectors = 8,
                         .max_write_zeroes_sectors = 8,
                         .max_zone_append_sectors = 8};
  EXPECT_FALSE(mq::check(edge, 4096).has_value());
  EXPECT_FALSE(mq::check(QueueLimits{}, 65536).has_value());
}

namespace {

/// A device that is described by a type of its own.
struct OfDevice {
  std::uint16_t max_segments = 64;
  std::uint64_t max_segment_bytes = 4096;
  std::uint64_t boundary_mask = ~std::uint64_t{0};
  std::uint32_t virt_boundary_mask = 4095;
};

}  // namespace

TEST(QueueLimits, AreMadeOfADevicesLimits) {
  const QueueLimits nvme = QueueLimits::for_device(OfDevice{});
  EXPECT_EQ(nvme, (QueueLimits{
                      .max_segments = 64, .max_segment_bytes = 4096, .virt_boundary_mask = 4095}));
  EXPECT_FALSE(check(nvme, 4096).has_value());
  const QueueLimits wide = QueueLimits::for_device(
      OfDevice{.max_segment_bytes = ~std::uint64_t{0}, .virt_boundary_mask = 0});
  EXPECT_EQ(wide.max_segment_bytes, ~std::uint32_t{0});
  EXPECT_EQ(
      QueueLimits::for_device(OfDevice{.max_segment_bytes = ~std::uint64_t{0}}).max_segment_bytes,
      0xFFFF'F000U)
      << "a piece ends on the boundary";
  EXPECT_EQ(QueueLimits::for_device(OfDevice{.max_segment_bytes = 10000}).max_segment_bytes, 8192U);
}

// Goal: a piece that the device's own boundary cuts is two elements.
TEST(QueueLimits, LeaveRoomForTheCutsOfADevice) {
  OfDevice device{.max_segment_bytes = 1 << 20, .boundary_mask = 0xFFFF, .virt_boundary_mask = 0};
  QueueLimits limits = QueueLimits::for_device(device);
  EXPECT_EQ(limits.max_segment_bytes, 65536U);
  EXPECT_EQ(limits.max_segments, 32U);
  device.virt_boundary_mask = 0xFFFF;
  limits = QueueLimits::for_device(device);
  EXPECT_EQ(limits.max_segments, 64U) << "no piece crosses a boundary";
  device.max_segments = 1;
  device.virt_boundary_mask = 0;
  EXPECT_EQ(QueueLimits::for_device(device).max_segments, 1U);
}

// Goal: only the two together contradict each other.
TEST(QueueLimits, UnitsMayBeInChunksOrHaveAnAlignment) {
  QueueLimits limits{.discard_granularity_sectors = 16};
  limits.chunk_sectors = 64;
  EXPECT_FALSE(check(limits, 512).has_value());
  limits.discard_alignment_sectors = 8;
  EXPECT_TRUE(check(limits, 512).has_value());
  limits.chunk_sectors = 0;
  EXPECT_FALSE(check(limits, 512).has_value());
}

TEST(DiskReason, EachHasItsOwnText) {
  std::set<std::string> texts;
  for (std::size_t i = 0; i != mq::disk_reason_count; ++i) {
    texts.insert(to_string(static_cast<DiskReason>(i)));
  }
  EXPECT_EQ(texts.size(), mq::disk_reason_count);
  EXPECT_FALSE(texts.contains("unknown reason"));
}
