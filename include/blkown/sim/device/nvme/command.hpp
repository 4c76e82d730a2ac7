// SPDX-License-Identifier: BSL-1.0
//
// NvmeCommand: a command that a simulated NVMe controller has fetched, and the actions planned for
// one.

#ifndef BLKOWN_SIM_DEVICE_NVME_COMMAND_HPP
#define BLKOWN_SIM_DEVICE_NVME_COMMAND_HPP

#include <blkown/config.hpp>
#include <blkown/nvme/opcode.hpp>
#include <blkown/nvme/status.hpp>
#include <blkown/nvme/submission_entry.hpp>
#include <blkown/sim/device/command_id.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

/// The cookie of the command in an entry: its command identifier.
[[nodiscard]] inline std::uint64_t cookie_of(const nvme::SubmissionEntry& entry) noexcept {
  return entry.command_id.get();
}

/// A command that the controller has fetched.
struct NvmeCommand {
  std::uint64_t serial = 0;  // unique in its queue, although a later command may have the same id
  std::uint32_t slot = 0;    // of the command table
  std::uint16_t queue = 0;   // the submission queue
  bool is_disowned = false;  // a false completion was accepted: the driver may have its memory
  bool is_lost = false;      // its completion will not be posted
  bool is_executed = false;  // done, but its completion is not posted
  bool is_pending = false;   // an Asynchronous Event Request that waits for an event
  nvme::SubmissionEntry entry;

  [[nodiscard]] CommandId id() const noexcept { return {queue, cookie_of(entry)}; }
  [[nodiscard]] bool is_admin() const noexcept { return queue == 0; }
  [[nodiscard]] bool is(nvme::AdminOpcode opcode) const noexcept {
    return is_admin() && entry.admin_opcode() == opcode;
  }
  [[nodiscard]] bool is(nvme::IoOpcode opcode) const noexcept {
    return !is_admin() && entry.io_opcode() == opcode;
  }
  /// Whether the command moves blocks between the medium and the driver's memory.
  [[nodiscard]] bool moves_blocks() const noexcept {
    return is(nvme::IoOpcode::read) || is(nvme::IoOpcode::write) || is(nvme::IoOpcode::compare);
  }
};

/// The end of a command's execution.
struct NvmeOutcome {
  nvme::StatusField status{};
  std::uint32_t dw0 = 0;    // of the completion entry
  bool is_pending = false;  // the command is kept, and is completed by an event
};

/// The outcome of a command that failed, and would fail again.
[[nodiscard]] constexpr NvmeOutcome refused(nvme::StatusCode code) noexcept {
  return {.status = nvme::StatusField::of(code, true)};
}
/// The outcome of a command that failed, and may succeed when it is sent again.
[[nodiscard]] constexpr NvmeOutcome failed(nvme::StatusCode code) noexcept {
  return {.status = nvme::StatusField::of(code)};
}

enum class NvmeActionKind : std::uint8_t {
  execute,  ///< Execute the command.
  send,     ///< Send a completion with the command's identifier.
  touch,    ///< Access the memory of a command that is done.
};

/// Names a command of a table that may have been erased meanwhile.
struct NvmeCommandName {
  explicit NvmeCommandName(const NvmeCommand& command) noexcept
      : serial{command.serial}, slot{command.slot}, command_id{command.entry.command_id} {}

  std::uint64_t serial;
  std::uint32_t slot;
  std::uint16_t command_id;
};

struct NvmeAction {
  NvmeActionKind kind{};
  bool is_genuine = false;
  NvmeOutcome outcome{};
  NvmeCommandName command;
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
