// SPDX-License-Identifier: BSL-1.0
//
// The bios of the pipelines: reads of one block each, all in flight at the same time.

#ifndef BLKOWN_BENCH_PIPELINE_BIOS_HPP
#define BLKOWN_BENCH_PIPELINE_BIOS_HPP

#include <blkown/mq/mq.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

namespace bench {

namespace mq = blkown::mq;

struct alignas(4096) Block {
  std::byte bytes[4096];
};
inline constexpr std::uint64_t block_sectors = sizeof(Block) / mq::sector_bytes;

using Bios = std::vector<std::unique_ptr<mq::Bio>>;

/// Reads for drivers that move no data: from sectors spread over a disk, into the same memory.
/// Counts the ends.
class EmptyReads {
 public:
  static constexpr std::uint64_t capacity_sectors = std::uint64_t{1} << 30;

  explicit EmptyReads(std::size_t depth) {
    for (std::size_t i = 0; i != depth; ++i) {
      bios.emplace_back(new mq::Bio(mq::Bio::read(
          block_sectors * (i * 7919 % 100'000), blkown::Segment{memory_.bytes, sizeof memory_},
          {[](void* ended, mq::Bio&) { ++*static_cast<std::uint64_t*>(ended); }, &ended_})));
    }
  }
  EmptyReads(const EmptyReads&) = delete;
  EmptyReads& operator=(const EmptyReads&) = delete;

  [[nodiscard]] std::uint64_t ended() const noexcept { return ended_; }

  Bios bios;

 private:
  Block memory_{};
  std::uint64_t ended_ = 0;
};

/// Reads for devices that move data. Each word of a block holds the number of the block. A read has
/// memory of its own. When the read has ended, its last word is added to the sum and cleared, so
/// that the device must write that word in each read.
class CheckedReads {
 public:
  static void fill(std::span<std::byte, sizeof(Block)> block, std::uint64_t number) {
    for (std::size_t at = 0; at != block.size(); at += sizeof number) {
      std::memcpy(block.data() + at, &number, sizeof number);
    }
  }

  /// Reads each of `depth` blocks once.
  /// Precondition: depth is a power of two.
  CheckedReads(std::size_t depth, std::uint64_t first_block) : memory_(depth) {
    for (std::size_t i = 0; i != depth; ++i) {
      const std::uint64_t number = first_block + i * 7919 % depth;
      numbers_.push_back(number);
      sum_of_round_ += number;
      bios.emplace_back(new mq::Bio(mq::Bio::read(
          block_sectors * number, blkown::Segment{memory_[i].bytes, sizeof(Block)},
          {[](void* self, mq::Bio& bio) { static_cast<CheckedReads*>(self)->take(bio); }, this})));
    }
  }
  CheckedReads(const CheckedReads&) = delete;
  CheckedReads& operator=(const CheckedReads&) = delete;

  [[nodiscard]] std::uint64_t ended() const noexcept { return ended_; }

  /// Returns whether this number of rounds read the contents of the disk: one word of each read,
  /// and every word of the last round.
  [[nodiscard]] bool are_right(std::uint64_t rounds) const {
    if (ended_ != rounds * bios.size() || sum_ != rounds * sum_of_round_) return false;
    Block expected;
    for (std::size_t i = 0; i != memory_.size(); ++i) {
      fill(expected.bytes, numbers_[i]);
      if (std::memcmp(memory_[i].bytes, expected.bytes, last_word_at) != 0) return false;
    }
    return true;
  }

  Bios bios;

 private:
  static constexpr std::size_t last_word_at = sizeof(Block) - sizeof(std::uint64_t);

  void take(const mq::Bio& bio) noexcept {
    std::byte* const at = bio.segments().front().data + last_word_at;
    std::uint64_t word = 0;
    std::memcpy(&word, at, sizeof word);
    std::memset(at, 0xFF, sizeof word);
    sum_ += word;
    ++ended_;
  }

  std::vector<Block> memory_;
  std::vector<std::uint64_t> numbers_;  // of the block of each read
  std::uint64_t sum_of_round_ = 0;
  std::uint64_t sum_ = 0;
  std::uint64_t ended_ = 0;
};

}  // namespace bench

#endif
