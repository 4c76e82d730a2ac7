// SPDX-License-Identifier: BSL-1.0
//
// Which commands there were, for a device that completes one of them again.

#ifndef BLKOWN_SIM_DEVICE_RECENT_COMMANDS_HPP
#define BLKOWN_SIM_DEVICE_RECENT_COMMANDS_HPP

#include <algorithm>
#include <array>
#include <blkown/config.hpp>
#include <blkown/sim/harness/completion_account.hpp>
#include <cstddef>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

/// The latest of them, so many that tags have been used again meanwhile.
class RecentCommands {
 public:
  void add(const Name& name) noexcept { names_[next_++ % names_.size()] = name; }
  [[nodiscard]] bool empty() const noexcept { return next_ == 0; }
  /// Precondition: not empty.
  [[nodiscard]] const Name& pick(std::uint64_t choice) const noexcept {
    return names_[static_cast<std::size_t>(choice % std::min(next_, names_.size()))];
  }

 private:
  std::array<Name, 64> names_{};
  std::size_t next_ = 0;
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
