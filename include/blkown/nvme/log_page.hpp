// SPDX-License-Identifier: BSL-1.0
//
// Log pages and asynchronous events.

#ifndef BLKOWN_NVME_LOG_PAGE_HPP
#define BLKOWN_NVME_LOG_PAGE_HPP

#include <array>
#include <blkown/config.hpp>
#include <blkown/nvme/completion_entry.hpp>
#include <blkown/nvme/little_endian.hpp>
#include <blkown/nvme/status.hpp>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace nvme {

/// The log page that a Get Log Page command names. A value outside the enumerators is a page that
/// this library has no name for.
/// Source: NVMe Base 1.4, section 5.14.1.
enum class LogPageId : std::uint8_t {
  error_information = 0x01,
  smart = 0x02,
  firmware_slots = 0x03,
  changed_namespaces = 0x04,
  commands_supported = 0x05,
  device_self_test = 0x06,
  telemetry_host = 0x07,
  telemetry_controller = 0x08,
  endurance_group = 0x09,
  predictable_latency_per_set = 0x0A,
  predictable_latency_aggregate = 0x0B,
  asymmetric_namespace_access = 0x0C,
  persistent_event = 0x0D,
  lba_status = 0x0E,
  endurance_group_aggregate = 0x0F,
  reservation_notification = 0x80,
  sanitize_status = 0x81,
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(LogPageId page) noexcept {
  switch (page) {
    case LogPageId::error_information: return "error_information";
    case LogPageId::smart: return "smart";
    case LogPageId::firmware_slots: return "firmware_slots";
    case LogPageId::changed_namespaces: return "changed_namespaces";
    case LogPageId::commands_supported: return "commands_supported";
    case LogPageId::device_self_test: return "device_self_test";
    case LogPageId::telemetry_host: return "telemetry_host";
    case LogPageId::telemetry_controller: return "telemetry_controller";
    case LogPageId::endurance_group: return "endurance_group";
    case LogPageId::predictable_latency_per_set: return "predictable_latency_per_set";
    case LogPageId::predictable_latency_aggregate: return "predictable_latency_aggregate";
    case LogPageId::asymmetric_namespace_access: return "asymmetric_namespace_access";
    case LogPageId::persistent_event: return "persistent_event";
    case LogPageId::lba_status: return "lba_status";
    case LogPageId::endurance_group_aggregate: return "endurance_group_aggregate";
    case LogPageId::reservation_notification: return "reservation_notification";
    case LogPageId::sanitize_status: return "sanitize_status";
  }
  return "unknown log page";
}

/// A 128-bit counter.
struct Le128 {
  Le64 low;
  Le64 high;

  /// The counter, or UINT64_MAX if it is greater.
  [[nodiscard]] constexpr std::uint64_t saturated() const noexcept {
    return high == 0 ? low.get() : UINT64_MAX;
  }
  friend constexpr bool operator==(const Le128&, const Le128&) = default;
};

/// An entry of the Error Information log. The page is an array, newest entry first.
/// Source: NVMe Base 1.4, section 5.14.1.1.
struct ErrorLogEntry {
  Le64 error_count;                  ///< The number of this error. 0: the entry is empty.
  Le16 sq_id;                        ///< The queue of the command.
  Le16 command_id;                   ///< The command's identifier.
  Le16 status_and_phase;             ///< As in the completion.
  Le16 parameter_location;           ///< Where the command is wrong: location_of, or no_location.
  Le64 lba;                          ///< The first block with the error.
  Le32 nsid;                         ///< The namespace.
  std::uint8_t vendor_log_page = 0;  ///< The log page with more. 0: none.
  std::uint8_t transport_type = 0;   ///< TRTYPE. 0: no error of a transport.
  std::array<std::uint8_t, 2> reserved30{};
  Le64 command_specific;  ///< Depends on the command.
  Le16 transport_specific;
  std::array<std::uint8_t, 22> reserved42{};

