// SPDX-License-Identifier: BSL-1.0
//
// CommandId: what names a command in the completions of a simulated device.

#ifndef BLKOWN_SIM_DEVICE_COMMAND_ID_HPP
#define BLKOWN_SIM_DEVICE_COMMAND_ID_HPP

#include <blkown/config.hpp>
#include <blkown/tag.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

/// The identity of a command in a completion entry: a cookie, and the queue of the entry.
struct CommandId {
  std::uint32_t queue = 0;
  std::uint64_t cookie = 0;
  friend bool operator==(const CommandId&, const CommandId&) = default;
};

/// Compares two ids as a driver's lookup does: without the user bits of the cookies.
[[nodiscard]] inline bool is_same_command(const CookieLayout& layout, const CommandId& a,
                                          const CommandId& b) noexcept {
  return a.queue == b.queue && ((a.cookie ^ b.cookie) & ~layout.user.mask()) == 0;
}

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
