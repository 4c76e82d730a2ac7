// SPDX-License-Identifier: BSL-1.0
//
// The data structures of the Identify command.

#ifndef BLKOWN_NVME_IDENTIFY_HPP
#define BLKOWN_NVME_IDENTIFY_HPP

#include <array>
#include <blkown/config.hpp>
#include <blkown/nvme/little_endian.hpp>
#include <blkown/nvme/log_page.hpp>
#include <blkown/nvme/status.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace nvme {

/// The bytes that an Identify command returns.
inline constexpr std::uint32_t identify_bytes = 4096;

/// CNS: what an Identify command returns.
/// Source: NVMe Base 1.4, section 5.15.1.
enum class Cns : std::uint8_t {
  identify_namespace = 0x00,
  identify_controller = 0x01,
  active_namespace_list = 0x02,
  namespace_descriptors = 0x03,
  nvm_set_list = 0x04,
  allocated_namespace_list = 0x10,
  allocated_namespace = 0x11,
  attached_controller_list = 0x12,
  controller_list = 0x13,
  primary_controller_capabilities = 0x14,
  secondary_controller_list = 0x15,
  namespace_granularity_list = 0x16,
  uuid_list = 0x17,
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(Cns cns) noexcept {
  switch (cns) {
    case Cns::identify_namespace: return "identify_namespace";
    case Cns::identify_controller: return "identify_controller";
    case Cns::active_namespace_list: return "active_namespace_list";
    case Cns::namespace_descriptors: return "namespace_descriptors";
    case Cns::nvm_set_list: return "nvm_set_list";
    case Cns::allocated_namespace_list: return "allocated_namespace_list";
    case Cns::allocated_namespace: return "allocated_namespace";
    case Cns::attached_controller_list: return "attached_controller_list";
    case Cns::controller_list: return "controller_list";
    case Cns::primary_controller_capabilities: return "primary_controller_capabilities";
    case Cns::secondary_controller_list: return "secondary_controller_list";
    case Cns::namespace_granularity_list: return "namespace_granularity_list";
    case Cns::uuid_list: return "uuid_list";
  }
  return "unknown CNS";
}

/// The bits of IdentifyController::oacs.
/// Source: NVMe Base 1.4, section 5.15.2.2.
namespace oacs {
inline constexpr std::uint16_t security = 0x001;
inline constexpr std::uint16_t format = 0x002;
inline constexpr std::uint16_t firmware = 0x004;  ///< Firmware Commit and Image Download.
inline constexpr std::uint16_t namespace_management = 0x008;
inline constexpr std::uint16_t self_test = 0x010;
inline constexpr std::uint16_t directives = 0x020;
inline constexpr std::uint16_t doorbell_buffer = 0x100;
}  // namespace oacs

/// The bits of IdentifyController::oncs.
/// Source: NVMe Base 1.4, section 5.15.2.2.
namespace oncs {
inline constexpr std::uint16_t compare = 0x01;
inline constexpr std::uint16_t write_uncorrectable = 0x02;
inline constexpr std::uint16_t dataset_management = 0x04;
inline constexpr std::uint16_t write_zeroes = 0x08;
inline constexpr std::uint16_t save_features = 0x10;
inline constexpr std::uint16_t reservations = 0x20;
inline constexpr std::uint16_t timestamp = 0x40;
inline constexpr std::uint16_t verify = 0x80;
}  // namespace oncs

/// The bits of IdentifyController::log_page_attributes.
/// Source: NVMe Base 1.4, section 5.15.2.2.
namespace lpa {
inline constexpr std::uint8_t smart_per_namespace = 0x01;
inline constexpr std::uint8_t commands_supported = 0x02;
inline constexpr std::uint8_t extended =
    0x04;  ///< Get Log Page with an offset and a 32-bit length.
inline constexpr std::uint8_t telemetry = 0x08;
inline constexpr std::uint8_t persistent_event = 0x10;
}  // namespace lpa

/// A power state of IdentifyController.
/// Source: NVMe Base 1.4, section 5.15.2.2.
struct PowerState {
  Le16 max_power;  ///< MP, in 0.01 W, or 0.0001 W with MXPS.
  std::uint8_t reserved2 = 0;
  std::uint8_t flags = 0;  ///< Bit 0: MXPS. Bit 1: NOPS, non-operational.
  Le32 entry_latency_us;   ///< ENLAT.
  Le32 exit_latency_us;    ///< EXLAT.
  std::uint8_t relative_read_throughput = 0;
  std::uint8_t relative_read_latency = 0;
  std::uint8_t relative_write_throughput = 0;
  std::uint8_t relative_write_latency = 0;
  Le16 idle_power;
  std::uint8_t idle_power_scale = 0;
  std::uint8_t reserved19 = 0;
  Le16 active_power;
  std::uint8_t active_power_workload_and_scale = 0;
  std::array<std::uint8_t, 9> reserved23{};
  friend constexpr bool operator==(const PowerState&, const PowerState&) = default;
};
static_assert(sizeof(PowerState) == 32);

namespace detail {

/// The text of an ASCII field without the spaces, or zeroes, that fill it up.
template <std::size_t n>
[[nodiscard]] constexpr std::span<const char> trimmed(const std::array<char, n>& field) noexcept {
  std::size_t length = n;
  while (length != 0 && (field[length - 1] == ' ' || field[length - 1] == '\0')) --length;
  return {field.data(), length};
}
/// Writes `text` to an ASCII field, and spaces behind it. Text that does not fit is cut off.
template <std::size_t n>
constexpr void fill(std::array<char, n>& field, std::span<const char> text) noexcept {
  for (std::size_t i = 0; i != n; ++i) field[i] = i < text.size() ? text[i] : ' ';
}

}  // namespace detail

/// The Identify Controller data structure, CNS 01h. The specification's names of the fields are in
/// the comments.
/// Source: NVMe Base 1.4, section 5.15.2.2.
struct IdentifyController {
  Le16 vendor_id;                           ///< VID: PCI vendor.
  Le16 subsystem_vendor_id;                 ///< SSVID.
  std::array<char, 20> serial_number{};     ///< SN, filled up with spaces.
  std::array<char, 40> model_number{};      ///< MN, filled up with spaces.
  std::array<char, 8> firmware_revision{};  ///< FR, filled up with spaces.
  std::uint8_t arbitration_burst = 0;       ///< RAB: recommended, a power of two.
  std::array<std::uint8_t, 3> ieee_oui{};   ///< IEEE.
  std::uint8_t multi_path = 0;              ///< CMIC.
  std::uint8_t mdts = 0;                    ///< MDTS. See max_transfer_bytes.
  Le16 controller_id;                       ///< CNTLID.
  Le32 version;                             ///< VER: the register VS.
  Le32 resume_latency_us;                   ///< RTD3R.
  Le32 entry_latency_us;                    ///< RTD3E: how long a normal shutdown takes.
  Le32 optional_async_events;               ///< OAES: the bits of AsyncEventConfiguration.
  Le32 attributes;                          ///< CTRATT.
  Le16 read_recovery_levels;                ///< RRLS.
  std::array<std::uint8_t, 9> reserved102{};
  std::uint8_t controller_type = 0;         ///< CNTRLTYPE: 1 is an I/O controller.
  std::array<std::uint8_t, 16> fru_guid{};  ///< FGUID.
  /// CRDT1 to CRDT3, in 100 ms: see StatusField::retry_delay_index.
  std::array<Le16, 3> command_retry_delays{};
  std::array<std::uint8_t, 106> reserved134{};
  std::array<std::uint8_t, 16> management_interface{};

