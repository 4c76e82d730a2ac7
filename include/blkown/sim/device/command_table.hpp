// SPDX-License-Identifier: BSL-1.0
//
// Which commands a simulated controller has.

#ifndef BLKOWN_SIM_DEVICE_COMMAND_TABLE_HPP
#define BLKOWN_SIM_DEVICE_COMMAND_TABLE_HPP

#include <blkown/config.hpp>
#include <blkown/sim/device/command.hpp>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

/// Commands in the order in which they were added. A copy of one finds it again without a search,
/// however many there are; it allocates only when there are more than ever before.
class CommandTable {
 public:
  CommandTable() : slots_(1) { clear(); }

  /// The command as it is kept, until the next add: a copy of it finds it again.
  Command& add(Command command) {
    std::uint32_t at = free_;
    if (at != end) {
      free_ = slots_[at].next;
    } else {
      at = static_cast<std::uint32_t>(slots_.size());
      slots_.emplace_back();
    }
    Slot& slot = slots_[at];
    slot.command = command;
    slot.command.slot = at;
    slot.is_taken = true;
    slot.next = end;
    slot.previous = slots_[end].previous;
    slots_[slot.previous].next = at;
    slots_[end].previous = at;
    ++size_;
    return slot.command;
  }
  /// Null if it is not there any more.
  [[nodiscard]] Command* find(const Command& copy) noexcept {
    if (copy.slot >= slots_.size()) return nullptr;
    Slot& slot = slots_[copy.slot];
    return slot.is_taken && slot.command.serial == copy.serial ? &slot.command : nullptr;
  }
  /// Whether it was there.
  bool erase(const Command& copy) noexcept {
    if (find(copy) == nullptr) return false;
    const std::uint32_t at = copy.slot;
    Slot& slot = slots_[at];
    slots_[slot.previous].next = slot.next;
    slots_[slot.next].previous = slot.previous;
    slot.is_taken = false;
    slot.next = free_;
    free_ = at;
    --size_;
    return true;
  }
  /// The first one, in the order in which they were added, of which `is_it(command)` is true.
  template <class Predicate>
  [[nodiscard]] Command* find_first(Predicate is_it) {
    for (std::uint32_t at = slots_[end].next; at != end; at = slots_[at].next) {
      if (is_it(slots_[at].command)) return &slots_[at].command;
    }
    return nullptr;
  }
  void clear() noexcept {
    slots_.resize(1);
    slots_[end] = Slot{};
    free_ = end;
    size_ = 0;
  }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  /// Slot 0 holds no command; it is where the list of those that do begins and ends, and where that
  /// of the others ends.
  static constexpr std::uint32_t end = 0;

  struct Slot {
    Command command;
    std::uint32_t next = end;
    std::uint32_t previous = end;
    bool is_taken = false;
  };

  std::vector<Slot> slots_;
  std::uint32_t free_ = end;
  std::size_t size_ = 0;
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
