// SPDX-License-Identifier: BSL-1.0
//
// RecentCommands: the latest commands, from which the fault `stale` picks one to complete again.

#ifndef BLKOWN_SIM_DEVICE_RECENT_COMMANDS_HPP
#define BLKOWN_SIM_DEVICE_RECENT_COMMANDS_HPP

#include <algorithm>
#include <array>
#include <blkown/config.hpp>
#include <blkown/sim/device/command_id.hpp>
#include <cstddef>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

/// The ids of the latest 64 commands: enough that the tags of the oldest have been reused.
class RecentCommands {
 public:
  void add(const CommandId& id) noexcept { ids_[next_++ % ids_.size()] = id; }
  [[nodiscard]] bool empty() const noexcept { return next_ == 0; }
  /// Any of the kept ids, by a random number.
  /// Precondition: !empty().
  [[nodiscard]] const CommandId& pick(std::uint64_t choice) const noexcept {
    return ids_[static_cast<std::size_t>(choice % std::min(next_, ids_.size()))];
  }

 private:
  std::array<CommandId, 64> ids_{};
  std::size_t next_ = 0;
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