  Le16 oacs;                                ///< OACS: bits of namespace oacs.
  std::uint8_t abort_limit = 0;             ///< ACL: one less than the Aborts at a time.
  std::uint8_t async_event_limit = 0;       ///< AERL: one less than the event requests at a time.
  std::uint8_t firmware_updates = 0;        ///< FRMW. See firmware_slots.
  std::uint8_t log_page_attributes = 0;     ///< LPA.
  std::uint8_t error_log_entries = 0;       ///< ELPE: one less than the entries.
  std::uint8_t power_states = 0;            ///< NPSS: one less than the power states.
  std::uint8_t vendor_admin_commands = 0;   ///< AVSCC.
  std::uint8_t power_state_transition = 0;  ///< APSTA.
  Le16 warning_temperature_k;               ///< WCTEMP.
  Le16 critical_temperature_k;              ///< CCTEMP.
  Le16 max_activation_time;                 ///< MTFA, in 100 ms: of a firmware.
  Le32 host_buffer_preferred;               ///< HMPRE, in 4 KiB.
  Le32 host_buffer_min;                     ///< HMMIN, in 4 KiB.
  Le128 total_capacity_bytes;               ///< TNVMCAP.
  Le128 unallocated_capacity_bytes;         ///< UNVMCAP.
  Le32 replay_protected_memory;             ///< RPMBS.
  Le16 extended_self_test_minutes;          ///< EDSTT.
  std::uint8_t self_test_options = 0;       ///< DSTO.
  std::uint8_t firmware_granularity = 0;    ///< FWUG. See firmware_granularity_bytes.
  Le16 keep_alive_granularity;              ///< KAS, in 100 ms. 0: no Keep Alive.
  Le16 thermal_management;                  ///< HCTMA.
  Le16 min_thermal_k;                       ///< MNTMT.
  Le16 max_thermal_k;                       ///< MXTMT.
  Le32 sanitize_capabilities;               ///< SANICAP.
  Le32 host_buffer_min_entry;               ///< HMMINDS, in 4 KiB.
  Le16 host_buffer_max_entries;             ///< HMMAXD.
  Le16 max_nvm_set;                         ///< NSETIDMAX.
  Le16 max_endurance_group;                 ///< ENDGIDMAX.
  std::uint8_t ana_transition_s = 0;        ///< ANATT.
  std::uint8_t ana_capabilities = 0;        ///< ANACAP.
  Le32 max_ana_group;                       ///< ANAGRPMAX.
  Le32 ana_groups;                          ///< NANAGRPID.
  Le32 persistent_event_log_size;           ///< PELS, in 64 KiB.
  std::array<std::uint8_t, 156> reserved356{};

