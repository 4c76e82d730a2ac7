// SPDX-License-Identifier: BSL-1.0
//
// Goal: the program in the README of NVMe's wire format compiles as printed, and what its driver
// asks for is what its controller does.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <vector>

#include BLKOWN_README_PROGRAM

namespace {

using blkown::Status;

/// Memory of the driver that the controller reaches from `base` on.
class Memory {
 public:
  static constexpr std::uint64_t base = 0x4000'0000;

  bool read(std::uint64_t iova, std::span<std::byte> bytes) {
    if (!has(iova, bytes.size())) return false;
    std::copy_n(&bytes_[iova - base], bytes.size(), bytes.data());
    return true;
  }
  bool write(std::uint64_t iova, std::span<const std::byte> bytes) {
    if (!has(iova, bytes.size())) return false;
    std::copy(bytes.begin(), bytes.end(), &bytes_[iova - base]);
    return true;
  }
  /// Stores a PRP list at the address.
  void put(std::uint64_t iova, std::span<const nvme::Le64> list) {
    EXPECT_TRUE(write(iova, std::as_bytes(list)));
  }
  [[nodiscard]] std::byte at(std::uint64_t iova) const { return bytes_[iova - base]; }

 private:
  [[nodiscard]] bool has(std::uint64_t iova, std::size_t bytes) const {
    return iova >= base && bytes <= bytes_.size() && iova - base <= bytes_.size() - bytes;
  }
  std::vector<std::byte> bytes_ = std::vector<std::byte>(64 * page_bytes);
};

/// A medium whose bytes differ, and the two queues' next entries.
struct Controller {
  Controller() {
    for (std::size_t i = 0; i != medium.size(); ++i) medium[i] = static_cast<std::byte>(i / 7);
  }
  std::vector<std::byte> medium = std::vector<std::byte>(64 * 512);
  Memory memory;
  nvme::CompletionEntry entry;
};

TEST(ReadmeNvme, TheDriverGetsWhatItHasAskedFor) {
  Controller controller;
  std::array<nvme::Le64, 512> list{};
  const std::array pages{nvme::PrpListPage{list, Memory::base}};
  const std::array memory{dma::IovaSegment{Memory::base + 8 * page_bytes + 4, 16 * 512}};
  const auto command = read_command(0x4005, {.slba = 3, .block_count = 16}, memory, pages);
  ASSERT_TRUE(command.has_value());
  controller.memory.put(Memory::base, list);

  EXPECT_FALSE(completed(controller.entry, true).has_value());
  execute_read(*command, controller.medium, controller.memory, controller.entry, true);
  EXPECT_EQ(completed(controller.entry, true), Status::ok);
  EXPECT_FALSE(completed(controller.entry, false).has_value());
  EXPECT_EQ(controller.entry.command_id, 0x4005);
  for (std::size_t i = 0; i != 16 * 512; ++i) {
    ASSERT_EQ(controller.memory.at(memory[0].iova + i), controller.medium[3 * 512 + i]) << i;
  }
}

TEST(ReadmeNvme, TheControllerRefusesWhatItCannotDo) {
  Controller controller;
  const auto answer_to = [&](const nvme::SubmissionEntry& command) {
    execute_read(command, controller.medium, controller.memory, controller.entry, true);
    return controller.entry.status().code();
  };
  const std::array memory{dma::IovaSegment{Memory::base, 512}};
  EXPECT_EQ(answer_to(*read_command(1, {.slba = 64, .block_count = 1}, memory, {})),
            nvme::StatusCode::lba_out_of_range);
  // 512 times the second one is 2 to the power of 64.
  for (const std::uint64_t slba : {1ULL << 50, 1ULL << 55, ~0ULL}) {
    EXPECT_EQ(answer_to(*read_command(1, {.slba = slba, .block_count = 1}, memory, {})),
              nvme::StatusCode::lba_out_of_range)
        << slba;
  }
  auto unreadable = nvme::SubmissionEntry::read(1, {.slba = 0, .block_count = 64});
  unreadable.set_prps({.prp1 = Memory::base, .prp2 = 0x1000});
  EXPECT_EQ(answer_to(unreadable), nvme::StatusCode::data_transfer_error);
  auto beyond_memory = nvme::SubmissionEntry::read(1, {.slba = 0, .block_count = 16});
  beyond_memory.set_prps({.prp1 = Memory::base - page_bytes, .prp2 = Memory::base});
  EXPECT_EQ(answer_to(beyond_memory), nvme::StatusCode::data_transfer_error);
  EXPECT_FALSE(
      read_command(1, {.slba = 0, .block_count = 64}, std::array{dma::IovaSegment{2, 4}}, {})
          .has_value());
}

}  // namespace
