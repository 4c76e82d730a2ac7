// SPDX-License-Identifier: BSL-1.0
//
// Features: their identifiers, and the values that Set Features and Get Features carry in a dword.

#ifndef BLKOWN_NVME_FEATURES_HPP
#define BLKOWN_NVME_FEATURES_HPP

#include <array>
#include <blkown/config.hpp>
#include <blkown/nvme/registers.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace nvme {

/// The feature that a command names. A value outside the enumerators is a feature that this library
/// has no name for.
/// Source: NVMe Base 1.4, section 5.21.1.
enum class FeatureId : std::uint8_t {
  arbitration = 0x01,
  power_management = 0x02,
  lba_range_type = 0x03,
  temperature_threshold = 0x04,
  error_recovery = 0x05,
  volatile_write_cache = 0x06,
  number_of_queues = 0x07,
  interrupt_coalescing = 0x08,
  interrupt_vector_configuration = 0x09,
  write_atomicity_normal = 0x0A,
  asynchronous_event_configuration = 0x0B,
  autonomous_power_state_transition = 0x0C,
  host_memory_buffer = 0x0D,
  timestamp = 0x0E,
  keep_alive_timer = 0x0F,
  host_controlled_thermal_management = 0x10,
  non_operational_power_state_config = 0x11,
  read_recovery_level_config = 0x12,
  predictable_latency_mode_config = 0x13,
  predictable_latency_mode_window = 0x14,
  lba_status_information_report_interval = 0x15,
  host_behavior_support = 0x16,
  sanitize_config = 0x17,
  endurance_group_event_configuration = 0x18,
  software_progress_marker = 0x80,
  host_identifier = 0x81,
  reservation_notification_mask = 0x82,
  reservation_persistence = 0x83,
  namespace_write_protection_config = 0x84,
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(FeatureId feature) noexcept {
  switch (feature) {
    case FeatureId::arbitration: return "arbitration";
    case FeatureId::power_management: return "power_management";
    case FeatureId::lba_range_type: return "lba_range_type";
    case FeatureId::temperature_threshold: return "temperature_threshold";
    case FeatureId::error_recovery: return "error_recovery";
    case FeatureId::volatile_write_cache: return "volatile_write_cache";
    case FeatureId::number_of_queues: return "number_of_queues";
    case FeatureId::interrupt_coalescing: return "interrupt_coalescing";
    case FeatureId::interrupt_vector_configuration: return "interrupt_vector_configuration";
    case FeatureId::write_atomicity_normal: return "write_atomicity_normal";
    case FeatureId::asynchronous_event_configuration: return "asynchronous_event_configuration";
    case FeatureId::autonomous_power_state_transition: return "autonomous_power_state_transition";
    case FeatureId::host_memory_buffer: return "host_memory_buffer";
    case FeatureId::timestamp: return "timestamp";
    case FeatureId::keep_alive_timer: return "keep_alive_timer";
    case FeatureId::host_controlled_thermal_management: return "host_controlled_thermal_management";
    case FeatureId::non_operational_power_state_config: return "non_operational_power_state_config";
    case FeatureId::read_recovery_level_config: return "read_recovery_level_config";
    case FeatureId::predictable_latency_mode_config: return "predictable_latency_mode_config";
    case FeatureId::predictable_latency_mode_window: return "predictable_latency_mode_window";
    case FeatureId::lba_status_information_report_interval:
      return "lba_status_information_report_interval";
    case FeatureId::host_behavior_support: return "host_behavior_support";
    case FeatureId::sanitize_config: return "sanitize_config";
    case FeatureId::endurance_group_event_configuration:
      return "endurance_group_event_configuration";
    case FeatureId::software_progress_marker: return "software_progress_marker";
    case FeatureId::host_identifier: return "host_identifier";
    case FeatureId::reservation_notification_mask: return "reservation_notification_mask";
    case FeatureId::reservation_persistence: return "reservation_persistence";
    case FeatureId::namespace_write_protection_config: return "namespace_write_protection_config";
  }
  return "unknown feature";
}

/// SEL of Get Features: which value is returned.
/// Source: NVMe Base 1.4, section 5.13.
enum class FeatureSelect : std::uint8_t {
  current = 0,
  default_value = 1,
  saved = 2,
  supported_capabilities = 3,
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(FeatureSelect select) noexcept {
  switch (select) {
    case FeatureSelect::current: return "current";
    case FeatureSelect::default_value: return "default_value";
    case FeatureSelect::saved: return "saved";
    case FeatureSelect::supported_capabilities: return "supported_capabilities";
  }
  return "unknown feature select";
}

/// The bits that Get Features returns for supported_capabilities.
/// Source: NVMe Base 1.4, section 5.13.
namespace feature_capability {
inline constexpr std::uint32_t saveable = 1;
inline constexpr std::uint32_t namespace_specific = 2;
inline constexpr std::uint32_t changeable = 4;
}  // namespace feature_capability

/// Number of Queues: how many I/O queues the host asks for, and in the completion's dword 0 how
/// many the controller has allocated. Neither count contains the admin queue.
/// Source: NVMe Base 1.4, section 5.21.1.7.
struct NumberOfQueues {
  std::uint32_t value = 0;