  std::uint8_t submission_entry_sizes = 0;  ///< SQES: bits 3:0 the required, 7:4 the max exponent.
  std::uint8_t completion_entry_sizes = 0;  ///< CQES: bits 3:0 the required, 7:4 the max exponent.
  Le16 max_commands;                        ///< MAXCMD: at a time in a queue. 0: not said.
  Le32 namespace_count;                     ///< NN: the greatest namespace identifier.
  Le16 oncs;                                ///< ONCS: bits of namespace oncs.
  Le16 fused_operations;                    ///< FUSES.
  std::uint8_t format_attributes = 0;       ///< FNA.
  std::uint8_t volatile_write_cache = 0;    ///< VWC. See has_volatile_write_cache.
  Le16 atomic_write_unit;                   ///< AWUN: blocks, 0's based.
  Le16 atomic_write_unit_power_fail;        ///< AWUPF: blocks, 0's based.
  std::uint8_t vendor_io_commands = 0;      ///< NVSCC.
  std::uint8_t write_protection = 0;        ///< NWPC.
  Le16 atomic_compare_write_unit;           ///< ACWU: blocks, 0's based.
  std::array<std::uint8_t, 2> reserved534{};
  Le32 sgl_support;             ///< SGLS.
  Le32 max_allowed_namespaces;  ///< MNAN.
  std::array<std::uint8_t, 224> reserved544{};
  std::array<char, 256> subsystem_nqn{};  ///< SUBNQN, ends with a 0.
  std::array<std::uint8_t, 768> reserved1024{};
  std::array<std::uint8_t, 256> fabrics{};
  std::array<PowerState, 32> power_state_descriptors{};  ///< PSD0 to PSD31.
  std::array<std::uint8_t, 1024> vendor_specific{};

  /// SN, without the spaces at its end.
  [[nodiscard]] constexpr std::span<const char> serial() const noexcept {
    return detail::trimmed(serial_number);
  }
  /// MN, without the spaces at its end.
  [[nodiscard]] constexpr std::span<const char> model() const noexcept {
    return detail::trimmed(model_number);
  }
  /// FR, without the spaces at its end.
  [[nodiscard]] constexpr std::span<const char> firmware() const noexcept {
    return detail::trimmed(firmware_revision);
  }
  /// Writes SN. Text that does not fit is cut off.
  constexpr void set_serial(std::span<const char> text) noexcept {
    detail::fill(serial_number, text);
  }
  /// Writes MN. Text that does not fit is cut off.
  constexpr void set_model(std::span<const char> text) noexcept {
    detail::fill(model_number, text);
  }
  /// Writes FR. Text that does not fit is cut off.
  constexpr void set_firmware(std::span<const char> text) noexcept {
    detail::fill(firmware_revision, text);
  }

