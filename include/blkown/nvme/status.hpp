// SPDX-License-Identifier: BSL-1.0
//
// The status of a completion: the codes, the status field, and what they mean as a Status.

#ifndef BLKOWN_NVME_STATUS_HPP
#define BLKOWN_NVME_STATUS_HPP

#include <blkown/config.hpp>
#include <blkown/status.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace nvme {

/// The type of a status code.
/// Source: NVMe Base 1.4, section 4.6.1.1.
enum class StatusType : std::uint8_t {
  generic = 0,           ///< Codes that belong to no command.
  command_specific = 1,  ///< Codes that belong to certain commands.
  media = 2,             ///< Media and data integrity errors.
  path = 3,              ///< Path related errors.
  vendor_specific = 7,
};

/// A status code with its type: the code in bits 7 to 0, the type in bits 10 to 8. A value outside
/// the enumerators is a code that this library has no name for.
/// Source: NVMe Base 1.4, section 4.6.1.2.
enum class StatusCode : std::uint16_t {
  // Generic command status.
  success = 0x000,                   ///< The command completed without an error.
  invalid_opcode = 0x001,            ///< The opcode is reserved, or not supported.
  invalid_field = 0x002,             ///< A reserved value or an unsupported one in a defined field.
  command_id_conflict = 0x003,       ///< The command identifier is in use.
  data_transfer_error = 0x004,       ///< The data or metadata could not be transferred.
  power_loss_abort = 0x005,          ///< Aborted due to a power loss notification.
  internal_error = 0x006,            ///< An internal error. The log page may say more.
  abort_requested = 0x007,           ///< Aborted by an Abort command.
  submission_queue_deleted = 0x008,  ///< Aborted, because the queue was deleted.
  failed_fused = 0x009,              ///< Aborted, because the other fused command failed.
  missing_fused = 0x00A,             ///< Aborted, because the other fused command is not adjacent.
  invalid_namespace = 0x00B,         ///< The namespace or its format is invalid.
  command_sequence_error = 0x00C,    ///< Aborted due to a protocol violation in a sequence.
  invalid_sgl_segment = 0x00D,       ///< An SGL segment descriptor is invalid.
  invalid_sgl_descriptor_count = 0x00E,          ///< Too many or too few SGL descriptors.
  data_sgl_length_invalid = 0x00F,               ///< The data SGL has the wrong length.
  metadata_sgl_length_invalid = 0x010,           ///< The metadata SGL has the wrong length.
  sgl_descriptor_type_invalid = 0x011,           ///< An SGL descriptor has an unsupported type.
  invalid_controller_memory_buffer_use = 0x012,  ///< The command may not use the buffer like this.
  prp_offset_invalid = 0x013,                    ///< A PRP entry's offset is not 0, or not aligned.
  atomic_write_unit_exceeded = 0x014,            ///< The length is above the atomic write unit.
  operation_denied = 0x015,                      ///< The host lacks the access rights.
  sgl_offset_invalid = 0x016,                    ///< An SGL descriptor's offset is invalid.
  host_identifier_inconsistent = 0x018,          ///< The host identifiers have different formats.
  keep_alive_expired = 0x019,                    ///< The Keep Alive timer ran out.
  keep_alive_timeout_invalid = 0x01A,            ///< The Keep Alive timeout is invalid.
  preempted_and_aborted = 0x01B,                 ///< Aborted by a Reservation Acquire command.
  sanitize_failed = 0x01C,                       ///< The most recent sanitize operation failed.
  sanitize_in_progress = 0x01D,                  ///< A sanitize operation is in progress.
  sgl_data_block_granularity_invalid = 0x01E,    ///< An SGL address or length is not granular.
  command_not_supported_for_queue_in_cmb = 0x01F,  ///< The queue's memory forbids the command.
  namespace_write_protected = 0x020,               ///< The namespace is write protected.
  command_interrupted = 0x021,                     ///< Interrupted by the controller: retry later.
  transient_transport_error = 0x022,  ///< An error of the transport: a retry is likely to succeed.
  lba_out_of_range = 0x080,           ///< A block is beyond the namespace.
  capacity_exceeded = 0x081,          ///< The allocated capacity would be exceeded.
  namespace_not_ready = 0x082,        ///< The namespace cannot be accessed now.
  reservation_conflict = 0x083,       ///< Another host holds a reservation.
  format_in_progress = 0x084,         ///< A Format NVM command is in progress.