  /// The value that asks for, or grants, these counts.
  /// Precondition: both are 1 to 65535.
  [[nodiscard]] static constexpr NumberOfQueues of(std::uint32_t submission_queues,
                                                   std::uint32_t completion_queues) noexcept {
    return {((submission_queues - 1) & 0xFFFF) | ((completion_queues - 1) << 16)};
  }
  /// NSQR or NSQA, plus one.
  [[nodiscard]] constexpr std::uint32_t submission_queues() const noexcept {
    return (value & 0xFFFF) + 1;
  }
  /// NCQR or NCQA, plus one.
  [[nodiscard]] constexpr std::uint32_t completion_queues() const noexcept {
    return (value >> 16) + 1;
  }

  friend constexpr bool operator==(NumberOfQueues, NumberOfQueues) = default;
};

/// Volatile Write Cache.
/// Source: NVMe Base 1.4, section 5.21.1.6.
struct VolatileWriteCache {
  std::uint32_t value = 0;

  /// The value that switches the cache on or off.
  [[nodiscard]] static constexpr VolatileWriteCache of(bool is_enabled) noexcept {
    return {is_enabled ? 1u : 0u};
  }
  /// WCE.
  [[nodiscard]] constexpr bool is_enabled() const noexcept { return (value & 1) != 0; }

  friend constexpr bool operator==(VolatileWriteCache, VolatileWriteCache) = default;
};

/// Interrupt Coalescing.
/// Source: NVMe Base 1.4, section 5.21.1.8.
struct InterruptCoalescing {
  std::uint32_t value = 0;

  /// The value for these limits. The time is rounded down to units of 100 us.
  /// Precondition: `entries` is 1 to 256, `time_us` at most 25500.
  [[nodiscard]] static constexpr InterruptCoalescing of(std::uint32_t entries,
                                                        std::uint32_t time_us) noexcept {
    return {((entries - 1) & 0xFF) | ((time_us / 100 & 0xFF) << 8)};
  }
  /// THR, plus one: an interrupt is sent at the latest after this many entries.
  [[nodiscard]] constexpr std::uint32_t entries() const noexcept { return (value & 0xFF) + 1; }
  /// TIME, in microseconds: an interrupt is delayed this long at most. 0: not at all.
  [[nodiscard]] constexpr std::uint32_t time_us() const noexcept {
    return ((value >> 8) & 0xFF) * 100;
  }

  friend constexpr bool operator==(InterruptCoalescing, InterruptCoalescing) = default;
};

/// Interrupt Vector Configuration.
/// Source: NVMe Base 1.4, section 5.21.1.9.
struct InterruptVectorConfiguration {
  std::uint32_t value = 0;

