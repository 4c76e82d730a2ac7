// SPDX-License-Identifier: BSL-1.0
//
// Command: a message that a MessageDevice has taken.

#ifndef BLKOWN_SIM_DEVICE_COMMAND_HPP
#define BLKOWN_SIM_DEVICE_COMMAND_HPP

#include <blkown/config.hpp>
#include <blkown/sim/device/command_id.hpp>
#include <blkown/sim/device/message.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

inline constexpr std::uint64_t bytes_in_sector = 512;

/// The cookie of a message.
[[nodiscard]] inline std::uint64_t cookie_of(const Message& entry) noexcept { return entry.cookie; }

/// A message that the device has taken, without its bytes.
struct Command {
  std::uint64_t serial = 0;  // unique, although a later command may have the same cookie
  std::uint32_t slot = 0;    // of the CommandTable
  std::uint32_t queue = 0;
  Message entry;
  bool is_lost = false;      // its completion will not be posted
  bool is_executed = false;  // done, but its completion is not posted

  [[nodiscard]] CommandId id() const noexcept { return {queue, entry.cookie}; }
  [[nodiscard]] std::uint64_t offset_bytes() const noexcept {
    return entry.sector * bytes_in_sector;
  }
  [[nodiscard]] std::uint64_t length_bytes() const noexcept {
    return std::uint64_t{entry.length_sectors} * bytes_in_sector;
  }
  [[nodiscard]] bool moves_data() const noexcept {
    return entry.opcode == Opcode::read || entry.opcode == Opcode::write;
  }
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
