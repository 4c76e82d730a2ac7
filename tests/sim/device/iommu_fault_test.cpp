// SPDX-License-Identifier: BSL-1.0
//
// The accesses that an Iommu refuses, and the faults that it logs.

#include <gtest/gtest.h>

#include <blkown/sim/device/iommu_fault.hpp>
#include <set>
#include <string>

#include "sim/device/iommu_fixture.hpp"

namespace sim_test {
namespace {

TEST_F(IommuTest, LogsAnAccessToUnmappedMemory) {
  const std::uint64_t iova = map(0, page, Direction::from_device, first_io);
  EXPECT_FALSE(write(iova + page, 16, first_io));
  const IommuFault fault = last_fault();
  EXPECT_EQ(fault.kind, IommuFaultKind::unmapped);
  EXPECT_EQ(fault.device, 7U);
  EXPECT_EQ(fault.iova, iova + page);
  EXPECT_EQ(fault.direction, Direction::from_device);
  EXPECT_EQ(fault.cookie, first_io.value);
  EXPECT_EQ(fault.owner, 0U);
  EXPECT_FALSE(fault.is_forbidden);
  EXPECT_TRUE(only_written(0, 0));
}

TEST_F(IommuTest, LogsAnAccessOutsideTheAddressSpace) {
  for (const std::uint64_t iova : {std::uint64_t{0}, IommuConfig{}.first_iova - 1,
                                   IommuConfig{}.first_iova + 16 * page, ~std::uint64_t{0} - 3}) {
    EXPECT_FALSE(read(iova, 4));
    EXPECT_EQ(last_fault().kind, IommuFaultKind::unmapped);
    EXPECT_EQ(last_fault().iova, iova);
  }
}

TEST_F(IommuTest, LogsAnAccessInTheWrongDirection) {
  const std::uint64_t to_device = map(0, 64, Direction::to_device, first_io);
  const std::uint64_t from_device = map(page, 64, Direction::from_device, second_io);
  EXPECT_TRUE(read(to_device, 64, first_io));
  EXPECT_TRUE(write(from_device, 64, second_io));
  EXPECT_FALSE(write(to_device, 64, first_io));
  EXPECT_EQ(last_fault().kind, IommuFaultKind::wrong_direction);
  EXPECT_EQ(last_fault().direction, Direction::from_device);
  EXPECT_EQ(last_fault().owner, first_io.value);
  EXPECT_FALSE(read(from_device, 64, second_io));
  EXPECT_EQ(last_fault().kind, IommuFaultKind::wrong_direction);
  EXPECT_EQ(last_fault().direction, Direction::to_device);
  EXPECT_EQ(last_fault().owner, second_io.value);
  EXPECT_EQ(seen_.front(), std::byte{0xA5}) << "nothing was read";
  EXPECT_TRUE(only_written(page, 64));
}

// Goal: bytes beside a buffer are refused, although they are on a mapped page.
TEST_F(IommuTest, LogsAnAccessToTheRestOfAPage) {
  const std::uint64_t iova = map(100, 64, Direction::bidirectional, first_io);
  EXPECT_FALSE(write(iova - 1, 1, first_io));
  EXPECT_EQ(last_fault().kind, IommuFaultKind::out_of_bounds);
  EXPECT_EQ(last_fault().iova, iova - 1);
  EXPECT_FALSE(read(iova + 64, 1, first_io));
  EXPECT_EQ(last_fault().kind, IommuFaultKind::out_of_bounds);
  EXPECT_EQ(last_fault().iova, iova + 64);
  EXPECT_EQ(last_fault().owner, first_io.value);
  EXPECT_TRUE(only_written(0, 0));
}

TEST_F(IommuTest, MovesNoByteBeyondAFault) {
  const std::uint64_t iova = map(100, 5000, Direction::bidirectional, first_io);
  EXPECT_FALSE(write(iova + 4990, 20, first_io));
  EXPECT_TRUE(only_written(5090, 10)) << "the bytes before the refused one have moved";
  EXPECT_EQ(last_fault().iova, iova + 5000);
  EXPECT_FALSE(read(iova + 4000, 2000, first_io));
  EXPECT_EQ(seen_[999], memory_[100 + 4999]);
  EXPECT_EQ(seen_[1000], std::byte{0xA5});
}

TEST_F(IommuTest, LogsAnAccessToAnotherIosMemory) {
  const std::uint64_t iova = map(0, 64, Direction::bidirectional, first_io);
  EXPECT_FALSE(write(iova, 64, second_io));
  const IommuFault fault = last_fault();
  EXPECT_EQ(fault.kind, IommuFaultKind::other_owner);
  EXPECT_EQ(fault.cookie, second_io.value);
  EXPECT_EQ(fault.owner, first_io.value);
  EXPECT_FALSE(read(iova, 64)) << "an access without a command";
  EXPECT_EQ(last_fault().kind, IommuFaultKind::other_owner);
  EXPECT_TRUE(only_written(0, 0));
}

// Goal: the cookie value 0 names an I/O as any other value does.
TEST_F(IommuTest, TellsAnIoWithCookieZeroFromNoIo) {
  const Cookie zero{.value = 0, .generation = {16}, .tag = {}, .queue = {}};
  const std::uint64_t iova = map(0, 64, Direction::bidirectional, zero);
  EXPECT_TRUE(write(iova, 64, zero));
  EXPECT_FALSE(read(iova, 64, no_io));
  EXPECT_EQ(last_fault().kind, IommuFaultKind::other_owner);
}

TEST_F(IommuTest, LetsEveryCommandAccessMemoryWithoutAnOwner) {
  const std::uint64_t iova = map(0, 64);
  EXPECT_TRUE(read(iova, 64));
  EXPECT_TRUE(write(iova, 64, second_io));
}

TEST_F(IommuTest, CountsFaultsByKindAndThoseOfACorrectDevice) {
  const std::uint64_t iova = map(0, 64, Direction::to_device, first_io);
  EXPECT_FALSE(write(iova, 1, first_io));
  EXPECT_FALSE(write(iova, 1, first_io));
  EXPECT_FALSE(read(iova, 65, first_io));
  Iommu::Access adversary = of(second_io);
  adversary.is_forbidden = true;
  std::byte byte{};
  EXPECT_FALSE(iommu_->read(iova, {&byte, 1}, adversary));
  EXPECT_TRUE(last_fault().is_forbidden);
  const auto counts = iommu_->fault_counts();
  EXPECT_EQ(counts.by_kind[static_cast<std::size_t>(IommuFaultKind::wrong_direction)], 2U);
  EXPECT_EQ(counts.by_kind[static_cast<std::size_t>(IommuFaultKind::out_of_bounds)], 1U);
  EXPECT_EQ(counts.by_kind[static_cast<std::size_t>(IommuFaultKind::other_owner)], 1U);
  EXPECT_EQ(counts.total(), 4U);
  EXPECT_EQ(counts.not_forbidden, 3U);
}

// Goal: a judge of the driver may look where the device may not, and leaves no trace.
TEST_F(IommuTest, AnInspectionLogsNoFaultAndCachesNoTranslation) {
  make({.page_count = 16, .invalidation = Invalidation::lazy});
  const std::uint64_t iova = map(1, 64, Direction::to_device, first_io);
  Iommu::Access inspection = of(first_io);
  inspection.is_inspection = true;
  std::byte byte{};
  EXPECT_TRUE(iommu_->read(iova, {&byte, 1}, inspection));
  EXPECT_EQ(byte, pattern(1));
  EXPECT_FALSE(iommu_->read(iova + page, {&byte, 1}, inspection));
  EXPECT_EQ(iommu_->fault_counts().total(), 0U);
  EXPECT_TRUE(iommu_->faults().empty());
  unmap(iova, 64);
  EXPECT_FALSE(read(iova, 1, first_io));
  EXPECT_EQ(last_fault().kind, IommuFaultKind::unmapped) << "the device has not used it";
}

TEST_F(IommuTest, KeepsTheLatestFaultsAndCountsThemAll) {
  for (std::uint64_t i = 0; i != 1000; ++i) EXPECT_FALSE(read(i, 1));
  const auto faults = iommu_->faults();
  ASSERT_EQ(faults.size(), 256U);
  EXPECT_EQ(faults.front().iova, 1000U - 256U);
  EXPECT_EQ(faults.back().iova, 999U);
  EXPECT_EQ(iommu_->fault_counts().total(), 1000U);
}

TEST_F(IommuTest, WritesAWordOfARing) {
  const std::uint64_t iova = map(0, 64);
  EXPECT_TRUE(iommu_->write_word(iova + 8, 0xA5A5, of(no_io)));
  EXPECT_TRUE(only_written(8, 2));
  EXPECT_FALSE(iommu_->write_word(iova + 64, 0xA5A5, of(no_io)));
  EXPECT_TRUE(only_written(8, 2));
}

TEST(IommuFaultText, NamesEachKind) {
  std::set<std::string> names;
  for (std::size_t i = 0; i != blkown::sim::iommu_fault_kind_count; ++i) {
    names.insert(to_string(static_cast<IommuFaultKind>(i)));
  }
  EXPECT_EQ(names.size(), blkown::sim::iommu_fault_kind_count);
  EXPECT_EQ(names.count("unknown kind"), 0U);
  EXPECT_STREQ(to_string(static_cast<IommuFaultKind>(99)), "unknown kind");
}

}  // namespace
}  // namespace sim_test