  /// The value for a vector.
  [[nodiscard]] static constexpr InterruptVectorConfiguration of(std::uint16_t vector,
                                                                 bool is_coalescing_off) noexcept {
    return {vector | (is_coalescing_off ? 0x10000u : 0u)};
  }
  /// IV.
  [[nodiscard]] constexpr std::uint16_t vector() const noexcept {
    return static_cast<std::uint16_t>(value);
  }
  /// CD: the vector's interrupts are not coalesced.
  [[nodiscard]] constexpr bool is_coalescing_off() const noexcept { return (value & 0x10000) != 0; }

  friend constexpr bool operator==(InterruptVectorConfiguration,
                                   InterruptVectorConfiguration) = default;
};

/// Arbitration.
/// Source: NVMe Base 1.4, section 5.21.1.1.
struct Arbitration {
  std::uint32_t value = 0;

  /// The exponent of `burst` that stands for no limit.
  static constexpr unsigned no_limit = 7;

  /// The value for these limits.
  /// Precondition: `burst_exponent` is 0 to 7, the weights are 1 to 256.
  [[nodiscard]] static constexpr Arbitration of(unsigned burst_exponent, unsigned low_weight = 1,
                                                unsigned medium_weight = 1,
                                                unsigned high_weight = 1) noexcept {
    return {(burst_exponent & 7) | (((low_weight - 1) & 0xFF) << 8) |
            (((medium_weight - 1) & 0xFF) << 16) | (((high_weight - 1) & 0xFF) << 24)};
  }
  /// AB: at most 2 to this power commands of a queue are taken at once. no_limit: any number.
  [[nodiscard]] constexpr unsigned burst_exponent() const noexcept { return value & 7; }
  /// LPW, plus one.
  [[nodiscard]] constexpr unsigned low_weight() const noexcept { return ((value >> 8) & 0xFF) + 1; }
  /// MPW, plus one.
  [[nodiscard]] constexpr unsigned medium_weight() const noexcept {
    return ((value >> 16) & 0xFF) + 1;
  }
  /// HPW, plus one.
  [[nodiscard]] constexpr unsigned high_weight() const noexcept { return (value >> 24) + 1; }

  friend constexpr bool operator==(Arbitration, Arbitration) = default;
};

/// Asynchronous Event Configuration: which events the controller reports.
/// Source: NVMe Base 1.4, section 5.21.1.11.
struct AsyncEventConfiguration {
  std::uint32_t value = 0;

  /// The SMART warnings, with the bits of SmartLog::critical_warning.
  [[nodiscard]] constexpr std::uint8_t smart_warnings() const noexcept {
    return static_cast<std::uint8_t>(value);
  }
  /// Namespace Attribute Notices.
  [[nodiscard]] constexpr bool namespace_attribute_notices() const noexcept {
    return (value & 0x100) != 0;
  }
  /// Firmware Activation Notices.
  [[nodiscard]] constexpr bool firmware_activation_notices() const noexcept {
    return (value & 0x200) != 0;
  }

  /// Sets which SMART warnings are events: bits of smart_warning.
  constexpr void set_smart_warnings(std::uint8_t warnings) noexcept {
    value = detail::with_bits(value, 0, 8, warnings);
  }
  /// Sets the bit of the Namespace Attribute Notices.
  constexpr void set_namespace_attribute_notices(bool on) noexcept {
    value = detail::with_bits(value, 8, 1, on);
  }
  /// Sets the bit of the Firmware Activation Notices.
  constexpr void set_firmware_activation_notices(bool on) noexcept {
    value = detail::with_bits(value, 9, 1, on);
  }

