// SPDX-License-Identifier: BSL-1.0
//
// CommandTable: the commands that a simulated controller has fetched.

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

/// Commands in the order in which they were added. A command is found by a copy of it, in constant
/// time. The table allocates only when it holds more commands than ever before.
/// Precondition: a command has a `serial`, unique in the table, and a `slot`, which the table sets.
template <class C>
class BasicCommandTable {
 public:
  BasicCommandTable() : slots_(1) { clear(); }

  /// Adds a command. Returns the table's command, which stays in place until the next add.
  C& add(C command) {
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
  /// The table's command for a copy of it. Null if the command was erased.
  [[nodiscard]] C* find(const C& copy) noexcept { return find(copy.slot, copy.serial); }
  /// The same for the slot and the serial of a command.
  [[nodiscard]] C* find(std::uint32_t at, std::uint64_t serial) noexcept {
    if (at >= slots_.size()) return nullptr;
    Slot& slot = slots_[at];
    return slot.is_taken && slot.command.serial == serial ? &slot.command : nullptr;
  }
  /// Erases a command. Returns false if the command was erased before.
  bool erase(const C& copy) noexcept {
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
  /// The command that was added first among those for which `is_it(command)` is true, or null.
  template <class Predicate>
  [[nodiscard]] C* find_first(Predicate is_it) {
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
  /// Slot 0 holds no command. The ring of taken slots begins and ends there, and the list of free
  /// slots ends there.
  static constexpr std::uint32_t end = 0;

  struct Slot {
    C command;
    std::uint32_t next = end;
    std::uint32_t previous = end;
    bool is_taken = false;
  };

  std::vector<Slot> slots_;
  std::uint32_t free_ = end;
  std::size_t size_ = 0;
};

using CommandTable = BasicCommandTable<Command>;

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
