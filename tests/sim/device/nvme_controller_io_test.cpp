// SPDX-License-Identifier: BSL-1.0
//
// The I/O commands of an NvmeController: what they do, and the status of each wrong one.

#include <gtest/gtest.h>

#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "sim/device/nvme_bench.hpp"

namespace sim_test {
namespace {

/// A controller with two pairs of queues.
class NvmeIo : public testing::Test {
 protected:
  void SetUp() override { bench_.start(); }
  [[nodiscard]] bool is_written(std::uint64_t block, std::size_t count) {
    return bench_.on_medium(block, count) == bench_.in_memory(0, count * 512);
  }
  NvmeBench bench_;
};

// --- data ----------------------------------------------------------------------------------------

TEST_F(NvmeIo, WriteAndReadMoveBlocks) {
  EXPECT_EQ(bench_.one(bench_.write(1, 3, 4)).code, Code::success);
  EXPECT_TRUE(is_written(3, 4));
  EXPECT_TRUE(bench_.is_zero(0, 3));
  EXPECT_TRUE(bench_.is_zero(7, 1));
  const auto written = bench_.in_memory(0, 2048);
  std::ranges::fill(bench_.data(), std::byte{});
  EXPECT_EQ(bench_.one(bench_.read(2, 3, 4)).code, Code::success);
  EXPECT_EQ(bench_.in_memory(0, 2048), written);
  EXPECT_EQ(bench_.data()[2048], std::byte{});
}

TEST_F(NvmeIo, TheLastBlockOfANamespaceIsWritten) {
  const std::uint64_t last = NvmeBench::capacity_bytes / 512 - 1;
  EXPECT_EQ(bench_.one(bench_.write(1, last)).code, Code::success);
  EXPECT_TRUE(is_written(last, 1));
}

TEST_F(NvmeIo, ANamespaceMayHaveBlocksOf4096Bytes) {
  const Entry entry = bench_.with_data(Entry::write(3, {5, 2}));
  EXPECT_EQ(bench_.one(entry).code, Code::success);
  EXPECT_EQ(NvmeBench::of(bench_.large.bytes().subspan(5 * 4096, 8192)), bench_.in_memory(0, 8192));
  EXPECT_TRUE(bench_.is_zero(0, 64)) << "the other namespace";
}

// Goal: one entry, two entries, a list; each with and without an offset in the first page.
TEST_F(NvmeIo, PrpEntriesMayPointAnywhere) {
  // Pages in an order of their own, so that no run is longer than a page.
  const auto page_of = [](std::size_t i) { return NvmeBench::data_page + 2 * ((i * 7 + 3) % 36); };
  for (const std::uint32_t offset : {0U, 4U, 512U, 4092U}) {
    for (const std::uint32_t count : {1U, 8U, 9U, 16U, 17U, 64U, 256U}) {
      const std::uint32_t length = count * 512;
      Entry entry = Entry::write(1, {0, count});
      entry.command_id = 1;
      entry.prp1 = bench_.iova_of(page_of(0), offset);
      std::vector<nvme::Le64> list;
      std::vector<std::byte> expected;
      for (std::size_t i = 0; expected.size() != length; ++i) {
        const std::size_t skip = i == 0 ? offset : 0;
        const std::size_t part =
            std::min<std::size_t>(NvmeBench::page - skip, length - expected.size());
        const auto bytes = bench_.pages(page_of(i)).subspan(skip, part);
        expected.insert(expected.end(), bytes.begin(), bytes.end());
        if (i != 0) list.push_back(bench_.iova_of(page_of(i)));
      }
      if (list.size() == 1) entry.prp2 = list[0];
      if (list.size() > 1) {
        const std::size_t at = 64;
        std::memcpy(bench_.pages(NvmeBench::list_page).data() + at, list.data(),
                    list.size() * sizeof list[0]);
        entry.prp2 = bench_.iova_of(NvmeBench::list_page, at);
      }
      ASSERT_EQ(bench_.one(entry).code, Code::success) << offset << ' ' << count;
      ASSERT_EQ(bench_.on_medium(0, count), expected) << offset << ' ' << count;
    }
  }
}

TEST_F(NvmeIo, APrpListMayGoOnInAnotherPage) {
  // The list begins 16 bytes before the end of its page: one entry, and the pointer.
  const nvme::Le64 first[] = {bench_.iova_of(NvmeBench::data_page + 5),
                              bench_.iova_of(NvmeBench::list_page + 1)};
  const nvme::Le64 second[] = {bench_.iova_of(NvmeBench::data_page + 9),
                               bench_.iova_of(NvmeBench::data_page + 7)};
  std::memcpy(bench_.pages(NvmeBench::list_page).data() + 4080, first, sizeof first);
  std::memcpy(bench_.pages(NvmeBench::list_page + 1).data(), second, sizeof second);
  Entry entry = bench_.write(1, 0, 32);
  entry.prp2 = bench_.iova_of(NvmeBench::list_page, 4080);
  EXPECT_EQ(bench_.one(entry).code, Code::success);
  EXPECT_EQ(bench_.on_medium(0, 8), bench_.in_memory(0, 4096));
  EXPECT_EQ(bench_.on_medium(8, 8), bench_.in_memory(5 * 4096, 4096));
  EXPECT_EQ(bench_.on_medium(16, 8), bench_.in_memory(9 * 4096, 4096));
  EXPECT_EQ(bench_.on_medium(24, 8), bench_.in_memory(7 * 4096, 4096));
}

// Goal: the memory of the driver is reached with the command's own identity.
TEST_F(NvmeIo, TheIommuSeesTheCommandOfAnAccess) {
  std::vector<std::byte> memory(512, std::byte{0x5A});
  const blkown::Cookie own{.value = 0x3002, .generation = {3}, .tag = {2}, .queue = {}};
  const auto iova =
      bench_.iommu.map({memory.data(), 512}, blkown::dma::Direction::bidirectional, own);
  ASSERT_TRUE(iova.has_value());
  Entry entry = bench_.write(0x3002);
  entry.prp1 = *iova;
  // The memory of the test is not aligned to a page.
  entry.prp2 = *iova / 4096 * 4096 + 4096;
  EXPECT_EQ(bench_.one(entry).code, Code::success);
  EXPECT_EQ(bench_.on_medium(0, 1), memory);
  entry.command_id = 0x4002;
  EXPECT_EQ(bench_.answer(entry, false), Code::data_transfer_error);
  EXPECT_EQ(bench_.iommu.faults().at(0).kind, blkown::sim::IommuFaultKind::other_owner);
}

// --- the other commands --------------------------------------------------------------------------

TEST_F(NvmeIo, WriteZeroesClearsBlocks) {
  EXPECT_EQ(bench_.one(bench_.write(1, 0, 8)).code, Code::success);
  Entry entry = Entry::write_zeroes(1, {2, 3}, false);
  EXPECT_EQ(bench_.one(entry).code, Code::success);
  EXPECT_TRUE(is_written(0, 2));
  EXPECT_TRUE(bench_.is_zero(2, 3));
  EXPECT_EQ(bench_.on_medium(5, 3), bench_.in_memory(5 * 512, 3 * 512));
}

TEST_F(NvmeIo, WriteZeroesHasNoTransferLimit) {
  const std::uint64_t all = NvmeBench::capacity_bytes / 512;
  EXPECT_EQ(bench_.one(bench_.write(1, all - 1)).code, Code::success);
  Entry entry = Entry::write_zeroes(1, {0, static_cast<std::uint32_t>(all)}, true);
  EXPECT_EQ(bench_.one(entry).code, Code::success);
  EXPECT_TRUE(bench_.is_zero(all - 1, 1));
}

TEST_F(NvmeIo, CompareTellsWhetherBlocksAreEqual) {
  EXPECT_EQ(bench_.one(bench_.write(1, 4, 2)).code, Code::success);
  const Entry entry = bench_.with_data(Entry::compare(1, {4, 2}));
  EXPECT_EQ(bench_.one(entry).code, Code::success);
  bench_.data()[1023] ^= std::byte{1};
  EXPECT_EQ(bench_.answer(entry, true), Code::compare_failure);
}

TEST_F(NvmeIo, DatasetManagementDeallocatesRanges) {
  EXPECT_EQ(bench_.one(bench_.write(1, 0, 16)).code, Code::success);
  const auto before = bench_.on_medium(0, 16);
  const nvme::DsmRange ranges[] = {{.attributes = 0, .block_count = 2, .slba = 1},
                                   {.attributes = 0, .block_count = 0, .slba = 9},
                                   {.attributes = 0, .block_count = 3, .slba = 12}};
  std::memcpy(bench_.data().data(), ranges, sizeof ranges);
  EXPECT_EQ(bench_.one(bench_.with_data(Entry::dataset_management(1, 3, false))).code,
            Code::success);
  EXPECT_EQ(bench_.on_medium(0, 16), before) << "only a hint";
  EXPECT_EQ(bench_.one(bench_.with_data(Entry::dataset_management(1, 3, true))).code,
            Code::success);
  auto after = before;
  std::fill_n(after.begin() + 512, 1024, std::byte{});
  std::fill_n(after.begin() + 12 * 512, 3 * 512, std::byte{});
  EXPECT_EQ(bench_.on_medium(0, 16), after);
}

TEST_F(NvmeIo, ARangeBeyondTheEndLeavesTheOthersAlone) {
  EXPECT_EQ(bench_.one(bench_.write(1, 0, 1)).code, Code::success);
  const nvme::DsmRange ranges[] = {
      {.attributes = 0, .block_count = 1, .slba = 0},
      {.attributes = 0, .block_count = 2, .slba = NvmeBench::capacity_bytes / 512 - 1}};
  std::memcpy(bench_.data().data(), ranges, sizeof ranges);
  EXPECT_EQ(bench_.answer(bench_.with_data(Entry::dataset_management(1, 2, true)), true),
            Code::lba_out_of_range);
  EXPECT_FALSE(bench_.is_zero(0, 1));
}

// --- the write cache -----------------------------------------------------------------------------

/// Whether block 0 holds what was written in every power cut.
[[nodiscard]] bool is_durable(NvmeBench& bench, const CachedMedia& media) {
  for (std::uint64_t seed = 0; seed != 16; ++seed) {
    const auto left = media.after_power_cut(seed);
    if (!std::ranges::equal(std::span{left}.first(512), bench.data().first(512))) return false;
  }
  return true;
}

TEST_F(NvmeIo, AWriteIsDurableAfterAFlushOrWithFua) {
  EXPECT_EQ(bench_.one(bench_.write(1)).code, Code::success);
  EXPECT_FALSE(is_durable(bench_, bench_.first));
  EXPECT_EQ(bench_.one(NvmeBench::flush(2, 3)).code, Code::success) << "another namespace";
  EXPECT_FALSE(is_durable(bench_, bench_.first));
  EXPECT_EQ(bench_.one(NvmeBench::flush(3, 1)).code, Code::success);
  EXPECT_TRUE(is_durable(bench_, bench_.first));
  EXPECT_FALSE(is_durable(bench_, bench_.large));
  EXPECT_EQ(bench_.one(bench_.with_data(Entry::write(3, {0, 1}, true))).code, Code::success);
  EXPECT_TRUE(is_durable(bench_, bench_.large));
}

TEST_F(NvmeIo, AFlushOfAllNamespacesReachesEach) {
  EXPECT_EQ(bench_.one(bench_.write(1)).code, Code::success);
  EXPECT_EQ(bench_.one(bench_.with_data(Entry::write(3, {0, 1}))).code, Code::success);
  EXPECT_EQ(bench_.one(NvmeBench::flush(3, nvme::all_namespaces)).code, Code::success);
  EXPECT_TRUE(is_durable(bench_, bench_.first));
  EXPECT_TRUE(is_durable(bench_, bench_.large));
}

TEST_F(NvmeIo, WriteZeroesWithFuaIsDurable) {
  EXPECT_EQ(bench_.one(bench_.with_data(Entry::write(1, {0, 1}, true))).code, Code::success);
  std::ranges::fill(bench_.data(), std::byte{});
  EXPECT_EQ(bench_.one(Entry::write_zeroes(1, {0, 1}, false)).code, Code::success);
  EXPECT_FALSE(is_durable(bench_, bench_.first));
  EXPECT_EQ(bench_.one(Entry::write_zeroes(1, {0, 1}, false, true)).code, Code::success);
  EXPECT_TRUE(is_durable(bench_, bench_.first));
}

TEST_F(NvmeIo, ADeallocationIsDurableAfterAFlush) {
  EXPECT_EQ(bench_.one(bench_.with_data(Entry::write(1, {0, 1}, true))).code, Code::success);
  const nvme::DsmRange range{.attributes = 0, .block_count = 1, .slba = 0};
  std::memcpy(bench_.data().data(), &range, sizeof range);
  EXPECT_EQ(bench_.one(bench_.with_data(Entry::dataset_management(1, 1, true))).code,
            Code::success);
  std::ranges::fill(bench_.data(), std::byte{});
  EXPECT_FALSE(is_durable(bench_, bench_.first));
  EXPECT_EQ(bench_.one(NvmeBench::flush(3, 1)).code, Code::success);
  EXPECT_TRUE(is_durable(bench_, bench_.first));
}

// Source: NVMe Base 1.4, sections 6.6 and 6.9: FUA.
TEST_F(NvmeIo, AReadOrACompareWithFuaMakesItsBlocksDurable) {
  for (Entry entry : {bench_.read(2), bench_.with_data(Entry::compare(1, {0, 1}))}) {
    std::ranges::reverse(bench_.data().first(512));
    EXPECT_EQ(bench_.one(bench_.write(1)).code, Code::success);
    EXPECT_EQ(bench_.one(entry).code, Code::success);
    EXPECT_FALSE(is_durable(bench_, bench_.first));
    entry.cdw12 = Entry::read(1, {0, 1}, true).cdw12;
    EXPECT_EQ(bench_.one(entry).code, Code::success);
    EXPECT_TRUE(is_durable(bench_, bench_.first));
  }
}

TEST_F(NvmeIo, WithoutItsCacheAWriteIsDurableAtOnce) {
  EXPECT_EQ(bench_.one(bench_.write(1)).code, Code::success);
  EXPECT_EQ(bench_
                .admin(Entry::set_features(nvme::FeatureId::volatile_write_cache,
                                           nvme::VolatileWriteCache::of(false).value))
                .code,
            Code::success);
  EXPECT_TRUE(is_durable(bench_, bench_.first)) << "the cache is saved when it is switched off";
  std::ranges::reverse(bench_.data().first(512));
  EXPECT_EQ(bench_.one(bench_.write(1)).code, Code::success);
  EXPECT_TRUE(is_durable(bench_, bench_.first));
  bench_.disable();
  bench_.start();
  std::ranges::reverse(bench_.data().first(512));
  EXPECT_EQ(bench_.one(bench_.write(1)).code, Code::success);
  EXPECT_FALSE(is_durable(bench_, bench_.first)) << "a reset switches the cache on";
}

// --- the status of wrong commands ----------------------------------------------------------------

TEST_F(NvmeIo, AnUnknownOpcodeIsInvalid) {
  std::ranges::fill(bench_.data().first(16), std::byte{});  // an empty range
  for (unsigned opcode = 0; opcode != 256; ++opcode) {
    Entry entry = bench_.with_data({});
    entry.opcode = static_cast<std::uint8_t>(opcode);
    entry.nsid = 1;
    const bool is_known =
        opcode == 0 || opcode == 1 || opcode == 2 || opcode == 5 || opcode == 8 || opcode == 9;
    if (is_known) {
      EXPECT_EQ(bench_.one(entry).code, Code::success) << opcode;
    } else {
      EXPECT_EQ(bench_.answer(entry, true), Code::invalid_opcode) << opcode;
    }
  }
}

TEST_F(NvmeIo, FusedCommandsAndSglsAreInvalidFields) {
  for (const unsigned flags : {0x01U, 0x02U, 0x40U, 0x80U}) {
    Entry entry = bench_.write(1);
    entry.flags = static_cast<std::uint8_t>(flags);
    EXPECT_EQ(bench_.answer(entry, true), Code::invalid_field) << flags;
  }
  EXPECT_TRUE(bench_.is_zero(0, 1));
}

// Source: NVMe Base 1.4, sections 4.2 and 6.1.
TEST_F(NvmeIo, AnInactiveNamespaceIsAnInvalidFieldAndNoNamespaceIsInvalid) {
  for (const std::uint32_t nsid : {0U, 2U, 4U, nvme::all_namespaces - 1}) {
    for (Entry entry :
         {bench_.write(1), bench_.read(1), NvmeBench::flush(1),
          bench_.with_data(Entry::compare(1, {0, 1}), 1), Entry::write_zeroes(1, {0, 1}, false),
          bench_.with_data(Entry::dataset_management(1, 1, true), 1)}) {
      entry.nsid = nsid;
      EXPECT_EQ(bench_.answer(entry, true),
                nsid == 2 ? Code::invalid_field : Code::invalid_namespace)
          << nsid;
    }
  }
  Entry all = bench_.write(1);
  all.nsid = nvme::all_namespaces;
  EXPECT_EQ(bench_.answer(all, true), Code::invalid_field) << "only a flush takes all";
}

TEST_F(NvmeIo, BlocksBeyondTheEndAreOutOfRange) {
  const std::uint64_t all = NvmeBench::capacity_bytes / 512;
  const nvme::BlockRange wrong[] = {
      {all, 1}, {all - 1, 2}, {~std::uint64_t{0}, 1}, {~std::uint64_t{0}, 2}, {all - 8, 9}};
  for (const nvme::BlockRange& blocks : wrong) {
    EXPECT_EQ(bench_.answer(bench_.with_data(Entry::write(1, blocks)), true),
              Code::lba_out_of_range);
    EXPECT_EQ(bench_.answer(bench_.with_data(Entry::read(1, blocks)), true),
              Code::lba_out_of_range);
    EXPECT_EQ(bench_.answer(bench_.with_data(Entry::compare(1, blocks)), true),
              Code::lba_out_of_range);
    EXPECT_EQ(bench_.answer(Entry::write_zeroes(1, blocks, false), true), Code::lba_out_of_range);
  }
  EXPECT_EQ(bench_.answer(bench_.with_data(Entry::write(3, {all / 8, 1})), true),
            Code::lba_out_of_range)
      << "in blocks of the namespace";
}

TEST_F(NvmeIo, ATransferAboveTheLimitIsAnInvalidField) {
  NvmeConfig config = NvmeBench::two_queues();
  config.max_transfer_exponent = 1;
  NvmeBench bench{config};
  bench.start();
  EXPECT_EQ(bench.one(bench.write(1, 0, 16)).code, Code::success);
  EXPECT_EQ(bench.answer(bench.write(1, 0, 17), true), Code::invalid_field);
  EXPECT_EQ(bench.answer(bench.read(1, 0, 17), true), Code::invalid_field);
  EXPECT_EQ(bench.answer(bench.with_data(Entry::compare(1, {0, 17})), true), Code::invalid_field);
  EXPECT_EQ(bench.answer(bench.with_data(Entry::write(3, {0, 3})), true), Code::invalid_field);
}

TEST_F(NvmeIo, AWrongPrpOffsetIsNamed) {
  Entry entry = bench_.write(1);
  entry.prp1 = bench_.data_iova(2);
  EXPECT_EQ(bench_.answer(entry, true), Code::prp_offset_invalid);
  entry = bench_.write(1, 0, 16);
  entry.prp2 = entry.prp2 + 512;
  EXPECT_EQ(bench_.answer(entry, true), Code::prp_offset_invalid) << "the second entry";
  entry = bench_.write(1, 0, 24);
  entry.prp2 = bench_.iova_of(NvmeBench::list_page, 4);
  EXPECT_EQ(bench_.answer(entry, true), Code::prp_offset_invalid) << "the list's address";
  const nvme::Le64 list[] = {bench_.data_iova(4096), bench_.data_iova(8192 + 512)};
  std::memcpy(bench_.pages(NvmeBench::list_page).data(), list, sizeof list);
  entry.prp2 = bench_.iova_of(NvmeBench::list_page);
  EXPECT_EQ(bench_.answer(entry, true), Code::prp_offset_invalid) << "an entry of the list";
  EXPECT_TRUE(bench_.is_zero(0, 1));
  const Entry ranges = bench_.with_data(Entry::dataset_management(1, 1, true), 1, 2);
  EXPECT_EQ(bench_.answer(ranges, true), Code::prp_offset_invalid);
}

TEST_F(NvmeIo, UnmappedMemoryIsATransferError) {
  Entry entry = bench_.write(1);
  entry.prp1 = 0x7000'0000;
  EXPECT_EQ(bench_.answer(entry, false), Code::data_transfer_error);
  entry = bench_.read(1, 0, 24);
  entry.prp2 = 0x7000'0000;
  EXPECT_EQ(bench_.answer(entry, false), Code::data_transfer_error) << "the list";
  entry = bench_.with_data(Entry::compare(1, {0, 1}));
  entry.prp1 = 0x7000'0000;
  EXPECT_EQ(bench_.answer(entry, false), Code::data_transfer_error);
  entry = bench_.with_data(Entry::dataset_management(1, 1, true));
  entry.prp1 = 0x7000'0000;
  EXPECT_EQ(bench_.answer(entry, false), Code::data_transfer_error);
  EXPECT_EQ(bench_.iommu.fault_counts().not_forbidden, 4U);
  EXPECT_TRUE(bench_.is_zero(0, 1));
}

// Goal: a medium that fails has the status of its direction.
TEST(NvmeMedium, AFailureIsAMediaError) {
  class Failing : public CachedMedia {
   public:
    Failing() : CachedMedia{4096} {}
    bool read(std::uint64_t, std::span<std::byte>) override { return false; }
    bool write(std::uint64_t, std::span<const std::byte>) override { return false; }
    bool zero(std::uint64_t, std::uint64_t) override { return false; }
    bool flush() override { return false; }
  } failing;
  NvmeBench bench;
  const NvmeNamespace only{&failing, 512};
  bench.controller.emplace(NvmeBench::two_queues(), bench.iommu, std::span{&only, 1});
  bench.start();
  EXPECT_EQ(bench.answer(bench.read(1), false), Code::unrecovered_read_error);
  EXPECT_EQ(bench.answer(bench.with_data(Entry::compare(1, {0, 1})), false),
            Code::unrecovered_read_error);
  EXPECT_EQ(bench.answer(bench.write(1), false), Code::write_fault);
  EXPECT_EQ(bench.answer(Entry::write_zeroes(1, {0, 1}, false), false), Code::write_fault);
  EXPECT_EQ(bench.answer(NvmeBench::flush(1), false), Code::write_fault);
  EXPECT_EQ(bench.answer(NvmeBench::flush(1, nvme::all_namespaces), false), Code::write_fault);
  std::ranges::fill(bench.data().first(16), std::byte{});
  bench.data()[4] = std::byte{1};
  EXPECT_EQ(bench.answer(bench.with_data(Entry::dataset_management(1, 1, true)), false),
            Code::write_fault);
  EXPECT_EQ(bench.answer(Entry::set_features(nvme::FeatureId::volatile_write_cache, 0), false, 0),
            Code::write_fault);
  bench.controller.reset();
}

TEST(NvmeMedium, ACacheThatCannotBeSavedFailsAReadWithFua) {
  class Unsaved : public CachedMedia {
   public:
    explicit Unsaved(bool view) : CachedMedia{4096}, has_view{view} {}
    bool flush_range(std::uint64_t, std::uint64_t) override { return false; }
    std::span<const std::byte> view(std::uint64_t offset_bytes,
                                    std::uint64_t length_bytes) override {
      if (!has_view) return {};
      return bytes().subspan(static_cast<std::size_t>(offset_bytes),
                             static_cast<std::size_t>(length_bytes));
    }
    const bool has_view;
  };
  for (const bool has_view : {false, true}) {
    Unsaved unsaved{has_view};
    ASSERT_TRUE(unsaved.write(0, std::vector<std::byte>(512, std::byte{7})));
    NvmeBench bench;
    const NvmeNamespace only{&unsaved, 512};
    bench.controller.emplace(NvmeBench::two_queues(), bench.iommu, std::span{&only, 1});
    bench.start();
    EXPECT_EQ(bench.one(bench.read(1)).code, Code::success);
    EXPECT_EQ(bench.data()[511], std::byte{7});
    EXPECT_EQ(bench.answer(bench.with_data(Entry::read(1, {0, 1}, true)), false),
              Code::unrecovered_read_error);
    bench.controller.reset();
  }
}

}  // namespace
}  // namespace sim_test
