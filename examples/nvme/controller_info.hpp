// SPDX-License-Identifier: BSL-1.0
//
// What the driver knows of a controller and of its namespaces, and the errors of a controller.

#ifndef EXAMPLES_NVME_CONTROLLER_INFO_HPP
#define EXAMPLES_NVME_CONTROLLER_INFO_HPP

#include <blkown/nvme/identify.hpp>
#include <blkown/nvme/status.hpp>
#include <cstdint>

namespace nvme_driver {

using blkown::nvme::StatusCode;
using blkown::nvme::StatusField;

/// The step that failed.
enum class ControllerStep : std::uint8_t {
  gone,         ///< The registers read as all ones.
  unsupported,  ///< No NVM command set, no pages of 4,096 bytes, or too few queue entries.
  memory,       ///< The rings or buffers could not be allocated or mapped.
  disable,      ///< CSTS.RDY did not become 0.
  enable,       ///< CSTS.RDY did not become 1.
  identify,
  namespace_list,  ///< Identifiers that do not rise, or that the controller cannot have.
  queue_count,
  create_queue,
  delete_queue,
  events,
  shut_down,
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(ControllerStep step) noexcept {
  switch (step) {
    case ControllerStep::gone: return "gone";
    case ControllerStep::unsupported: return "unsupported";
    case ControllerStep::memory: return "memory";
    case ControllerStep::disable: return "disable";
    case ControllerStep::enable: return "enable";
    case ControllerStep::identify: return "identify";
    case ControllerStep::namespace_list: return "namespace_list";
    case ControllerStep::queue_count: return "queue_count";
    case ControllerStep::create_queue: return "create_queue";
    case ControllerStep::delete_queue: return "delete_queue";
    case ControllerStep::events: return "events";
    case ControllerStep::shut_down: return "shut_down";
  }
  return "unknown step";
}

/// Why a controller cannot be used.
struct ControllerError {
  ControllerStep step{};
  StatusField status{};  ///< Of the command that failed. Success: it did not end in time.
  friend constexpr bool operator==(const ControllerError&, const ControllerError&) = default;
};

/// What a controller can do.
struct ControllerInfo {
  std::uint64_t max_transfer_bytes = 0;  ///< Of one command. UINT64_MAX: no limit.
  std::uint32_t max_queue_entries = 0;   ///< Of an I/O queue.
  std::uint32_t namespace_count = 0;     ///< NN: the greatest namespace identifier.
  std::uint32_t max_aborts = 1;          ///< At a time.
  std::uint16_t io_queues = 0;           ///< Granted.
  bool has_write_cache = false;
  bool has_discard = false;
  bool has_write_zeroes = false;
  bool has_firmware_update = false;
  std::uint32_t firmware_granularity_bytes = 4;  ///< Of an image's parts. FirmwareLoader.
};

/// A namespace, as a disk needs it.
struct NamespaceInfo {
  std::uint32_t nsid = 0;
  std::uint64_t blocks = 0;
  std::uint8_t block_exponent = 0;  ///< A block has 2 to this power bytes. 0: not usable.
  bool is_read_only = false;

  [[nodiscard]] std::uint32_t block_bytes() const noexcept { return 1U << block_exponent; }
  /// Whether this driver can serve the namespace: blocks of 512 to 65,536 bytes without metadata,
  /// less than 2 to the power of 64 bytes in all.
  [[nodiscard]] bool is_usable() const noexcept { return block_exponent != 0 && blocks != 0; }
};

/// Takes over what a controller says of a namespace.
[[nodiscard]] inline NamespaceInfo namespace_info(
    std::uint32_t nsid, const blkown::nvme::IdentifyNamespace& data) noexcept {
  const blkown::nvme::LbaFormat& format = data.format();
  const bool is_served = format.metadata_bytes == 0 && format.data_exponent >= 9 &&
                         format.data_exponent <= 16 &&
                         data.size_blocks <= UINT64_MAX >> format.data_exponent;
  return {.nsid = nsid,
          .blocks = data.size_blocks,
          .block_exponent = is_served ? format.data_exponent : std::uint8_t{0},
          .is_read_only = data.is_write_protected()};
}

}  // namespace nvme_driver

#endif