  /// MDTS, in bytes: the longest transfer of a command. UINT64_MAX: no limit.
  /// Precondition: `min_page_bytes` is Cap::min_page_bytes.
  [[nodiscard]] constexpr std::uint64_t max_transfer_bytes(
      std::uint32_t min_page_bytes) const noexcept {
    // A value of the device: beyond 64 bits there is no limit.
    if (mdts == 0 || mdts > 32) return UINT64_MAX;
    return std::uint64_t{min_page_bytes} << mdts;
  }
  /// How long the host waits before it issues a command again whose completion has this status.
  /// 0 unless the host has set HostBehaviorSupport::advanced_retry.
  [[nodiscard]] constexpr std::uint32_t retry_delay_ms(StatusField status) const noexcept {
    const unsigned index = status.retry_delay_index();
    return index == 0 ? 0 : command_retry_delays[index - 1] * std::uint32_t{100};
  }
  /// The commands that may be aborted at a time.
  [[nodiscard]] constexpr unsigned max_aborts() const noexcept { return abort_limit + 1u; }
  /// The Asynchronous Event Requests that may be outstanding.
  [[nodiscard]] constexpr unsigned max_async_events() const noexcept {
    return async_event_limit + 1u;
  }
  /// FRMW, bits 3 to 1: the number of firmware slots.
  [[nodiscard]] constexpr unsigned firmware_slots() const noexcept {
    return (firmware_updates >> 1) & 7u;
  }
  /// FRMW, bit 0: slot 1 is read only.
  [[nodiscard]] constexpr bool is_first_slot_read_only() const noexcept {
    return (firmware_updates & 1) != 0;
  }
  /// FRMW, bit 4: firmware can be activated without a reset.
  [[nodiscard]] constexpr bool activates_without_reset() const noexcept {
    return (firmware_updates & 0x10) != 0;
  }
  /// Writes FRMW.
  /// Precondition: `slots` is 1 to 7.
  constexpr void set_firmware_updates(unsigned slots, bool is_first_read_only,
                                      bool without_reset) noexcept {
    firmware_updates = static_cast<std::uint8_t>((is_first_read_only ? 1u : 0u) |
                                                 ((slots & 7) << 1) | (without_reset ? 0x10u : 0u));
  }
  /// SQES, bits 3 to 0: a submission entry has at least 2 to this power bytes.
  [[nodiscard]] constexpr unsigned min_submission_entry_exponent() const noexcept {
    return submission_entry_sizes & 15u;
  }
  /// SQES, bits 7 to 4: a submission entry has at most 2 to this power bytes.
  [[nodiscard]] constexpr unsigned max_submission_entry_exponent() const noexcept {
    return submission_entry_sizes >> 4u;
  }
  /// CQES, bits 3 to 0: a completion entry has at least 2 to this power bytes.
  [[nodiscard]] constexpr unsigned min_completion_entry_exponent() const noexcept {
    return completion_entry_sizes & 15u;
  }
  /// CQES, bits 7 to 4: a completion entry has at most 2 to this power bytes.
  [[nodiscard]] constexpr unsigned max_completion_entry_exponent() const noexcept {
    return completion_entry_sizes >> 4u;
  }
  /// Writes SQES.
  constexpr void set_submission_entry_exponents(unsigned min, unsigned max) noexcept {
    submission_entry_sizes = static_cast<std::uint8_t>((min & 15) | ((max & 15) << 4));
  }
  /// Writes CQES.
  constexpr void set_completion_entry_exponents(unsigned min, unsigned max) noexcept {
    completion_entry_sizes = static_cast<std::uint8_t>((min & 15) | ((max & 15) << 4));
  }
  /// FWUG, in bytes: what each part of a firmware image is aligned to. 4 if there is no
  /// restriction, 4096 if the controller does not say.
  [[nodiscard]] constexpr std::uint32_t firmware_granularity_bytes() const noexcept {
    if (firmware_granularity == 0xFF) return 4;
    return firmware_granularity == 0 ? 4096 : firmware_granularity * std::uint32_t{4096};
  }
  /// Whether the controller supports all commands of the bits of namespace oncs.
  [[nodiscard]] constexpr bool supports_io(std::uint16_t bits) const noexcept {
    return (oncs & bits) == bits;
  }
  /// Whether the controller supports all commands of the bits of namespace oacs.
  [[nodiscard]] constexpr bool supports_admin(std::uint16_t bits) const noexcept {
    return (oacs & bits) == bits;
  }
  /// VWC, bit 0.
  [[nodiscard]] constexpr bool has_volatile_write_cache() const noexcept {
    return (volatile_write_cache & 1) != 0;
  }
  /// VWC, bits 2 to 1: a Flush of all_namespaces is supported.
  [[nodiscard]] constexpr bool flushes_all_namespaces() const noexcept {
    return (volatile_write_cache & 6) == 6;
  }
  /// Writes VWC.
  constexpr void set_volatile_write_cache(bool is_present, bool flushes_all) noexcept {
    volatile_write_cache =
        static_cast<std::uint8_t>((is_present ? 1u : 0u) | (flushes_all ? 6u : 4u));
  }
};
static_assert(sizeof(IdentifyController) == identify_bytes &&
              std::is_trivially_copyable_v<IdentifyController> &&
              std::is_standard_layout_v<IdentifyController>);
static_assert(offsetof(IdentifyController, serial_number) == 4);
static_assert(offsetof(IdentifyController, model_number) == 24);
static_assert(offsetof(IdentifyController, firmware_revision) == 64);
static_assert(offsetof(IdentifyController, mdts) == 77);
static_assert(offsetof(IdentifyController, version) == 80);
static_assert(offsetof(IdentifyController, controller_type) == 111);
static_assert(offsetof(IdentifyController, command_retry_delays) == 128);
static_assert(offsetof(IdentifyController, oacs) == 256);
static_assert(offsetof(IdentifyController, total_capacity_bytes) == 280);
static_assert(offsetof(IdentifyController, firmware_granularity) == 319);
static_assert(offsetof(IdentifyController, sanitize_capabilities) == 328);
static_assert(offsetof(IdentifyController, persistent_event_log_size) == 352);
static_assert(offsetof(IdentifyController, submission_entry_sizes) == 512);
static_assert(offsetof(IdentifyController, namespace_count) == 516);
static_assert(offsetof(IdentifyController, volatile_write_cache) == 525);
static_assert(offsetof(IdentifyController, sgl_support) == 536);
static_assert(offsetof(IdentifyController, subsystem_nqn) == 768);
static_assert(offsetof(IdentifyController, power_state_descriptors) == 2048);
static_assert(offsetof(IdentifyController, vendor_specific) == 3072);

/// A format of a namespace's blocks.
/// Source: NVMe Base 1.4, section 5.15.2.1.
struct LbaFormat {
  Le16 metadata_bytes;             ///< MS: per block.
  std::uint8_t data_exponent = 0;  ///< LBADS: a block holds 2 to this power bytes. 0: unused.
  std::uint8_t performance = 0;    ///< RP, bits 1 to 0: 0 is best, 3 is degraded.

