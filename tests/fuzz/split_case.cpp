// SPDX-License-Identifier: BSL-1.0
//
// Goal: for any limits of a device and any memory of a bio, the bio is split as documented.
//
// Method: the input gives a block size and limits, sound ones most of the time, then an operation
// and its memory or its length. A sound bio is split request by request. The memory is never
// accessed: only its addresses matter.
//
// Invariants: limits are refused exactly where a plain check refuses them. A bio has the memory and
// the length it was created from. Each part has the length and the pieces of the part that a
// reference finds byte by byte. Where the reference finds no part, there is none.

#include <algorithm>
#include <array>
#include <blkown/mq/bio.hpp>
#include <blkown/mq/detail/split.hpp>
#include <blkown/mq/limits.hpp>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "fuzz_case.hpp"

namespace fuzz {
namespace {

namespace mq = blkown::mq;
using blkown::Segment;

constexpr std::uint32_t segments_limit = 8;
constexpr int max_bios = 3;

/// The longest request of an operation, in sectors.
[[nodiscard]] std::uint64_t max_sectors_of(mq::Op op, const mq::QueueLimits& limits) {
  if (op == mq::Op::discard) return limits.max_discard_sectors;
  if (op == mq::Op::write_zeroes) return limits.max_write_zeroes_sectors;
  if (op == mq::Op::zone_append) return limits.max_zone_append_sectors;
  return limits.max_sectors;
}

/// Units of `unit` sectors, the first of which begins at `first`.
struct Units {
  std::uint64_t unit = 0;
  std::uint64_t first = 0;

  /// The end of the longest range from `sector` on that has at most `most` sectors and ends between
  /// two units. Without such a range: the end of `most` sectors.
  [[nodiscard]] std::uint64_t end_of(std::uint64_t sector, std::uint64_t most) const {
    const std::uint64_t end = sector + most;
    if (unit == 0 || end < first) return end;
    const std::uint64_t whole = first + (end - first) / unit * unit;
    return whole > sector ? whole : end;
  }
};

[[nodiscard]] Units units_of(mq::Op op, const mq::QueueLimits& limits) {
  if (op == mq::Op::discard) {
    return {limits.discard_granularity_sectors, limits.discard_alignment_sectors};
  }
  return {limits.write_zeroes_granularity_sectors, limits.write_zeroes_alignment_sectors};
}

[[nodiscard]] bool are_sound(const Units& units, std::uint64_t most, std::uint64_t chunk,
                             std::uint64_t block_sectors) {
  if (units.unit == 0) return units.first == 0;
  if (units.unit % block_sectors != 0 || units.first % block_sectors != 0) return false;
  if (units.first >= units.unit || (most != 0 && most < units.unit)) return false;
  return chunk == 0 || (chunk % units.unit == 0 && units.first == 0);
}

/// The longest piece that keeps the alignment of memory, which is a power of two.
[[nodiscard]] std::uint64_t usable_bytes(const mq::QueueLimits& limits) {
  const std::uint64_t alignment = std::uint64_t{limits.dma_alignment_mask} + 1;
  return limits.max_segment_bytes / alignment * alignment;
}

[[nodiscard]] bool is_sound(const mq::QueueLimits& limits, std::uint32_t block_bytes) {
  const std::uint64_t block_sectors = block_bytes / 512;
  const std::uint64_t mask = limits.virt_boundary_mask;
  for (const std::uint64_t most : {limits.max_discard_sectors, limits.max_write_zeroes_sectors,
                                   limits.max_zone_append_sectors}) {
    if (most > 0 && most < block_sectors) return false;
  }
  std::uint64_t boundary_bytes = 1;
  while (boundary_bytes != 0 && boundary_bytes - 1 != mask) boundary_bytes *= 2;
  if (boundary_bytes == 0) return false;
  const std::uint64_t alignment = std::uint64_t{limits.dma_alignment_mask} + 1;
  if ((alignment & (alignment - 1)) != 0 || alignment > block_bytes) return false;
  if (limits.max_segments * usable_bytes(limits) < block_bytes) return false;
  if (limits.chunk_sectors % block_sectors != 0) return false;
  for (const mq::Op op : {mq::Op::discard, mq::Op::write_zeroes}) {
    if (!are_sound(units_of(op, limits), max_sectors_of(op, limits), limits.chunk_sectors,
                   block_sectors)) {
      return false;
    }
  }
  return limits.max_sectors >= block_sectors && limits.max_segments >= 1 &&
         limits.max_segment_bytes >= boundary_bytes &&
         limits.max_segment_bytes % boundary_bytes == 0 &&
         limits.max_zone_append_sectors <= limits.max_sectors;
}

[[nodiscard]] std::size_t total_bytes(const std::vector<Segment>& segments) {
  std::size_t total = 0;
  for (const Segment& segment : segments) total += segment.length_bytes;
  return total;
}

/// The memory of a bio as a row of bytes.
class Row {
 public:
  explicit Row(const std::vector<Segment>& memory) {
    bytes_.reserve(total_bytes(memory));
    for (const Segment& segment : memory) {
      const auto begin = reinterpret_cast<std::uintptr_t>(segment.data);
      for (std::size_t i = 0; i != segment.length_bytes; ++i) bytes_.push_back({begin + i, i == 0});
    }
  }