  // Command specific status.
  completion_queue_invalid = 0x100,      ///< The completion queue does not exist.
  invalid_queue_identifier = 0x101,      ///< The queue identifier is invalid, or in use.
  invalid_queue_size = 0x102,            ///< The queue's size is invalid.
  abort_command_limit_exceeded = 0x103,  ///< More Abort commands than the limit.
  asynchronous_event_request_limit_exceeded = 0x105,  ///< More event requests than the limit.
  invalid_firmware_slot = 0x106,              ///< The firmware slot is invalid, or read only.
  invalid_firmware_image = 0x107,             ///< The firmware image is invalid.
  invalid_interrupt_vector = 0x108,           ///< The interrupt vector is invalid.
  invalid_log_page = 0x109,                   ///< The log page is invalid.
  invalid_format = 0x10A,                     ///< The LBA format is not supported.
  firmware_needs_conventional_reset = 0x10B,  ///< Committed; active after a conventional reset.
  invalid_queue_deletion = 0x10C,             ///< The completion queue has submission queues.
  feature_not_saveable = 0x10D,               ///< The feature cannot be saved.
  feature_not_changeable = 0x10E,             ///< The feature cannot be changed.
  feature_not_namespace_specific = 0x10F,     ///< The feature belongs to the whole controller.
  firmware_needs_subsystem_reset = 0x110,     ///< Committed; active after a subsystem reset.
  firmware_needs_controller_reset = 0x111,    ///< Committed; active after a controller reset.
  firmware_needs_maximum_time = 0x112,      ///< Activation takes longer than the controller's MTFA.
  firmware_activation_prohibited = 0x113,   ///< The image may not be activated.
  overlapping_range = 0x114,                ///< The image's parts, or the ranges, overlap.
  namespace_insufficient_capacity = 0x115,  ///< Too little free capacity for the namespace.
  namespace_identifier_unavailable = 0x116,    ///< No further namespace can be created.
  namespace_already_attached = 0x118,          ///< The controller is attached already.
  namespace_is_private = 0x119,                ///< The namespace belongs to another controller.
  namespace_not_attached = 0x11A,              ///< The controller is not attached.
  thin_provisioning_not_supported = 0x11B,     ///< Thin provisioning is not supported.
  controller_list_invalid = 0x11C,             ///< The controller list is invalid.
  self_test_in_progress = 0x11D,               ///< A device self-test is in progress.
  boot_partition_write_prohibited = 0x11E,     ///< The boot partition is locked.
  invalid_controller_identifier = 0x11F,       ///< The controller identifier is invalid.
  invalid_secondary_controller_state = 0x120,  ///< The secondary controller's state forbids it.
  invalid_controller_resource_count = 0x121,   ///< The number of controller resources is invalid.
  invalid_resource_identifier = 0x122,         ///< The resource identifier is invalid.
  sanitize_prohibited = 0x123,                 ///< The persistent memory region is enabled.
  ana_group_identifier_invalid = 0x124,        ///< The ANA group identifier is invalid.
  ana_attach_failed = 0x125,               ///< The namespace's ANA group forbids the attachment.
  conflicting_attributes = 0x180,          ///< The command's attributes conflict.
  invalid_protection_information = 0x181,  ///< The protection information field is invalid.
  write_to_read_only_range = 0x182,        ///< A block of the range is read only.

  // Media and data integrity errors.
  write_fault = 0x280,                  ///< The data could not be written to the medium.
  unrecovered_read_error = 0x281,       ///< The data could not be read from the medium.
  guard_check_error = 0x282,            ///< The end-to-end guard check failed.
  application_tag_check_error = 0x283,  ///< The end-to-end application tag check failed.
  reference_tag_check_error = 0x284,    ///< The end-to-end reference tag check failed.
  compare_failure = 0x285,              ///< The data of a Compare command differ.
  access_denied = 0x286,                ///< Access to a block of the range is denied.
  unwritten_block = 0x287,              ///< A block of the range is deallocated or unwritten.

  // Path related status.
  internal_path_error = 0x300,    ///< A failure in the controller's path.
  ana_persistent_loss = 0x301,    ///< The relationship to the ANA group is lost for good.
  ana_inaccessible = 0x302,       ///< The ANA group is inaccessible.
  ana_transition = 0x303,         ///< The ANA group is between two states.
  controller_path_error = 0x360,  ///< The controller saw a path error.
  host_path_error = 0x370,        ///< The host saw a path error.
  aborted_by_host = 0x371,        ///< Aborted by the host, not by an Abort command.
};

