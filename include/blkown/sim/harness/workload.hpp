// SPDX-License-Identifier: BSL-1.0
//
// Workload: random I/O on a disk, and the results that it must have.

#ifndef BLKOWN_SIM_HARNESS_WORKLOAD_HPP
#define BLKOWN_SIM_HARNESS_WORKLOAD_HPP

#include <array>
#include <blkown/config.hpp>
#include <blkown/segment.hpp>
#include <blkown/sim/device/command.hpp>
#include <blkown/sim/device/media/media.hpp>
#include <blkown/sim/device/media/zeroed_memory.hpp>
#include <blkown/sim/device/message.hpp>
#include <blkown/sim/device/random.hpp>
#include <blkown/status.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// How often a workload chooses each operation, in relation to the sum of all weights.
struct OperationMix {
  std::uint32_t flush = 1;
  std::uint32_t discard = 1;
  std::uint32_t write_zeroes = 1;
  std::uint32_t write = 6;
  std::uint32_t read = 7;
  std::uint32_t compare = 0;

  /// The mix of a driver that has compares, or of one that has none.
  [[nodiscard]] static constexpr OperationMix standard(bool has_compares) noexcept {
    OperationMix mix;
    mix.compare = has_compares ? 1 : 0;
    mix.read -= mix.compare;
    return mix;
  }
  /// The sum of the weights.
  [[nodiscard]] constexpr std::uint64_t total() const noexcept {
    return std::uint64_t{flush} + discard + write_zeroes + write + read + compare;
  }
  friend constexpr bool operator==(const OperationMix&, const OperationMix&) = default;
};

/// How often a workload chooses a length, in relation to the sum of all weights.
struct SizeWeight {
  std::uint32_t length_sectors = 0;  ///< Rounded up to whole blocks. At most a slot.
  std::uint32_t weight = 1;
  friend constexpr bool operator==(const SizeWeight&, const SizeWeight&) = default;
};

/// What a Workload consists of. The sum of the weights of each kind is 1 to 2^32 - 1.
struct WorkloadConfig {
  std::uint32_t block_sectors = 1;  ///< Each I/O is whole blocks. A slot is a multiple of it.
  OperationMix mix;                 ///< How often each operation is chosen.
  std::vector<SizeWeight> sizes;    ///< Empty: every place and length within a slot.
};

/// The I/O of a run, and a model of the disk to compare the device with. The disk is divided into
/// slots of 16 sectors, each with memory of its own. A slot has at most one I/O in flight, so the
/// model knows the content of every sector, except after an I/O that failed or whose completion was
/// false.
///
/// Context: one at a time.
class Workload {
 public:
  static constexpr std::uint32_t slot_sectors = 16;
  static constexpr std::size_t slot_bytes = slot_sectors * detail::bytes_in_sector;
  static constexpr std::size_t slot_room_bytes = 2 * slot_bytes;

  /// A slot and its latest I/O.
  struct Slot {
    Opcode opcode{};
    std::uint32_t first_sector = 0;  // within the slot
    std::uint32_t length_sectors = 0;
    std::byte* memory = nullptr;
    bool is_in_flight = false;
    bool is_tainted = false;                    // the driver accepted a false completion
    bool must_fail = false;                     // a compare with other data than the medium's
    std::array<bool, slot_sectors> is_known{};  // the model knows the sector's content
  };

  /// Makes a workload for a disk of `slot_count` slots, all zeroes.
  explicit Workload(std::uint32_t slot_count, WorkloadConfig config = {})
      : slots_(slot_count),
        config_{std::move(config)},
        content_{slot_count * slot_bytes},
        arena_{slot_count * slot_room_bytes, 4096} {
    for (const SizeWeight& size : config_.sizes) size_weights_ += size.weight;
    for (Slot& slot : slots_) slot.is_known.fill(true);
  }

  /// The number of slots.
  [[nodiscard]] std::uint32_t slot_count() const noexcept {
    return static_cast<std::uint32_t>(slots_.size());
  }
  /// The size of the disk that the workload uses.
  [[nodiscard]] std::uint64_t capacity_bytes() const noexcept { return content_.size(); }
  /// The memory of all I/O.
  [[nodiscard]] std::span<std::byte> arena() noexcept { return {arena_.data(), arena_.size()}; }
  /// The slot with this index.
  [[nodiscard]] const Slot& slot(std::uint32_t index) const noexcept { return slots_[index]; }

