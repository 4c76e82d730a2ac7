// SPDX-License-Identifier: BSL-1.0
//
// The messages between a driver and a simulated MessageDevice; the operations of a Workload.

#ifndef BLKOWN_SIM_DEVICE_MESSAGE_HPP
#define BLKOWN_SIM_DEVICE_MESSAGE_HPP

#include <blkown/config.hpp>
#include <blkown/segment.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// An operation: of a message, and of a driver that the harness runs.
enum class Opcode : std::uint8_t {
  flush,
  write,
  read,
  write_zeroes,
  discard,
  compare,  ///< Fails if the medium holds other data. Not for a MessageDevice.
};

[[nodiscard]] constexpr const char* to_string(Opcode opcode) noexcept {
  switch (opcode) {
    case Opcode::flush: return "flush";
    case Opcode::write: return "write";
    case Opcode::read: return "read";
    case Opcode::write_zeroes: return "write_zeroes";
    case Opcode::discard: return "discard";
    case Opcode::compare: return "compare";
  }
  return "unknown opcode";
}

/// The result of a command, as the device reports it.
enum class DeviceStatus : std::uint8_t {
  success,
  media_error,
  invalid_command,  ///< Out of range, no such disk, no whole blocks, or bytes that do not add up.
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(DeviceStatus status) noexcept {
  switch (status) {
    case DeviceStatus::success: return "success";
    case DeviceStatus::media_error: return "media_error";
    case DeviceStatus::invalid_command: return "invalid_command";
  }
  return "unknown status";
}

/// A command for a MessageDevice.
struct Message {
  std::uint64_t cookie = 0;  ///< In the driver's layout. The reply returns it.
  Opcode opcode{};           ///< Any but compare.
  std::uint64_t sector = 0;
  std::uint32_t length_sectors = 0;
  /// The bytes of a write: in place until the reply, or until connect() or stop() return.
  std::span<const Segment> bytes;
  std::uint32_t disk = 0;  ///< Of a device with several disks: which one, from 0.
};

/// The answer to a command.
struct Reply {
  std::uint64_t cookie = 0;
  DeviceStatus status{};
  std::uint32_t transferred_bytes = 0;  ///< Of a read or a write: fewer than asked for if short.
  std::vector<std::byte> bytes = {};    ///< Of a read: as many as transferred_bytes.
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