namespace detail {

[[nodiscard]] constexpr const char* generic_name(StatusCode code) noexcept {
  switch (code) {
    case StatusCode::success: return "success";
    case StatusCode::invalid_opcode: return "invalid_opcode";
    case StatusCode::invalid_field: return "invalid_field";
    case StatusCode::command_id_conflict: return "command_id_conflict";
    case StatusCode::data_transfer_error: return "data_transfer_error";
    case StatusCode::power_loss_abort: return "power_loss_abort";
    case StatusCode::internal_error: return "internal_error";
    case StatusCode::abort_requested: return "abort_requested";
    case StatusCode::submission_queue_deleted: return "submission_queue_deleted";
    case StatusCode::failed_fused: return "failed_fused";
    case StatusCode::missing_fused: return "missing_fused";
    case StatusCode::invalid_namespace: return "invalid_namespace";
    case StatusCode::command_sequence_error: return "command_sequence_error";
    case StatusCode::invalid_sgl_segment: return "invalid_sgl_segment";
    case StatusCode::invalid_sgl_descriptor_count: return "invalid_sgl_descriptor_count";
    case StatusCode::data_sgl_length_invalid: return "data_sgl_length_invalid";
    case StatusCode::metadata_sgl_length_invalid: return "metadata_sgl_length_invalid";
    case StatusCode::sgl_descriptor_type_invalid: return "sgl_descriptor_type_invalid";
    case StatusCode::invalid_controller_memory_buffer_use:
      return "invalid_controller_memory_buffer_use";
    case StatusCode::prp_offset_invalid: return "prp_offset_invalid";
    case StatusCode::atomic_write_unit_exceeded: return "atomic_write_unit_exceeded";
    case StatusCode::operation_denied: return "operation_denied";
    case StatusCode::sgl_offset_invalid: return "sgl_offset_invalid";
    case StatusCode::host_identifier_inconsistent: return "host_identifier_inconsistent";
    case StatusCode::keep_alive_expired: return "keep_alive_expired";
    case StatusCode::keep_alive_timeout_invalid: return "keep_alive_timeout_invalid";
    case StatusCode::preempted_and_aborted: return "preempted_and_aborted";
    case StatusCode::sanitize_failed: return "sanitize_failed";
    case StatusCode::sanitize_in_progress: return "sanitize_in_progress";
    case StatusCode::sgl_data_block_granularity_invalid:
      return "sgl_data_block_granularity_invalid";
    case StatusCode::command_not_supported_for_queue_in_cmb:
      return "command_not_supported_for_queue_in_cmb";
    case StatusCode::namespace_write_protected: return "namespace_write_protected";
    case StatusCode::command_interrupted: return "command_interrupted";
    case StatusCode::transient_transport_error: return "transient_transport_error";
    case StatusCode::lba_out_of_range: return "lba_out_of_range";
    case StatusCode::capacity_exceeded: return "capacity_exceeded";
    case StatusCode::namespace_not_ready: return "namespace_not_ready";
    case StatusCode::reservation_conflict: return "reservation_conflict";
    case StatusCode::format_in_progress: return "format_in_progress";
    default: return "unknown status code";
  }
}
[[nodiscard]] constexpr const char* command_specific_name(StatusCode code) noexcept {
  switch (code) {
    case StatusCode::completion_queue_invalid: return "completion_queue_invalid";
    case StatusCode::invalid_queue_identifier: return "invalid_queue_identifier";
    case StatusCode::invalid_queue_size: return "invalid_queue_size";
    case StatusCode::abort_command_limit_exceeded: return "abort_command_limit_exceeded";
    case StatusCode::asynchronous_event_request_limit_exceeded:
      return "asynchronous_event_request_limit_exceeded";
    case StatusCode::invalid_firmware_slot: return "invalid_firmware_slot";
    case StatusCode::invalid_firmware_image: return "invalid_firmware_image";
    case StatusCode::invalid_interrupt_vector: return "invalid_interrupt_vector";
    case StatusCode::invalid_log_page: return "invalid_log_page";
    case StatusCode::invalid_format: return "invalid_format";
    case StatusCode::firmware_needs_conventional_reset: return "firmware_needs_conventional_reset";
    case StatusCode::invalid_queue_deletion: return "invalid_queue_deletion";
    case StatusCode::feature_not_saveable: return "feature_not_saveable";
    case StatusCode::feature_not_changeable: return "feature_not_changeable";
    case StatusCode::feature_not_namespace_specific: return "feature_not_namespace_specific";
    case StatusCode::firmware_needs_subsystem_reset: return "firmware_needs_subsystem_reset";
    case StatusCode::firmware_needs_controller_reset: return "firmware_needs_controller_reset";
    case StatusCode::firmware_needs_maximum_time: return "firmware_needs_maximum_time";
    case StatusCode::firmware_activation_prohibited: return "firmware_activation_prohibited";
    case StatusCode::overlapping_range: return "overlapping_range";
    case StatusCode::namespace_insufficient_capacity: return "namespace_insufficient_capacity";
    case StatusCode::namespace_identifier_unavailable: return "namespace_identifier_unavailable";
    case StatusCode::namespace_already_attached: return "namespace_already_attached";
    case StatusCode::namespace_is_private: return "namespace_is_private";
    case StatusCode::namespace_not_attached: return "namespace_not_attached";
    case StatusCode::thin_provisioning_not_supported: return "thin_provisioning_not_supported";
    case StatusCode::controller_list_invalid: return "controller_list_invalid";
    case StatusCode::self_test_in_progress: return "self_test_in_progress";
    case StatusCode::boot_partition_write_prohibited: return "boot_partition_write_prohibited";
    case StatusCode::invalid_controller_identifier: return "invalid_controller_identifier";
    case StatusCode::invalid_secondary_controller_state:
      return "invalid_secondary_controller_state";
    case StatusCode::invalid_controller_resource_count: return "invalid_controller_resource_count";
    case StatusCode::invalid_resource_identifier: return "invalid_resource_identifier";
    case StatusCode::sanitize_prohibited: return "sanitize_prohibited";
    case StatusCode::ana_group_identifier_invalid: return "ana_group_identifier_invalid";
    case StatusCode::ana_attach_failed: return "ana_attach_failed";
    case StatusCode::conflicting_attributes: return "conflicting_attributes";
    case StatusCode::invalid_protection_information: return "invalid_protection_information";
    case StatusCode::write_to_read_only_range: return "write_to_read_only_range";
    default: return "unknown status code";
  }
}
[[nodiscard]] constexpr const char* media_or_path_name(StatusCode code) noexcept {
  switch (code) {
    case StatusCode::write_fault: return "write_fault";
    case StatusCode::unrecovered_read_error: return "unrecovered_read_error";
    case StatusCode::guard_check_error: return "guard_check_error";
    case StatusCode::application_tag_check_error: return "application_tag_check_error";
    case StatusCode::reference_tag_check_error: return "reference_tag_check_error";
    case StatusCode::compare_failure: return "compare_failure";
    case StatusCode::access_denied: return "access_denied";
    case StatusCode::unwritten_block: return "unwritten_block";
    case StatusCode::internal_path_error: return "internal_path_error";
    case StatusCode::ana_persistent_loss: return "ana_persistent_loss";
    case StatusCode::ana_inaccessible: return "ana_inaccessible";
    case StatusCode::ana_transition: return "ana_transition";
    case StatusCode::controller_path_error: return "controller_path_error";
    case StatusCode::host_path_error: return "host_path_error";
    case StatusCode::aborted_by_host: return "aborted_by_host";
    default: return "unknown status code";
  }
}

}  // namespace detail

