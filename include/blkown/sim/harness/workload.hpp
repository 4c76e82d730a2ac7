// SPDX-License-Identifier: BSL-1.0
//
// Workload: I/O on a disk, and what has to come of it.

#ifndef BLKOWN_SIM_HARNESS_WORKLOAD_HPP
#define BLKOWN_SIM_HARNESS_WORKLOAD_HPP

#include <array>
#include <blkown/config.hpp>
#include <blkown/segment.hpp>
#include <blkown/sim/device/command.hpp>
#include <blkown/sim/device/media.hpp>
#include <blkown/sim/device/random.hpp>
#include <blkown/sim/device/ring.hpp>
#include <blkown/status.hpp>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// Slots, each with sectors and memory of its own and one I/O at a time, so that what every sector
/// holds is known at any moment: the reference that a device is compared with.
class Workload {
 public:
  static constexpr std::uint32_t slot_sectors = 16;
  static constexpr std::size_t slot_bytes = slot_sectors * detail::bytes_in_sector;
  static constexpr std::size_t slot_room_bytes = 2 * slot_bytes;

  struct Slot {
    Opcode opcode{};
    std::uint32_t at = 0;  // the first sector within the slot
    std::uint32_t length_sectors = 0;
    std::byte* memory = nullptr;
    bool is_out = false;
    bool is_tainted = false;  // the device has lied about it
    std::array<bool, slot_sectors> is_known{};
  };

  explicit Workload(std::uint32_t slot_count)
      : slots_(slot_count), content_(slot_count * slot_bytes) {
    const std::size_t bytes = slot_count * slot_room_bytes;
    arena_.reset(static_cast<std::byte*>(std::aligned_alloc(4096, bytes)));
    if (arena_ == nullptr) std::abort();
    std::memset(arena_.get(), 0, bytes);
    for (Slot& slot : slots_) slot.is_known.fill(true);
  }

  [[nodiscard]] std::uint32_t slot_count() const noexcept {
    return static_cast<std::uint32_t>(slots_.size());
  }
  [[nodiscard]] std::uint64_t capacity_bytes() const noexcept { return content_.size(); }
  /// All memory that I/O uses.
  [[nodiscard]] std::span<std::byte> arena() noexcept {
    return {arena_.get(), slots_.size() * slot_room_bytes};
  }
  [[nodiscard]] const Slot& slot(std::uint32_t index) const noexcept { return slots_[index]; }

  [[nodiscard]] std::uint64_t sector_of(std::uint32_t index) const noexcept {
    return std::uint64_t{index} * slot_sectors + slots_[index].at;
  }

  /// Begins an I/O on a slot that has none: chooses what it does. Returns its memory, in up to
  /// three segments, somewhere in the slot's room.
  std::uint32_t begin(std::uint32_t index, Random& dice, std::span<Segment, 3> segments) {
    Slot& slot = slots_[index];
    slot.is_out = true;
    slot.is_tainted = false;
    slot.at = static_cast<std::uint32_t>(dice.below(slot_sectors));
    slot.length_sectors = 1 + static_cast<std::uint32_t>(dice.below(slot_sectors - slot.at));
    const std::uint64_t what = dice.below(16);
    slot.opcode = what == 0   ? Opcode::flush
                  : what == 1 ? Opcode::discard
                  : what == 2 ? Opcode::write_zeroes
                  : what < 9  ? Opcode::write
                              : Opcode::read;
    if (slot.opcode != Opcode::read && slot.opcode != Opcode::write) return 0;
    const std::size_t length_bytes = slot.length_sectors * detail::bytes_in_sector;
    slot.memory = arena_.get() + index * slot_room_bytes + dice.below(64) * 64;
    std::byte* const memory = slot.memory;
    if (slot.opcode == Opcode::write) {
      for (std::size_t i = 0; i != length_bytes; i += 8) {
        const std::uint64_t word = dice.next();
        std::memcpy(memory + i, &word, 8);
      }
    } else {
      std::memset(memory, 0xEE, length_bytes);
    }
    // Cut anywhere on a word. Pieces lie side by side, and may become one again.
    const std::size_t first = dice.chance(1, 2) ? length_bytes : 8 * dice.below(length_bytes / 8);
    segments[0] = {memory, first};
    segments[1] = {memory + first, length_bytes - first};
    return first == length_bytes ? 1 : 2;
  }

  /// The device has said that an I/O on these sectors is done, and it is not.
  void taint(std::uint64_t sector) noexcept {
    const std::uint64_t index = sector / slot_sectors;
    if (index < slots_.size()) slots_[static_cast<std::size_t>(index)].is_tainted = true;
  }

  /// An I/O has ended. Null, or what is wrong.
  [[nodiscard]] const char* end(std::uint32_t index, Status status) {
    Slot& slot = slots_[index];
    if (!slot.is_out) return "an I/O has ended twice";
    slot.is_out = false;
    const bool is_good = status == Status::ok && !slot.is_tainted;
    if (slot.opcode == Opcode::flush) return nullptr;
    std::byte* const content = content_.data() + index * slot_bytes;
    for (std::uint32_t i = 0; i != slot.length_sectors; ++i) {
      const std::uint32_t sector = slot.at + i;
      std::byte* const expected = content + sector * detail::bytes_in_sector;
      const bool has_memory = slot.opcode == Opcode::read || slot.opcode == Opcode::write;
      const std::byte* const memory =
          has_memory ? slot.memory + i * detail::bytes_in_sector : nullptr;
      if (slot.opcode == Opcode::read) {
        if (is_good && slot.is_known[sector] &&
            std::memcmp(memory, expected, detail::bytes_in_sector) != 0) {
          return "a read brought other data than was written";
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

  /// Whether the medium holds what it must, wherever that is known. Null, or what is wrong.
  [[nodiscard]] const char* compare(Media& media) const {
    std::vector<std::byte> seen(detail::bytes_in_sector);
    for (std::size_t sector = 0; sector != slots_.size() * slot_sectors; ++sector) {
      if (!slots_[sector / slot_sectors].is_known[sector % slot_sectors]) continue;
      const std::uint64_t offset = sector * detail::bytes_in_sector;
      if (!media.read(offset, seen) ||
          std::memcmp(seen.data(), content_.data() + offset, seen.size()) != 0) {
        return "the medium holds other data than was written";
      }
    }
    return nullptr;
  }

 private:
  struct Free {
    void operator()(std::byte* memory) const noexcept { std::free(memory); }
  };

  std::vector<Slot> slots_;
  std::vector<std::byte> content_;
  std::unique_ptr<std::byte, Free> arena_;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