  friend constexpr bool operator==(AsyncEventConfiguration, AsyncEventConfiguration) = default;
};

/// THSEL: the direction of a temperature threshold.
/// Source: NVMe Base 1.4, section 5.21.1.4.
enum class ThresholdType : std::uint8_t {
  over = 0,
  under = 1,
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(ThresholdType type) noexcept {
  switch (type) {
    case ThresholdType::over: return "over";
    case ThresholdType::under: return "under";
  }
  return "unknown threshold type";
}

/// Temperature Threshold.
/// Source: NVMe Base 1.4, section 5.21.1.4.
struct TemperatureThreshold {
  std::uint32_t value = 0;

  static constexpr unsigned composite = 0;     ///< The sensor of the composite temperature.
  static constexpr unsigned all_sensors = 15;  ///< In Set Features only.

  /// The value for a sensor.
  /// Precondition: `sensor` is 0 to 8, or all_sensors.
  [[nodiscard]] static constexpr TemperatureThreshold of(std::uint16_t kelvins, ThresholdType type,
                                                         unsigned sensor = composite) noexcept {
    return {kelvins | ((sensor & 15) << 16) | (static_cast<std::uint32_t>(type) << 20)};
  }
  /// TMPTH.
  [[nodiscard]] constexpr std::uint16_t temperature_k() const noexcept {
    return static_cast<std::uint16_t>(value);
  }
  /// TMPSEL.
  [[nodiscard]] constexpr unsigned sensor() const noexcept { return (value >> 16) & 15; }
  /// THSEL.
  [[nodiscard]] constexpr ThresholdType type() const noexcept {
    return static_cast<ThresholdType>((value >> 20) & 3);
  }

  friend constexpr bool operator==(TemperatureThreshold, TemperatureThreshold) = default;
};

/// Power Management.
/// Source: NVMe Base 1.4, section 5.21.1.2.
struct PowerManagement {
  std::uint32_t value = 0;

  /// The value that chooses a power state, without a workload hint.
  /// Precondition: `power_state` is 0 to 31.
  [[nodiscard]] static constexpr PowerManagement of(unsigned power_state) noexcept {
    return {power_state & 31};
  }
  /// PS.
  [[nodiscard]] constexpr unsigned power_state() const noexcept { return value & 31; }
  /// WH.
  [[nodiscard]] constexpr unsigned workload_hint() const noexcept { return (value >> 5) & 7; }

  friend constexpr bool operator==(PowerManagement, PowerManagement) = default;
};

/// Error Recovery.
/// Source: NVMe Base 1.4, section 5.21.1.5.
struct ErrorRecovery {
  std::uint32_t value = 0;

  /// The value for these limits. The time is rounded down to units of 100 ms.
  /// Precondition: `retry_time_ms` is at most 6553500.
  [[nodiscard]] static constexpr ErrorRecovery of(std::uint32_t retry_time_ms,
                                                  bool reports_deallocated) noexcept {
    return {(retry_time_ms / 100 & 0xFFFF) | (reports_deallocated ? 0x10000u : 0u)};
  }
  /// TLER, in milliseconds: how long a command with limited retry is tried again. 0: no limit.
  [[nodiscard]] constexpr std::uint32_t retry_time_ms() const noexcept {
    return (value & 0xFFFF) * 100;
  }
  /// DULBE: a read of a deallocated or unwritten block is an error.
  [[nodiscard]] constexpr bool reports_deallocated() const noexcept {
    return (value & 0x10000) != 0;
  }

  friend constexpr bool operator==(ErrorRecovery, ErrorRecovery) = default;
};

/// The data of Host Behavior Support.
/// Source: NVMe Base 1.4, section 5.21.1.22.
struct HostBehaviorSupport {
  std::uint8_t advanced_retry = 0;  ///< ACRE: 1 if the host waits as StatusField's CRD says.
  std::array<std::uint8_t, 511> reserved1{};
  friend constexpr bool operator==(const HostBehaviorSupport&,
                                   const HostBehaviorSupport&) = default;
};
static_assert(sizeof(HostBehaviorSupport) == 512);

}  // namespace nvme
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