/// The type of the code.
[[nodiscard]] constexpr StatusType type_of(StatusCode code) noexcept {
  return static_cast<StatusType>((static_cast<unsigned>(code) >> 8) & 7);
}

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(StatusCode code) noexcept {
  switch (type_of(code)) {
    case StatusType::generic: return detail::generic_name(code);
    case StatusType::command_specific: return detail::command_specific_name(code);
    default: return detail::media_or_path_name(code);
  }
}
/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(StatusType type) noexcept {
  switch (type) {
    case StatusType::generic: return "generic";
    case StatusType::command_specific: return "command_specific";
    case StatusType::media: return "media";
    case StatusType::path: return "path";
    case StatusType::vendor_specific: return "vendor_specific";
  }
  return "unknown status type";
}

/// The 15 bits of a completion's status field, without the phase tag.
/// Source: NVMe Base 1.4, section 4.6.1.
struct StatusField {
  std::uint16_t value = 0;

  /// The status field of a code.
  /// Precondition: `retry_delay_index` is 0 to 3.
  [[nodiscard]] static constexpr StatusField of(StatusCode code, bool do_not_retry = false,
                                                bool more = false,
                                                unsigned retry_delay_index = 0) noexcept {
    return {static_cast<std::uint16_t>((static_cast<unsigned>(code) & 0x7FF) |
                                       ((retry_delay_index & 3) << 11) | (more ? 0x2000u : 0u) |
                                       (do_not_retry ? 0x4000u : 0u))};
  }