  /// The first sector, on the disk, of the slot's I/O.
  [[nodiscard]] std::uint64_t sector_of(std::uint32_t index) const noexcept {
    return std::uint64_t{index} * slot_sectors + slots_[index].first_sector;
  }

  /// Chooses an I/O for the slot. Returns the number of segments that the I/O has in `segments`: 0
  /// for an operation without memory.
  /// Precondition: the slot has no I/O in flight.
  std::uint32_t begin(std::uint32_t index, Random& dice, std::span<Segment, 3> segments) {
    Slot& slot = slots_[index];
    slot.is_in_flight = true;
    slot.is_tainted = slot.must_fail = false;
    choose_place(slot, dice);
    slot.opcode = choose_opcode(dice);
    if (!has_memory(slot)) return 0;
    const std::size_t length_bytes = slot.length_sectors * detail::bytes_in_sector;
    slot.memory = arena_.data() + index * slot_room_bytes + dice.below(64) * 64;
    std::byte* const memory = slot.memory;
    fill(slot, index, dice);
    // The pieces are adjacent, so a driver may merge them again.
    const std::size_t first = dice.chance(1, 2) ? length_bytes : 8 * dice.below(length_bytes / 8);
    segments[0] = {memory, first};
    segments[1] = {memory + first, length_bytes - first};
    return first == length_bytes ? 1 : 2;
  }

  /// What the slot's I/O writes. Empty if the I/O writes nothing.
  [[nodiscard]] std::span<const std::byte> written(std::uint32_t index) const noexcept {
    static constexpr std::array<std::byte, slot_bytes> zeroes{};
    const Slot& slot = slots_[index];
    const std::size_t length_bytes = slot.length_sectors * detail::bytes_in_sector;
    switch (slot.opcode) {
      case Opcode::write: return {slot.memory, length_bytes};
      case Opcode::write_zeroes:
      case Opcode::discard: return {zeroes.data(), length_bytes};
      default: return {};
    }
  }

  /// Marks the I/O on this sector as one whose false completion the driver accepted.
  /// Effects: the I/O's data is not compared, and the I/O's sectors are unknown afterwards.
  void taint(std::uint64_t sector) noexcept {
    const std::uint64_t index = sector / slot_sectors;
    if (index < slots_.size()) slots_[static_cast<std::size_t>(index)].is_tainted = true;
  }

  /// Ends the slot's I/O: compares what a read returned, updates the model after a write.
  /// Errors: a text that says what is wrong, or null.
  [[nodiscard]] const char* end(std::uint32_t index, Status status) {
    Slot& slot = slots_[index];
    if (!slot.is_in_flight) return "an I/O ended twice";
    slot.is_in_flight = false;
    const bool is_good = status == Status::ok && !slot.is_tainted;
    if (slot.opcode == Opcode::flush) return nullptr;
    std::byte* const content = content_.data() + index * slot_bytes;
    if (slot.opcode == Opcode::compare) {
      return is_good && slot.must_fail ? "a compare with other data than was written succeeded"
                                       : nullptr;
    }
    for (std::uint32_t i = 0; i != slot.length_sectors; ++i) {
      const std::uint32_t sector = slot.first_sector + i;
      std::byte* const expected = content + sector * detail::bytes_in_sector;
      const std::byte* const memory =
          has_memory(slot) ? slot.memory + i * detail::bytes_in_sector : nullptr;
      if (slot.opcode == Opcode::read) {
        if (is_good && slot.is_known[sector] &&
            std::memcmp(memory, expected, detail::bytes_in_sector) != 0) {
          wrong_sector_ = std::uint64_t{index} * slot_sectors + sector;
          return "a read returned other data than was written";
        }
        continue;
      }
      slot.is_known[sector] = is_good;
      if (!is_good) continue;
      if (slot.opcode == Opcode::write) {
        std::memcpy(expected, memory, detail::bytes_in_sector);
      } else {
        std::memset(expected, 0, detail::bytes_in_sector);
      }
    }
    return nullptr;
  }

  /// The sector that end() or compare() has found wrong, or none.
  [[nodiscard]] std::optional<std::uint64_t> wrong_sector() const noexcept { return wrong_sector_; }