  /// The bytes of a block. 0 for an unused format, and for an exponent that is no block size.
  [[nodiscard]] constexpr std::uint64_t block_bytes() const noexcept {
    return data_exponent < 9 || data_exponent > 31 ? 0 : std::uint64_t{1} << data_exponent;
  }
  friend constexpr bool operator==(const LbaFormat&, const LbaFormat&) = default;
};
static_assert(sizeof(LbaFormat) == 4);

/// The bits of IdentifyNamespace::features.
/// Source: NVMe Base 1.4, section 5.15.2.1.
namespace nsfeat {
inline constexpr std::uint8_t thin_provisioning = 0x01;
inline constexpr std::uint8_t atomic_units = 0x02;         ///< NAWUN, NAWUPF and NACWU are defined.
inline constexpr std::uint8_t deallocated_error = 0x04;    ///< DAE.
inline constexpr std::uint8_t unique_ids_kept = 0x08;      ///< UIDREUSE.
inline constexpr std::uint8_t optimal_performance = 0x10;  ///< OPTPERF: NPWG to NOWS are defined.
}  // namespace nsfeat

/// What a read of deallocated blocks returns.
/// Source: NVMe Base 1.4, section 5.15.2.1, DLFEAT.
enum class DeallocatedRead : std::uint8_t {
  not_reported = 0,
  zeroes = 1,
  ones = 2,
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(DeallocatedRead read) noexcept {
  switch (read) {
    case DeallocatedRead::not_reported: return "not_reported";
    case DeallocatedRead::zeroes: return "zeroes";
    case DeallocatedRead::ones: return "ones";
  }
  return "unknown deallocated read";
}

/// The Identify Namespace data structure, CNS 00h. The specification's names of the fields are in
/// the comments. All zeroes: the namespace is inactive.
/// Source: NVMe Base 1.4, section 5.15.2.1.
struct IdentifyNamespace {
  Le64 size_blocks;                       ///< NSZE.
  Le64 capacity_blocks;                   ///< NCAP.
  Le64 used_blocks;                       ///< NUSE.
  std::uint8_t features = 0;              ///< NSFEAT: bits of namespace nsfeat.
  std::uint8_t last_format = 0;           ///< NLBAF: one less than the formats.
  std::uint8_t formatted_size = 0;        ///< FLBAS. See format_index.
  std::uint8_t metadata = 0;              ///< MC.
  std::uint8_t protection = 0;            ///< DPC.
  std::uint8_t protection_settings = 0;   ///< DPS.
  std::uint8_t multi_path = 0;            ///< NMIC.
  std::uint8_t reservations = 0;          ///< RESCAP.
  std::uint8_t format_progress = 0;       ///< FPI.
  std::uint8_t deallocate_features = 0;   ///< DLFEAT. See deallocated_read.
  Le16 atomic_write_unit;                 ///< NAWUN: blocks, 0's based.
  Le16 atomic_write_unit_power_fail;      ///< NAWUPF: blocks, 0's based.
  Le16 atomic_compare_write_unit;         ///< NACWU: blocks, 0's based.
  Le16 atomic_boundary;                   ///< NABSN: blocks, 0's based. 0: no boundary.
  Le16 atomic_boundary_offset;            ///< NABO: blocks.
  Le16 atomic_boundary_power_fail;        ///< NABSPF: blocks, 0's based. 0: no boundary.
  Le16 optimal_boundary;                  ///< NOIOB: blocks.
  Le128 capacity_bytes;                   ///< NVMCAP.
  Le16 preferred_write_granularity;       ///< NPWG: blocks, 0's based.
  Le16 preferred_write_alignment;         ///< NPWA: blocks, 0's based.
  Le16 preferred_deallocate_granularity;  ///< NPDG: blocks, 0's based.
  Le16 preferred_deallocate_alignment;    ///< NPDA: blocks, 0's based.
  Le16 optimal_write_size;                ///< NOWS: blocks, 0's based.
  std::array<std::uint8_t, 18> reserved74{};
  Le32 ana_group;  ///< ANAGRPID.
  std::array<std::uint8_t, 3> reserved96{};
  std::uint8_t attributes = 0;           ///< NSATTR. See is_write_protected.
  Le16 nvm_set;                          ///< NVMSETID.
  Le16 endurance_group;                  ///< ENDGID.
  std::array<std::uint8_t, 16> nguid{};  ///< NGUID, big endian.
  std::array<std::uint8_t, 8> eui64{};   ///< EUI64, big endian.
  std::array<LbaFormat, 16> formats{};   ///< LBAF0 to LBAF15.
  std::array<std::uint8_t, 192> reserved192{};
  std::array<std::uint8_t, 3712> vendor_specific{};