  [[nodiscard]] std::size_t size() const { return bytes_.size(); }

  /// The pieces that one request may have from `from` on, at most `most` bytes.
  [[nodiscard]] std::vector<Segment> pieces(std::size_t from, std::uint64_t most,
                                            const mq::QueueLimits& limits) const {
    const std::uint64_t mask = limits.virt_boundary_mask;
    std::vector<Segment> pieces;
    for (std::size_t i = from; i != size() && i - from < most; ++i) {
      const auto [address, begins] = bytes_[i];
      bool is_new = i == from || begins;
      if (is_new && i != from && ((address | (bytes_[i - 1].address + 1)) & mask) != 0) break;
      if (!is_new) {
        const auto piece = reinterpret_cast<std::uintptr_t>(pieces.back().data);
        is_new = address - (piece & ~mask) == usable_bytes(limits);
      }
      if (is_new) {
        if (pieces.size() == limits.max_segments) break;
        pieces.push_back({reinterpret_cast<std::byte*>(address), 0});
      }
      ++pieces.back().length_bytes;
    }
    return pieces;
  }

 private:
  struct Byte {
    std::uintptr_t address = 0;
    bool begins = false;  // a segment begins here
  };
  std::vector<Byte> bytes_;
};

class SplitCase {
 public:
  explicit SplitCase(Bytes bytes) : input_{bytes} {}

  [[nodiscard]] std::string run() {
    block_bytes_ = std::uint32_t{512} << input_.below(4);
    read_limits();
    const auto error = mq::check(limits_, block_bytes_);
    verdict_.expect(error.has_value() != is_sound(limits_, block_bytes_),
                    "whether the limits are sound");
    if (error.has_value()) return verdict_.first();
    constexpr std::array ops{mq::Op::read, mq::Op::write, mq::Op::zone_append, mq::Op::discard,
                             mq::Op::write_zeroes};
    int bios = 0;
    do {
      const mq::Op op = ops[input_.below(ops.size())];
      if (has_data(op)) {
        take_apart_memory(op);
      } else {
        take_apart_range(op);
      }
    } while (++bios != max_bios && !input_.exhausted() && verdict_.clean());
    return verdict_.first();
  }

 private:
  /// A limit that is small most of the time, so that bios are split, or else close to an overflow.
  [[nodiscard]] std::uint64_t read_limit(std::uint32_t small, unsigned bytes) {
    switch (input_.below(8)) {
      case 0: return input_.bits(bytes);
      case 1: return std::uint64_t{1} << input_.below(8 * bytes);
      default: return input_.below(small);
    }
  }

  void read_limits() {
    limits_.max_sectors = static_cast<std::uint32_t>(read_limit(40, 4));
    limits_.max_segments = static_cast<std::uint32_t>(read_limit(10, 4));
    if (input_.flag()) {
      limits_.virt_boundary_mask = (std::uint64_t{1} << input_.below(13)) - 1;
      limits_.max_segment_bytes =
          static_cast<std::uint32_t>((limits_.virt_boundary_mask + 1) * (1 + input_.below(6)));
    } else {
      limits_.virt_boundary_mask = input_.below(4) == 0 ? read_limit(40, 8) : 0;
      limits_.max_segment_bytes = static_cast<std::uint32_t>(input_.bits(input_.flag() ? 2 : 4));
    }
    limits_.max_discard_sectors = read_limit(40, 8);
    limits_.max_write_zeroes_sectors = read_limit(40, 8);
    limits_.max_zone_append_sectors = read_limit(24, 4);
    if (input_.flag()) read_more_limits();
  }

