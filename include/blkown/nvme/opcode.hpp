// SPDX-License-Identifier: BSL-1.0
//
// The opcodes of the admin and the I/O command sets.

#ifndef BLKOWN_NVME_OPCODE_HPP
#define BLKOWN_NVME_OPCODE_HPP

#include <blkown/config.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace nvme {

/// The commands of the admin queue. A value outside the enumerators is an opcode that this library
/// has no name for.
/// Source: NVMe Base 1.4, section 5.
enum class AdminOpcode : std::uint8_t {
  delete_io_submission_queue = 0x00,
  create_io_submission_queue = 0x01,
  get_log_page = 0x02,
  delete_io_completion_queue = 0x04,
  create_io_completion_queue = 0x05,
  identify = 0x06,
  abort = 0x08,
  set_features = 0x09,
  get_features = 0x0A,
  asynchronous_event_request = 0x0C,
  namespace_management = 0x0D,
  firmware_commit = 0x10,
  firmware_image_download = 0x11,
  device_self_test = 0x14,
  namespace_attachment = 0x15,
  keep_alive = 0x18,
  directive_send = 0x19,
  directive_receive = 0x1A,
  virtualization_management = 0x1C,
  nvme_mi_send = 0x1D,
  nvme_mi_receive = 0x1E,
  doorbell_buffer_config = 0x7C,
  format_nvm = 0x80,
  security_send = 0x81,
  security_receive = 0x82,
  sanitize = 0x84,
  get_lba_status = 0x86,
};

/// The commands of an I/O queue, NVM command set. A value outside the enumerators is an opcode that
/// this library has no name for.
/// Source: NVMe Base 1.4, section 6.
enum class IoOpcode : std::uint8_t {
  flush = 0x00,
  write = 0x01,
  read = 0x02,
  write_uncorrectable = 0x04,
  compare = 0x05,
  write_zeroes = 0x08,
  dataset_management = 0x09,
  verify = 0x0C,
  reservation_register = 0x0D,
  reservation_report = 0x0E,
  reservation_acquire = 0x11,
  reservation_release = 0x15,
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(AdminOpcode opcode) noexcept {
  switch (opcode) {
    case AdminOpcode::delete_io_submission_queue: return "delete_io_submission_queue";
    case AdminOpcode::create_io_submission_queue: return "create_io_submission_queue";
    case AdminOpcode::get_log_page: return "get_log_page";
    case AdminOpcode::delete_io_completion_queue: return "delete_io_completion_queue";
    case AdminOpcode::create_io_completion_queue: return "create_io_completion_queue";
    case AdminOpcode::identify: return "identify";
    case AdminOpcode::abort: return "abort";
    case AdminOpcode::set_features: return "set_features";
    case AdminOpcode::get_features: return "get_features";
    case AdminOpcode::asynchronous_event_request: return "asynchronous_event_request";
    case AdminOpcode::namespace_management: return "namespace_management";
    case AdminOpcode::firmware_commit: return "firmware_commit";
    case AdminOpcode::firmware_image_download: return "firmware_image_download";
    case AdminOpcode::device_self_test: return "device_self_test";
    case AdminOpcode::namespace_attachment: return "namespace_attachment";
    case AdminOpcode::keep_alive: return "keep_alive";
    case AdminOpcode::directive_send: return "directive_send";
    case AdminOpcode::directive_receive: return "directive_receive";
    case AdminOpcode::virtualization_management: return "virtualization_management";
    case AdminOpcode::nvme_mi_send: return "nvme_mi_send";
    case AdminOpcode::nvme_mi_receive: return "nvme_mi_receive";
    case AdminOpcode::doorbell_buffer_config: return "doorbell_buffer_config";
    case AdminOpcode::format_nvm: return "format_nvm";
    case AdminOpcode::security_send: return "security_send";
    case AdminOpcode::security_receive: return "security_receive";
    case AdminOpcode::sanitize: return "sanitize";
    case AdminOpcode::get_lba_status: return "get_lba_status";
  }
  return "unknown admin opcode";
}

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(IoOpcode opcode) noexcept {
  switch (opcode) {
    case IoOpcode::flush: return "flush";
    case IoOpcode::write: return "write";
    case IoOpcode::read: return "read";
    case IoOpcode::write_uncorrectable: return "write_uncorrectable";
    case IoOpcode::compare: return "compare";
    case IoOpcode::write_zeroes: return "write_zeroes";
    case IoOpcode::dataset_management: return "dataset_management";
    case IoOpcode::verify: return "verify";
    case IoOpcode::reservation_register: return "reservation_register";
    case IoOpcode::reservation_report: return "reservation_report";
    case IoOpcode::reservation_acquire: return "reservation_acquire";
    case IoOpcode::reservation_release: return "reservation_release";
  }
  return "unknown I/O opcode";
}

}  // namespace nvme
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