  /// FLBAS, bits 3 to 0: the index of the namespace's format.
  [[nodiscard]] constexpr unsigned format_index() const noexcept { return formatted_size & 15u; }
  /// The namespace's format.
  [[nodiscard]] constexpr const LbaFormat& format() const noexcept {
    return formats[format_index()];
  }
  /// FLBAS, bit 4: metadata follow each block's data.
  [[nodiscard]] constexpr bool is_metadata_extended() const noexcept {
    return (formatted_size & 0x10) != 0;
  }
  /// Whether the namespace is thin provisioned.
  [[nodiscard]] constexpr bool is_thin() const noexcept {
    return (features & nsfeat::thin_provisioning) != 0;
  }
  /// NSATTR, bit 0: the namespace is write protected.
  [[nodiscard]] constexpr bool is_write_protected() const noexcept { return (attributes & 1) != 0; }
  /// DLFEAT, bits 2 to 0.
  [[nodiscard]] constexpr DeallocatedRead deallocated_read() const noexcept {
    return static_cast<DeallocatedRead>(deallocate_features & 7);
  }
  /// DLFEAT, bit 3: Write Zeroes may deallocate.
  [[nodiscard]] constexpr bool write_zeroes_deallocates() const noexcept {
    return (deallocate_features & 8) != 0;
  }
  /// Writes DLFEAT.
  constexpr void set_deallocate_features(DeallocatedRead read, bool by_write_zeroes) noexcept {
    deallocate_features =
        static_cast<std::uint8_t>((static_cast<unsigned>(read) & 7) | (by_write_zeroes ? 8u : 0u));
  }
};
static_assert(sizeof(IdentifyNamespace) == identify_bytes &&
              std::is_trivially_copyable_v<IdentifyNamespace> &&
              std::is_standard_layout_v<IdentifyNamespace>);
static_assert(offsetof(IdentifyNamespace, features) == 24);
static_assert(offsetof(IdentifyNamespace, deallocate_features) == 33);
static_assert(offsetof(IdentifyNamespace, optimal_boundary) == 46);
static_assert(offsetof(IdentifyNamespace, capacity_bytes) == 48);
static_assert(offsetof(IdentifyNamespace, optimal_write_size) == 72);
static_assert(offsetof(IdentifyNamespace, ana_group) == 92);
static_assert(offsetof(IdentifyNamespace, nguid) == 104);
static_assert(offsetof(IdentifyNamespace, eui64) == 120);
static_assert(offsetof(IdentifyNamespace, formats) == 128);
static_assert(offsetof(IdentifyNamespace, vendor_specific) == 384);

/// The Active Namespace ID list, CNS 02h: the identifiers above the command's NSID, in ascending
/// order. A 0 ends the list. A full list may go on: ask again from the last identifier.
/// Source: NVMe Base 1.4, section 5.15.2.3.
struct ActiveNamespaceList {
  std::array<Le32, 1024> nsids{};