  /// Limits that most devices do not have.
  void read_more_limits() {
    const std::uint64_t block_sectors = block_bytes_ / 512;
    const auto blocks = [&](std::uint32_t most) {
      return input_.below(16) == 0 ? read_limit(40, 8) : block_sectors * input_.below(most);
    };
    limits_.dma_alignment_mask = (std::uint32_t{1} << input_.below(12)) - 1;
    if (input_.below(16) == 0) limits_.dma_alignment_mask += 1;
    limits_.chunk_sectors = input_.flag() ? blocks(20) : 0;
    limits_.discard_granularity_sectors = blocks(6);
    limits_.discard_alignment_sectors = input_.flag() ? blocks(5) : 0;
    limits_.write_zeroes_granularity_sectors = blocks(6);
    limits_.write_zeroes_alignment_sectors = input_.flag() ? blocks(5) : 0;
  }

  /// Segments one after the other, with and without gaps; whole blocks in total.
  [[nodiscard]] std::vector<Segment> read_memory() {
    std::vector<Segment> memory;
    std::uintptr_t address = 0x10'0000;
    const std::uintptr_t alignment_mask = limits_.dma_alignment_mask;
    const auto add = [&](std::size_t length_bytes) {
      address = (address + alignment_mask) & ~alignment_mask;
      length_bytes = (length_bytes + alignment_mask) & ~alignment_mask;
      memory.push_back({reinterpret_cast<std::byte*>(address), length_bytes});
      address += length_bytes;
    };
    const std::uint32_t count = 1 + input_.below(segments_limit);
    for (std::uint32_t i = 0; i != count; ++i) {
      switch (input_.below(4)) {
        case 0: break;
        case 1: address += input_.byte(); break;
        case 2: address = (address + 4095) & ~std::uintptr_t{4095}; break;
        default: address += 512 * std::uintptr_t{input_.byte()}; break;
      }
      const bool is_odd = input_.below(4) == 0;
      add(is_odd ? static_cast<std::size_t>(input_.bits(2) % 4096)
                 : std::size_t{512} * input_.below(9));
    }
    const std::uint64_t beyond_bytes = total_bytes(memory) % block_bytes_;
    if (beyond_bytes != 0) add(static_cast<std::size_t>(block_bytes_ - beyond_bytes));
    return memory;
  }

  void take_apart_memory(mq::Op op) {
    const std::vector<Segment> memory = read_memory();
    const std::uint64_t sector = input_.bits(2) * (block_bytes_ / 512);
    if (op == mq::Op::zone_append) {
      take_apart(mq::Bio::zone_append(sector, memory, {nullptr, this}), op, sector, memory);
    } else if (memory.size() == 1) {
      // The bio itself stores a single segment.
      take_apart(op == mq::Op::read ? mq::Bio::read(sector, Segment{memory[0]}, {nullptr, this})
                                    : mq::Bio::write(sector, Segment{memory[0]}, {nullptr, this}),
                 op, sector, memory);
    } else {
      take_apart(op == mq::Op::read ? mq::Bio::read(sector, memory, {nullptr, this})
                                    : mq::Bio::write(sector, memory, {nullptr, this}),
                 op, sector, memory);
    }
  }

  void take_apart(const mq::Bio& bio, mq::Op op, std::uint64_t sector,
                  const std::vector<Segment>& memory) {
    const Row row{memory};
    verdict_.expect(bio.op() == op && bio.sector() == sector && bio.argument() == this,
                    "what a bio was made from");
    verdict_.expect(bio.length_bytes() == row.size(), "a bio's length");
    verdict_.expect(std::ranges::equal(bio.segments(), memory), "a bio's memory");
    const mq::detail::SplitLimits split{limits_, block_bytes_};
    mq::SegmentCursor cursor;
    std::size_t done_bytes = 0;
    while (done_bytes != row.size() && verdict_.clean()) {
      const std::size_t left_bytes = row.size() - done_bytes;
      const std::uint64_t here = sector + done_bytes / 512;
      const mq::detail::Part part = mq::detail::next_part({.op = op,
                                                           .segments = bio.segments(),
                                                           .begin = cursor,
                                                           .length_bytes = left_bytes,
                                                           .sector = here},
                                                          split);
      const std::uint64_t max_bytes = max_sectors_at(op, here) * 512;
      std::uint64_t longest_bytes = total_bytes(row.pieces(done_bytes, max_bytes, limits_));
      longest_bytes -= longest_bytes % block_bytes_;
      if (op == mq::Op::zone_append && longest_bytes != left_bytes) longest_bytes = 0;
      verdict_.expect(part.length_bytes == longest_bytes, "a part's length");
      if (part.length_bytes == 0 || !verdict_.clean()) return;
      expect_pieces({bio.segments(), cursor, part.length_bytes, split.limits().max_segment_bytes,
                     limits_.virt_boundary_mask},
                    row.pieces(done_bytes, part.length_bytes, limits_));
      cursor = part.end;
      done_bytes += static_cast<std::size_t>(part.length_bytes);
      verdict_.expect(position_of(cursor, memory) == done_bytes, "where the part after it begins");
    }
  }