  /// The parameter location of an error that no parameter of the command causes.
  static constexpr std::uint16_t no_location = 0xFFFF;
  /// The parameter location of a byte of the command, and of a bit in the byte.
  [[nodiscard]] static constexpr std::uint16_t location_of(unsigned byte, unsigned bit) noexcept {
    return static_cast<std::uint16_t>((byte & 0xFF) | ((bit & 7) << 8));
  }
  /// The status field of the completion.
  [[nodiscard]] constexpr StatusField status() const noexcept {
    return CompletionEntry::status_of(status_and_phase);
  }
  friend constexpr bool operator==(const ErrorLogEntry&, const ErrorLogEntry&) = default;
};
static_assert(sizeof(ErrorLogEntry) == 64 && std::is_trivially_copyable_v<ErrorLogEntry> &&
              std::is_standard_layout_v<ErrorLogEntry>);
static_assert(offsetof(ErrorLogEntry, parameter_location) == 14);
static_assert(offsetof(ErrorLogEntry, nsid) == 24);
static_assert(offsetof(ErrorLogEntry, command_specific) == 32);

/// The bits of SmartLog::critical_warning.
/// Source: NVMe Base 1.4, section 5.14.1.2.
namespace smart_warning {
inline constexpr std::uint8_t spare = 1;               ///< Too little spare capacity.
inline constexpr std::uint8_t temperature = 2;         ///< Beyond a temperature threshold.
inline constexpr std::uint8_t reliability = 4;         ///< Degraded by media or internal errors.
inline constexpr std::uint8_t read_only = 8;           ///< The media are read only.
inline constexpr std::uint8_t volatile_backup = 16;    ///< The backup of volatile memory failed.
inline constexpr std::uint8_t persistent_memory = 32;  ///< The persistent region is unreliable.
}  // namespace smart_warning

/// The SMART / Health Information log.
/// Source: NVMe Base 1.4, section 5.14.1.2.
struct SmartLog {
  std::uint8_t critical_warning = 0;                      ///< Bits of smart_warning.
  std::array<std::uint8_t, 2> composite_temperature_k{};  ///< Not aligned. See temperature_k.
  std::uint8_t available_spare_percent = 0;               ///< 0 to 100.
  std::uint8_t spare_threshold_percent = 0;               ///< 0 to 100.
  std::uint8_t percentage_used = 0;                       ///< 255: 255 or more.
  std::uint8_t endurance_group_warnings = 0;
  std::array<std::uint8_t, 25> reserved7{};
  Le128 data_units_read;     ///< In thousands of 512 bytes.
  Le128 data_units_written;  ///< In thousands of 512 bytes.
  Le128 host_reads;          ///< Commands.
  Le128 host_writes;         ///< Commands.
  Le128 busy_time_minutes;
  Le128 power_cycles;
  Le128 power_on_hours;
  Le128 unsafe_shutdowns;
  Le128 media_errors;
  Le128 error_log_entries;  ///< Over the controller's life.
  Le32 warning_temperature_minutes;
  Le32 critical_temperature_minutes;
  std::array<Le16, 8> temperature_sensors_k{};  ///< 0: no such sensor.
  Le32 thermal1_transitions;
  Le32 thermal2_transitions;
  Le32 thermal1_seconds;
  Le32 thermal2_seconds;
  std::array<std::uint8_t, 280> reserved232{};

  /// Composite Temperature, in kelvins.
  [[nodiscard]] constexpr std::uint16_t temperature_k() const noexcept {
    return static_cast<std::uint16_t>(composite_temperature_k[0] |
                                      (composite_temperature_k[1] << 8));
  }
  /// Writes Composite Temperature.
  constexpr void set_temperature_k(std::uint16_t kelvins) noexcept {
    composite_temperature_k = {static_cast<std::uint8_t>(kelvins),
                               static_cast<std::uint8_t>(kelvins >> 8)};
  }
  friend constexpr bool operator==(const SmartLog&, const SmartLog&) = default;
};
static_assert(sizeof(SmartLog) == 512 && std::is_trivially_copyable_v<SmartLog> &&
              std::is_standard_layout_v<SmartLog>);
static_assert(offsetof(SmartLog, data_units_read) == 32);
static_assert(offsetof(SmartLog, error_log_entries) == 176);
static_assert(offsetof(SmartLog, warning_temperature_minutes) == 192);
static_assert(offsetof(SmartLog, temperature_sensors_k) == 200);
static_assert(offsetof(SmartLog, thermal2_seconds) == 228);

/// The Firmware Slot Information log.
/// Source: NVMe Base 1.4, section 5.14.1.3.
struct FirmwareSlotLog {
  std::uint8_t active_firmware_info = 0;  ///< AFI. See active_slot and next_slot.
  std::array<std::uint8_t, 7> reserved1{};
  std::array<std::array<char, 8>, 7> revisions{};  ///< FRS1 to FRS7. All 0: the slot is empty.
  std::array<std::uint8_t, 448> reserved64{};