  /// The number of identifiers.
  [[nodiscard]] constexpr std::size_t count() const noexcept {
    std::size_t n = 0;
    while (n != nsids.size() && nsids[n] != 0) ++n;
    return n;
  }
};
static_assert(sizeof(ActiveNamespaceList) == identify_bytes &&
              std::is_trivially_copyable_v<ActiveNamespaceList>);

/// NIDT: the kind of an identifier of a namespace.
/// Source: NVMe Base 1.4, section 5.15.2.4.
enum class NamespaceIdType : std::uint8_t {
  end = 0,    ///< No descriptor: the list ends.
  eui64 = 1,  ///< 8 bytes, big endian.
  nguid = 2,  ///< 16 bytes, big endian.
  uuid = 3,   ///< 16 bytes, big endian.
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(NamespaceIdType type) noexcept {
  switch (type) {
    case NamespaceIdType::end: return "end";
    case NamespaceIdType::eui64: return "eui64";
    case NamespaceIdType::nguid: return "nguid";
    case NamespaceIdType::uuid: return "uuid";
  }
  return "unknown namespace identifier";
}

/// The head of a Namespace Identification Descriptor, CNS 03h. `length_bytes` bytes of the
/// identifier follow, and then the next descriptor.
/// Source: NVMe Base 1.4, section 5.15.2.4.
struct NamespaceIdDescriptor {
  NamespaceIdType type{};         ///< NIDT.
  std::uint8_t length_bytes = 0;  ///< NIDL.
  std::array<std::uint8_t, 2> reserved2{};
  friend constexpr bool operator==(const NamespaceIdDescriptor&,
                                   const NamespaceIdDescriptor&) = default;
};
static_assert(sizeof(NamespaceIdDescriptor) == 4);

}  // namespace nvme
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
