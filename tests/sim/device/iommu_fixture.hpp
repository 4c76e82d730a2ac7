// SPDX-License-Identifier: BSL-1.0
//
// A fixture with an IOMMU and memory to map.

#ifndef BLKOWN_TESTS_SIM_DEVICE_IOMMU_FIXTURE_HPP
#define BLKOWN_TESTS_SIM_DEVICE_IOMMU_FIXTURE_HPP

#include <gtest/gtest.h>

#include <blkown/sim/device/iommu.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace sim_test {

using blkown::Cookie;
using blkown::Tag;
using blkown::dma::Direction;
using blkown::dma::IovaSegment;
using blkown::dma::MapFailure;
using blkown::sim::Invalidation;
using blkown::sim::Iommu;
using blkown::sim::IommuConfig;
using blkown::sim::IommuFault;
using blkown::sim::IommuFaultKind;

inline constexpr std::uint64_t page = Iommu::page_bytes;
using blkown::dma::no_io;
inline constexpr Cookie first_io{.value = 0x1234, .generation = {}, .tag = Tag{1}, .queue = {}};
inline constexpr Cookie second_io{.value = 0x5678, .generation = {}, .tag = Tag{2}, .queue = {}};

/// An IOMMU and sixteen pages of memory, at a bus address whose lower 32 bits are 0.
class IommuTest : public testing::Test {
 protected:
  static constexpr std::uint64_t memory_at = std::uint64_t{1} << 32;

  void make(const IommuConfig& config) {
    iommu_.emplace(config);
    iommu_->add_memory(memory_, memory_at);
  }
  void SetUp() override {
    for (std::size_t i = 0; i != memory_.size(); ++i) memory_[i] = pattern(i);
    make({.page_count = 16});
  }

  [[nodiscard]] static std::byte pattern(std::size_t i) noexcept {
    return static_cast<std::byte>(i * 7 + i / 251);
  }
  [[nodiscard]] std::uint64_t map(std::size_t offset, std::size_t length_bytes,
                                  Direction direction = Direction::bidirectional,
                                  const Cookie& cookie = no_io) {
    const auto iova = iommu_->map({memory_.data() + offset, length_bytes}, direction, cookie);
    EXPECT_TRUE(iova.has_value());
    return iova.value_or(0);
  }
  void unmap(std::uint64_t iova, std::size_t length_bytes) {
    const IovaSegment segment{.iova = iova, .length_bytes = length_bytes};
    iommu_->unmap(segment);
    iommu_->invalidate({&segment, 1});
  }

  [[nodiscard]] static Iommu::Access of(const Cookie& cookie) {
    return {.device = 7, .cookie = cookie.value, .is_for_command = cookie != no_io};
  }
  [[nodiscard]] bool read(std::uint64_t iova, std::size_t length_bytes,
                          const Cookie& cookie = no_io) {
    seen_.assign(length_bytes, std::byte{0xA5});
    return iommu_->read(iova, seen_, of(cookie));
  }
  [[nodiscard]] bool write(std::uint64_t iova, std::size_t length_bytes,
                           const Cookie& cookie = no_io) {
    const std::vector<std::byte> bytes(length_bytes, std::byte{0xA5});
    return iommu_->write(iova, bytes, of(cookie));
  }
  /// Whether the `count` bytes from `offset` were written, and no other byte has changed.
  [[nodiscard]] bool only_written(std::size_t offset, std::size_t count) const {
    for (std::size_t i = 0; i != memory_.size(); ++i) {
      const bool is_inside = i >= offset && i < offset + count;
      if (memory_[i] != (is_inside ? std::byte{0xA5} : pattern(i))) return false;
    }
    return true;
  }
  [[nodiscard]] IommuFault last_fault() {
    const auto faults = iommu_->faults();
    EXPECT_FALSE(faults.empty());
    return faults.empty() ? IommuFault{} : faults.back();
  }

  std::vector<std::byte> memory_ = std::vector<std::byte>(16 * page);
  std::vector<std::byte> seen_;
  std::optional<Iommu> iommu_;
};

}  // namespace sim_test

#endif
