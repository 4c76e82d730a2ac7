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
  config.physical_block_bytes = 4096;
  config.limits.max_discard_sectors = 4096;
  return config;
}

void expect_refused(DiskReason reason, const char* field,
                    const std::function<void(DiskConfig&)>& spoil) {
  DiskConfig config = sound();
  spoil(config);
  const auto error = mq::detail::check_config(config);
  ASSERT_TRUE(error.has_value()) << field << " was accepted";
  EXPECT_STREQ(error->field, field);
  EXPECT_EQ(error->reason, reason) << to_string(error->reason);
}

}  // namespace

TEST(DiskConfig, NeedsOnlyACapacity) {
  EXPECT_FALSE(mq::detail::check_config(sound()).has_value());
  EXPECT_FALSE(mq::detail::check_config(DiskConfig{.capacity_sectors = 1}).has_value());
}

TEST(DiskConfig, TheErrorNamesTheField) {
  using enum DiskReason;
  expect_refused(not_a_power_of_two, "logical_block_bytes",
                 [](DiskConfig& c) { c.logical_block_bytes = 1000; });
  expect_refused(too_small, "logical_block_bytes",
                 [](DiskConfig& c) { c.logical_block_bytes = 256; });
  expect_refused(too_large, "logical_block_bytes",
                 [](DiskConfig& c) { c.logical_block_bytes = 131072; });
  expect_refused(not_a_power_of_two, "physical_block_bytes",
                 [](DiskConfig& c) { c.physical_block_bytes = 5000; });
  expect_refused(too_small, "physical_block_bytes",
                 [](DiskConfig& c) { c.physical_block_bytes = 512; });
  expect_refused(too_small, "capacity_sectors", [](DiskConfig& c) { c.capacity_sectors = 0; });
  expect_refused(not_a_multiple, "capacity_sectors",
                 [](DiskConfig& c) { c.capacity_sectors = 12; });
  expect_refused(too_large, "capacity_sectors",
                 [](DiskConfig& c) { c.capacity_sectors = std::uint64_t{1} << 60; });
  expect_refused(contradicts, "fua", [](DiskConfig& c) { c.fua = true; });
  expect_refused(contradicts, "zone_sectors", [](DiskConfig& c) { c.zoned = true; });
  expect_refused(contradicts, "zone_sectors", [](DiskConfig& c) { c.zone_sectors = 8; });
  expect_refused(not_a_multiple, "zone_sectors", [](DiskConfig& c) {
    c.zoned = true;
    c.zone_sectors = 12;
  });
  expect_refused(too_small, "normal_queues", [](DiskConfig& c) { c.normal_queues = 0; });
  expect_refused(too_small, "max_normal_queues", [](DiskConfig& c) {
    c.normal_queues = 4;
    c.max_normal_queues = 3;
  });
  expect_refused(too_large, "queues", [](DiskConfig& c) { c.read_queues = 65536; });
  expect_refused(too_small, "depth", [](DiskConfig& c) { c.depth = 0; });
  expect_refused(too_large, "timeout_ms", [](DiskConfig& c) { c.timeout_ms = (1U << 30) + 1; });
  expect_refused(too_small, "busy_delay_ms", [](DiskConfig& c) { c.busy_delay_ms = 0; });
  expect_refused(too_large, "reserved_depth", [](DiskConfig& c) { c.reserved_depth = c.depth; });
}

TEST(QueueLimits, TheErrorNamesTheField) {
  using enum DiskReason;
  expect_refused(too_small, "max_sectors", [](DiskConfig& c) { c.limits.max_sectors = 7; });
  expect_refused(too_small, "max_segments", [](DiskConfig& c) { c.limits.max_segments = 0; });
  expect_refused(not_a_mask, "virt_boundary_mask",
                 [](DiskConfig& c) { c.limits.virt_boundary_mask = 4096; });
  expect_refused(too_small, "max_segment_bytes",
                 [](DiskConfig& c) { c.limits.max_segment_bytes = 0; });
  expect_refused(not_a_multiple, "max_segment_bytes", [](DiskConfig& c) {
    c.limits.virt_boundary_mask = 4095;
    c.limits.max_segment_bytes = 6144;
  });
  expect_refused(too_small, "max_discard_sectors",
                 [](DiskConfig& c) { c.limits.max_discard_sectors = 1; });
  expect_refused(too_small, "max_write_zeroes_sectors",
                 [](DiskConfig& c) { c.limits.max_write_zeroes_sectors = 7; });
  expect_refused(too_large, "max_zone_append_sectors", [](DiskConfig& c) {
    c.limits.max_zone_append_sectors = c.limits.max_sectors + 1;
  });
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

TEST(DiskReason, EachHasItsOwnText) {
  std::set<std::string> texts;
  for (std::size_t i = 0; i != mq::disk_reason_count; ++i) {
    texts.insert(to_string(static_cast<DiskReason>(i)));
  }
  EXPECT_EQ(texts.size(), mq::disk_reason_count);
  EXPECT_FALSE(texts.contains("unknown reason"));
}
