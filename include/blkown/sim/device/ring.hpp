// SPDX-License-Identifier: BSL-1.0
//
// The entries of the rings between a driver and a simulated controller.

#ifndef BLKOWN_SIM_DEVICE_RING_HPP
#define BLKOWN_SIM_DEVICE_RING_HPP

#include <blkown/config.hpp>
#include <blkown/dma/iova.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

enum class Opcode : std::uint8_t {
  flush,
  write,
  read,
  write_zeroes,
  discard,
  compare,  ///< Fails if the medium holds other data. For an NvmeController only.
  abort,    ///< Ends the command with the cookie `target`, if the controller still has it.
};

[[nodiscard]] constexpr const char* to_string(Opcode opcode) noexcept {
  switch (opcode) {
    case Opcode::flush: return "flush";
    case Opcode::write: return "write";
    case Opcode::read: return "read";
    case Opcode::write_zeroes: return "write_zeroes";
    case Opcode::discard: return "discard";
    case Opcode::compare: return "compare";
    case Opcode::abort: return "abort";
  }
  return "unknown opcode";
}

/// The result of a command, as the device reports it.
enum class DeviceStatus : std::uint8_t {
  success,
  media_error,
  invalid_command,  ///< Out of range, or a list of segments that does not add up.
  dma_fault,        ///< The IOMMU refused an access to the memory.
  aborted,          ///< An abort ended the command.
  not_found,        ///< Of an abort: the controller does not have the command.
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(DeviceStatus status) noexcept {
  switch (status) {
    case DeviceStatus::success: return "success";
    case DeviceStatus::media_error: return "media_error";
    case DeviceStatus::invalid_command: return "invalid_command";
    case DeviceStatus::dma_fault: return "dma_fault";
    case DeviceStatus::aborted: return "aborted";
    case DeviceStatus::not_found: return "not_found";
  }
  return "unknown status";
}

/// One entry of a submission ring.
/// Source: the 64 bytes of an NVMe submission queue entry.
struct SubmissionEntry {
  std::uint64_t cookie = 0;  ///< In the driver's layout. The completion returns it.
  std::uint64_t sector = 0;
  std::uint32_t length_sectors = 0;
  Opcode opcode{};
  std::uint8_t is_fua = 0;  ///< 1: what is written is durable when the command completes.
  std::uint16_t segment_count = 0;
  /// The memory, if it is one segment, or else the place of an array of IovaSegment.
  dma::IovaSegment segment;
  std::uint64_t target = 0;  ///< Of an abort: the cookie of the command to abort.
  std::uint64_t reserved_too[2] = {};
};
static_assert(sizeof(SubmissionEntry) == 64);

/// One entry of a completion ring. The entry is posted when the phase bit of its last word is that
/// of the current round: 1 in the first round, 0 in the second, and so on.
/// Synchronization: the driver reads the last word first, with dma::load_acquire.
/// Source: the 16 bytes of an NVMe completion queue entry.
struct CompletionEntry {
  std::uint64_t cookie = 0;
  std::uint32_t transferred_bytes = 0;
  std::uint16_t submission_head = 0;  ///< The index of the next entry to fetch.
  std::uint16_t status_and_phase = 0;

  /// The value of status_and_phase.
  [[nodiscard]] static constexpr std::uint16_t pack(DeviceStatus status, bool phase) noexcept {
    return static_cast<std::uint16_t>((static_cast<unsigned>(status) << 1) | (phase ? 1U : 0U));
  }
  /// The phase in status_and_phase.
  [[nodiscard]] static constexpr bool phase_of(std::uint16_t word) noexcept {
    return (word & 1U) != 0;
  }
  /// The status in status_and_phase.
  [[nodiscard]] static constexpr DeviceStatus status_of(std::uint16_t word) noexcept {
    return static_cast<DeviceStatus>(word >> 1);
  }
};
static_assert(sizeof(CompletionEntry) == 16);

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