  /// SCT and SC: the code with its type.
  [[nodiscard]] constexpr StatusCode code() const noexcept {
    return static_cast<StatusCode>(value & 0x7FF);
  }
  /// Whether the code is success.
  [[nodiscard]] constexpr bool is_success() const noexcept { return code() == StatusCode::success; }
  /// CRD: 0 to retry at once, or 1 to 3 to wait for the time in the controller's CRDT1 to CRDT3.
  [[nodiscard]] constexpr unsigned retry_delay_index() const noexcept { return (value >> 11) & 3; }
  /// M: the error log page holds more about this command.
  [[nodiscard]] constexpr bool more() const noexcept { return (value & 0x2000) != 0; }
  /// DNR: the same command would fail again.
  [[nodiscard]] constexpr bool do_not_retry() const noexcept { return (value & 0x4000) != 0; }

  friend constexpr bool operator==(StatusField, StatusField) = default;
};

namespace detail {

/// The Status of a code, or io_error for a code without one of its own.
[[nodiscard]] constexpr Status status_of(StatusCode code) noexcept {
  using enum StatusCode;
  switch (code) {
    case success: return Status::ok;
    case invalid_opcode:
    case thin_provisioning_not_supported: return Status::not_supported;
    case invalid_field:
    case invalid_namespace:
    case conflicting_attributes: return Status::invalid;
    case abort_requested:
    case submission_queue_deleted:
    case power_loss_abort:
    case preempted_and_aborted:
    case aborted_by_host: return Status::aborted;
    case capacity_exceeded:
    case namespace_insufficient_capacity: return Status::no_space;
    case lba_out_of_range:
    case operation_denied: return Status::target_error;
    case reservation_conflict: return Status::reservation_conflict;
    case write_fault:
    case unrecovered_read_error:
    case compare_failure:
    case access_denied:
    case unwritten_block:
    case write_to_read_only_range:
    case namespace_write_protected: return Status::medium_error;
    case guard_check_error:
    case application_tag_check_error:
    case reference_tag_check_error:
    case invalid_protection_information: return Status::protection_error;
    case transient_transport_error:
    case internal_path_error:
    case ana_persistent_loss:
    case ana_inaccessible:
    case ana_transition:
    case controller_path_error:
    case host_path_error: return Status::transport_error;
    default: return Status::io_error;
  }
}

}  // namespace detail

/// The status of an I/O whose completion has this status field. A code without a Status of its own
/// becomes target_error where a retry is forbidden, and io_error where a retry may help: a
/// namespace that is not ready, an interrupted command, and every code without a name.
/// Source: the kernel's nvme_error_status. It differs: an invalid field or namespace is `invalid`
/// here, an aborted command `aborted`, each path error `transport_error`, and DNR counts.
[[nodiscard]] constexpr Status to_status(StatusField field) noexcept {
  const Status status = detail::status_of(field.code());
  return status == Status::io_error && field.do_not_retry() ? Status::target_error : status;
}

/// The status field with which a controller answers a command that ended with this status.
/// to_status returns `status` for it, except for statuses that NVMe has no code for.
[[nodiscard]] constexpr StatusField to_status_field(Status status, bool is_write) noexcept {
  using enum StatusCode;
  switch (status) {
    case Status::ok: return StatusField::of(success);
    case Status::not_supported: return StatusField::of(invalid_opcode, true);
    case Status::invalid: return StatusField::of(invalid_field, true);
    case Status::no_space: return StatusField::of(capacity_exceeded, true);
    case Status::transport_error: return StatusField::of(internal_path_error);
    case Status::target_error: return StatusField::of(internal_error, true);
    case Status::reservation_conflict: return StatusField::of(reservation_conflict, true);
    case Status::medium_error:
      return StatusField::of(is_write ? write_fault : unrecovered_read_error);
    case Status::protection_error: return StatusField::of(guard_check_error, true);
    case Status::aborted: return StatusField::of(abort_requested);
    // Not command_interrupted: only hosts that have set HostBehaviorSupport::advanced_retry may see
    // that code.
    case Status::resource:
    case Status::device_resource:
    case Status::again:
    case Status::offline: return StatusField::of(namespace_not_ready);
    case Status::timed_out:
    case Status::zone_open_resource:
    case Status::zone_active_resource:
    case Status::io_error: break;
  }
  return StatusField::of(internal_error);
}

}  // namespace nvme
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