  /// The longest request at a place, for its operation and its chunk.
  [[nodiscard]] std::uint64_t max_sectors_at(mq::Op op, std::uint64_t sector) const {
    const std::uint64_t most = max_sectors_of(op, limits_);
    const std::uint64_t chunk = limits_.chunk_sectors;
    return chunk == 0 ? most : std::min(most, (sector / chunk + 1) * chunk - sector);
  }

  void expect_pieces(const mq::RequestSegments& segments, const std::vector<Segment>& pieces) {
    verdict_.expect(std::equal(segments.begin(), segments.end(), pieces.begin(), pieces.end()),
                    "a part's pieces");
    verdict_.expect(segments.count() == pieces.size(), "how many pieces");
    verdict_.expect(!segments.empty() && segments.length_bytes() == total_bytes(pieces),
                    "the length of the pieces");
  }

  /// The number of bytes before the cursor. Exceeds the number of all bytes if the cursor is no
  /// position.
  [[nodiscard]] static std::uint64_t position_of(mq::SegmentCursor cursor,
                                                 const std::vector<Segment>& memory) {
    const std::uint64_t nowhere = total_bytes(memory) + 1;
    if (cursor.index > memory.size()) return nowhere;
    const auto here = memory.begin() + static_cast<std::ptrdiff_t>(cursor.index);
    const std::uint64_t here_bytes = here == memory.end() ? 0 : here->length_bytes;
    if (cursor.offset_bytes > here_bytes) return nowhere;
    return total_bytes({memory.begin(), here}) + cursor.offset_bytes;
  }

  /// A length without memory, up to the largest sector number.
  void take_apart_range(mq::Op op) {
    const std::uint64_t blocks = read_limit(200, 5);
    std::uint64_t sector = std::uint64_t{input_.below(100)} * (block_bytes_ / 512);
    const mq::Bio bio = op == mq::Op::discard
                            ? mq::Bio::discard(sector, blocks * block_bytes_, {nullptr, this})
                            : mq::Bio::write_zeroes(sector, blocks * block_bytes_, {nullptr, this});
    verdict_.expect(bio.op() == op && bio.length_bytes() == blocks * block_bytes_,
                    "a bio without memory");
    const mq::detail::SplitLimits split{limits_, block_bytes_};
    const std::uint64_t block_sectors = block_bytes_ / 512;
    std::uint64_t left_blocks = blocks;
    // At most 300 parts are checked.
    for (int parts = 0; parts != 300 && left_blocks != 0 && verdict_.clean(); ++parts) {
      const mq::detail::Part part =
          mq::detail::next_part({.op = op,
                                 .segments = {},
                                 .begin = {},
                                 .length_bytes = left_blocks * block_bytes_,
                                 .sector = sector},
                                split);
      const std::uint64_t most = max_sectors_at(op, sector);
      std::uint64_t longest_blocks = left_blocks;
      if (left_blocks > most / block_sectors) {
        const std::uint64_t end = units_of(op, limits_).end_of(sector, most);
        longest_blocks = (end - sector) / block_sectors;
      }
      verdict_.expect(part.length_bytes == longest_blocks * block_bytes_, "a range's part");
      if (part.length_bytes == 0) return;
      left_blocks -= longest_blocks;
      sector += longest_blocks * block_sectors;
    }
  }

  Input input_;
  Verdict verdict_;
  mq::QueueLimits limits_;
  std::uint32_t block_bytes_ = 512;
};

}  // namespace

std::string run_case(Bytes bytes) { return SplitCase{bytes}.run(); }

}  // namespace fuzz