  /// The slot of the running firmware, from 1.
  [[nodiscard]] constexpr unsigned active_slot() const noexcept {
    return active_firmware_info & 7u;
  }
  /// The slot that the next reset activates. 0: not said.
  [[nodiscard]] constexpr unsigned next_slot() const noexcept {
    return (active_firmware_info >> 4) & 7u;
  }
  /// Writes AFI: the active slot, and the one that the next reset activates.
  constexpr void set_slots(unsigned active, unsigned next) noexcept {
    active_firmware_info = static_cast<std::uint8_t>((active & 7) | ((next & 7) << 4));
  }
  friend constexpr bool operator==(const FirmwareSlotLog&, const FirmwareSlotLog&) = default;
};
static_assert(sizeof(FirmwareSlotLog) == 512 && std::is_trivially_copyable_v<FirmwareSlotLog> &&
              std::is_standard_layout_v<FirmwareSlotLog>);
static_assert(offsetof(FirmwareSlotLog, revisions) == 8);

/// The Changed Namespace List log: namespaces in ascending order, then 0. FFFFFFFFh in the first
/// place: more than 1024 have changed.
/// Source: NVMe Base 1.4, section 5.14.1.4.
struct ChangedNamespaceList {
  std::array<Le32, 1024> nsids{};
};
static_assert(sizeof(ChangedNamespaceList) == 4096);

/// The type of an asynchronous event.
/// Source: NVMe Base 1.4, section 5.2.1.
enum class AsyncEventType : std::uint8_t {
  error = 0,
  smart = 1,
  notice = 2,
  io_command_set = 6,
  vendor_specific = 7,
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(AsyncEventType type) noexcept {
  switch (type) {
    case AsyncEventType::error: return "error";
    case AsyncEventType::smart: return "smart";
    case AsyncEventType::notice: return "notice";
    case AsyncEventType::io_command_set: return "io_command_set";
    case AsyncEventType::vendor_specific: return "vendor_specific";
  }
  return "unknown event type";
}

/// The values of AsyncEvent::information for an event of type error.
/// Source: NVMe Base 1.4, section 5.2.1.
namespace error_event {
inline constexpr std::uint8_t invalid_doorbell_register = 0;
inline constexpr std::uint8_t invalid_doorbell_value = 1;
inline constexpr std::uint8_t diagnostic_failure = 2;
inline constexpr std::uint8_t persistent_internal_error = 3;
inline constexpr std::uint8_t transient_internal_error = 4;
inline constexpr std::uint8_t firmware_image_load_error = 5;
}  // namespace error_event

/// The values of AsyncEvent::information for an event of type smart.
/// Source: NVMe Base 1.4, section 5.2.1.
namespace smart_event {
inline constexpr std::uint8_t reliability = 0;
inline constexpr std::uint8_t temperature_threshold = 1;
inline constexpr std::uint8_t spare_below_threshold = 2;
}  // namespace smart_event

/// The values of AsyncEvent::information for an event of type notice.
/// Source: NVMe Base 1.4, section 5.2.1.
namespace notice_event {
inline constexpr std::uint8_t namespace_attribute_changed = 0;
inline constexpr std::uint8_t firmware_activation_starting = 1;
inline constexpr std::uint8_t telemetry_log_changed = 2;
inline constexpr std::uint8_t asymmetric_access_changed = 3;
}  // namespace notice_event

/// Dword 0 of the completion of an Asynchronous Event Request. The event is cleared, and may be
/// reported again, when the log page is read without RAE.
/// Source: NVMe Base 1.4, section 5.2.1.
struct AsyncEvent {
  std::uint32_t dw0 = 0;

  /// The dword that reports an event.
  [[nodiscard]] static constexpr AsyncEvent of(AsyncEventType type, std::uint8_t information,
                                               LogPageId page) noexcept {
    return {static_cast<std::uint32_t>(type) | (std::uint32_t{information} << 8) |
            (static_cast<std::uint32_t>(page) << 16)};
  }
  /// The type of the event.
  [[nodiscard]] constexpr AsyncEventType type() const noexcept {
    return static_cast<AsyncEventType>(dw0 & 7);
  }
  /// What happened: a value of error_event, smart_event or notice_event, as the type says.
  [[nodiscard]] constexpr std::uint8_t information() const noexcept {
    return static_cast<std::uint8_t>(dw0 >> 8);
  }
  /// The log page that belongs to the event.
  [[nodiscard]] constexpr LogPageId log_page() const noexcept {
    return static_cast<LogPageId>((dw0 >> 16) & 0xFF);
  }
  friend constexpr bool operator==(AsyncEvent, AsyncEvent) = default;
};

}  // namespace nvme
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