  /// Compares the medium with the model, wherever the model knows the content.
  /// Errors: a text that says what is wrong, or null.
  [[nodiscard]] const char* compare(Media& media) {
    std::vector<std::byte> seen(detail::bytes_in_sector);
    for (std::size_t sector = 0; sector != slots_.size() * slot_sectors; ++sector) {
      if (!slots_[sector / slot_sectors].is_known[sector % slot_sectors]) continue;
      const std::uint64_t offset = sector * detail::bytes_in_sector;
      if (!media.read(offset, seen) ||
          std::memcmp(seen.data(), content_.data() + offset, seen.size()) != 0) {
        wrong_sector_ = sector;
        return "the medium holds other data than was written";
      }
    }
    return nullptr;
  }

 private:
  [[nodiscard]] Opcode choose_opcode(Random& dice) const {
    const OperationMix& mix = config_.mix;
    std::uint64_t choice = dice.below(mix.total());
    const auto takes = [&](std::uint32_t weight) {
      const bool is_chosen = choice < weight;
      choice -= weight;
      return is_chosen;
    };
    return takes(mix.flush)          ? Opcode::flush
           : takes(mix.discard)      ? Opcode::discard
           : takes(mix.write_zeroes) ? Opcode::write_zeroes
           : takes(mix.write)        ? Opcode::write
           : takes(mix.read)         ? Opcode::read
                                     : Opcode::compare;
  }
  void choose_place(Slot& slot, Random& dice) const {
    const std::uint32_t block_sectors = config_.block_sectors;
    const std::uint32_t blocks = slot_sectors / block_sectors;
    if (config_.sizes.empty()) {
      const auto first_block = static_cast<std::uint32_t>(dice.below(blocks));
      slot.first_sector = first_block * block_sectors;
      slot.length_sectors =
          (1 + static_cast<std::uint32_t>(dice.below(blocks - first_block))) * block_sectors;
      return;
    }
    std::uint64_t choice = dice.below(size_weights_);
    std::size_t size = 0;
    while (choice >= config_.sizes[size].weight) choice -= config_.sizes[size++].weight;
    const std::uint32_t length =
        (config_.sizes[size].length_sectors + block_sectors - 1) / block_sectors;
    slot.length_sectors = length * block_sectors;
    slot.first_sector = static_cast<std::uint32_t>(dice.below(blocks - length + 1)) * block_sectors;
  }
  [[nodiscard]] static bool has_memory(const Slot& slot) noexcept {
    return slot.opcode == Opcode::read || slot.opcode == Opcode::write ||
           slot.opcode == Opcode::compare;
  }
  /// Fills each sector with content of its own: a random number, and at each further word the one
  /// before plus an odd constant. No two words of a sector are the same. A random number for each
  /// word would take a twentieth of a run's time.
  static void fill_at_random(std::span<std::byte> memory, Random& dice) {
    constexpr std::size_t words = detail::bytes_in_sector / 8;
    static constexpr auto steps = [] {
      std::array<std::uint64_t, words> multiples{};
      for (std::size_t i = 0; i != words; ++i) multiples[i] = i * 0x9E37'79B9'7F4A'7C15;
      return multiples;
    }();
    for (; !memory.empty(); memory = memory.subspan(std::size_t{detail::bytes_in_sector})) {
      const std::uint64_t first = dice.next();
      std::array<std::uint64_t, words> content;
      for (std::size_t i = 0; i != words; ++i) content[i] = first + steps[i];
      std::memcpy(memory.data(), content.data(), sizeof content);
      dice.skip(words - 1);
    }
  }
  /// Fills the memory of the I/O. One compare in four has a wrong byte.
  void fill(Slot& slot, std::uint32_t index, Random& dice) {
    const std::size_t length_bytes = slot.length_sectors * detail::bytes_in_sector;
    std::byte* const memory = slot.memory;
    if (slot.opcode == Opcode::read) {
      std::memset(memory, 0xEE, length_bytes);
    } else if (slot.opcode == Opcode::write) {
      fill_at_random({memory, length_bytes}, dice);
    } else {
      const std::size_t first_byte = slot.first_sector * detail::bytes_in_sector;
      std::memcpy(memory, content_.data() + index * slot_bytes + first_byte, length_bytes);
      if (!dice.chance(1, 4)) return;
      const auto wrong = static_cast<std::size_t>(dice.below(length_bytes));
      memory[wrong] ^= std::byte{1};
      slot.must_fail = slot.is_known[slot.first_sector + wrong / detail::bytes_in_sector];
    }
  }

  std::vector<Slot> slots_;
  WorkloadConfig config_;
  std::uint64_t size_weights_ = 0;
  std::optional<std::uint64_t> wrong_sector_;
  detail::ZeroedMemory content_;
  detail::ZeroedMemory arena_;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
