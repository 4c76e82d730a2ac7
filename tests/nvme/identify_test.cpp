// SPDX-License-Identifier: BSL-1.0
//
// Goal: each field of the structures of Identify stands at the specification's bytes, and what the
// structures say about them is right for every value that a device can return.

#include <gtest/gtest.h>

#include <array>
#include <blkown/nvme/identify.hpp>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "nvme/wire.hpp"

namespace {

namespace nvme = blkown::nvme;
using nvme::IdentifyController;
using nvme::IdentifyNamespace;

std::string text(std::span<const char> field) { return {field.data(), field.size()}; }

constexpr wire::Field<IdentifyController> controller_fields[] = {
    {"VID", 0, 2, [](const IdentifyController& c) { return std::uint64_t{c.vendor_id}; }},
    {"SSVID", 2, 2,
     [](const IdentifyController& c) { return std::uint64_t{c.subsystem_vendor_id}; }},
    {"RAB", 72, 1, [](const IdentifyController& c) { return std::uint64_t{c.arbitration_burst}; }},
    {"CMIC", 76, 1, [](const IdentifyController& c) { return std::uint64_t{c.multi_path}; }},
    {"MDTS", 77, 1, [](const IdentifyController& c) { return std::uint64_t{c.mdts}; }},
    {"CNTLID", 78, 2, [](const IdentifyController& c) { return std::uint64_t{c.controller_id}; }},
    {"VER", 80, 4, [](const IdentifyController& c) { return std::uint64_t{c.version}; }},
    {"RTD3R", 84, 4,
     [](const IdentifyController& c) { return std::uint64_t{c.resume_latency_us}; }},
    {"RTD3E", 88, 4, [](const IdentifyController& c) { return std::uint64_t{c.entry_latency_us}; }},
    {"OAES", 92, 4,
     [](const IdentifyController& c) { return std::uint64_t{c.optional_async_events}; }},
    {"CTRATT", 96, 4, [](const IdentifyController& c) { return std::uint64_t{c.attributes}; }},
    {"RRLS", 100, 2,
     [](const IdentifyController& c) { return std::uint64_t{c.read_recovery_levels}; }},
    {"CNTRLTYPE", 111, 1,
     [](const IdentifyController& c) { return std::uint64_t{c.controller_type}; }},
    {"CRDT1", 128, 2,
     [](const IdentifyController& c) { return std::uint64_t{c.command_retry_delays[0]}; }},
    {"CRDT2", 130, 2,
     [](const IdentifyController& c) { return std::uint64_t{c.command_retry_delays[1]}; }},
    {"CRDT3", 132, 2,
     [](const IdentifyController& c) { return std::uint64_t{c.command_retry_delays[2]}; }},
    {"OACS", 256, 2, [](const IdentifyController& c) { return std::uint64_t{c.oacs}; }},
    {"ACL", 258, 1, [](const IdentifyController& c) { return std::uint64_t{c.abort_limit}; }},
    {"AERL", 259, 1,
     [](const IdentifyController& c) { return std::uint64_t{c.async_event_limit}; }},
    {"FRMW", 260, 1, [](const IdentifyController& c) { return std::uint64_t{c.firmware_updates}; }},
    {"LPA", 261, 1,
     [](const IdentifyController& c) { return std::uint64_t{c.log_page_attributes}; }},
    {"ELPE", 262, 1,
     [](const IdentifyController& c) { return std::uint64_t{c.error_log_entries}; }},
    {"NPSS", 263, 1, [](const IdentifyController& c) { return std::uint64_t{c.power_states}; }},
    {"AVSCC", 264, 1,
     [](const IdentifyController& c) { return std::uint64_t{c.vendor_admin_commands}; }},
    {"APSTA", 265, 1,
     [](const IdentifyController& c) { return std::uint64_t{c.power_state_transition}; }},
    {"WCTEMP", 266, 2,
     [](const IdentifyController& c) { return std::uint64_t{c.warning_temperature_k}; }},
    {"CCTEMP", 268, 2,
     [](const IdentifyController& c) { return std::uint64_t{c.critical_temperature_k}; }},
    {"MTFA", 270, 2,
     [](const IdentifyController& c) { return std::uint64_t{c.max_activation_time}; }},
    {"HMPRE", 272, 4,
     [](const IdentifyController& c) { return std::uint64_t{c.host_buffer_preferred}; }},
    {"HMMIN", 276, 4, [](const IdentifyController& c) { return std::uint64_t{c.host_buffer_min}; }},
    {"TNVMCAP", 280, 8,
     [](const IdentifyController& c) { return std::uint64_t{c.total_capacity_bytes.low}; }},
    {"TNVMCAP+8", 288, 8,
     [](const IdentifyController& c) { return std::uint64_t{c.total_capacity_bytes.high}; }},
    {"UNVMCAP", 296, 8,
     [](const IdentifyController& c) { return std::uint64_t{c.unallocated_capacity_bytes.low}; }},
    {"UNVMCAP+8", 304, 8,
     [](const IdentifyController& c) { return std::uint64_t{c.unallocated_capacity_bytes.high}; }},
    {"RPMBS", 312, 4,
     [](const IdentifyController& c) { return std::uint64_t{c.replay_protected_memory}; }},
    {"EDSTT", 316, 2,
     [](const IdentifyController& c) { return std::uint64_t{c.extended_self_test_minutes}; }},
    {"DSTO", 318, 1,
     [](const IdentifyController& c) { return std::uint64_t{c.self_test_options}; }},
    {"FWUG", 319, 1,
     [](const IdentifyController& c) { return std::uint64_t{c.firmware_granularity}; }},
    {"KAS", 320, 2,
     [](const IdentifyController& c) { return std::uint64_t{c.keep_alive_granularity}; }},
    {"HCTMA", 322, 2,
     [](const IdentifyController& c) { return std::uint64_t{c.thermal_management}; }},
    {"MNTMT", 324, 2, [](const IdentifyController& c) { return std::uint64_t{c.min_thermal_k}; }},
    {"MXTMT", 326, 2, [](const IdentifyController& c) { return std::uint64_t{c.max_thermal_k}; }},
    {"SANICAP", 328, 4,
     [](const IdentifyController& c) { return std::uint64_t{c.sanitize_capabilities}; }},
    {"HMMINDS", 332, 4,
     [](const IdentifyController& c) { return std::uint64_t{c.host_buffer_min_entry}; }},
    {"HMMAXD", 336, 2,
     [](const IdentifyController& c) { return std::uint64_t{c.host_buffer_max_entries}; }},
    {"NSETIDMAX", 338, 2, [](const IdentifyController& c) { return std::uint64_t{c.max_nvm_set}; }},
    {"ENDGIDMAX", 340, 2,
     [](const IdentifyController& c) { return std::uint64_t{c.max_endurance_group}; }},
    {"ANATT", 342, 1,
     [](const IdentifyController& c) { return std::uint64_t{c.ana_transition_s}; }},
    {"ANACAP", 343, 1,
     [](const IdentifyController& c) { return std::uint64_t{c.ana_capabilities}; }},
    {"ANAGRPMAX", 344, 4,
     [](const IdentifyController& c) { return std::uint64_t{c.max_ana_group}; }},
    {"NANAGRPID", 348, 4, [](const IdentifyController& c) { return std::uint64_t{c.ana_groups}; }},
    {"PELS", 352, 4,
     [](const IdentifyController& c) { return std::uint64_t{c.persistent_event_log_size}; }},
    {"SQES", 512, 1,
     [](const IdentifyController& c) { return std::uint64_t{c.submission_entry_sizes}; }},
    {"CQES", 513, 1,
     [](const IdentifyController& c) { return std::uint64_t{c.completion_entry_sizes}; }},
    {"MAXCMD", 514, 2, [](const IdentifyController& c) { return std::uint64_t{c.max_commands}; }},
    {"NN", 516, 4, [](const IdentifyController& c) { return std::uint64_t{c.namespace_count}; }},
    {"ONCS", 520, 2, [](const IdentifyController& c) { return std::uint64_t{c.oncs}; }},
    {"FUSES", 522, 2,
     [](const IdentifyController& c) { return std::uint64_t{c.fused_operations}; }},
    {"FNA", 524, 1, [](const IdentifyController& c) { return std::uint64_t{c.format_attributes}; }},
    {"VWC", 525, 1,
     [](const IdentifyController& c) { return std::uint64_t{c.volatile_write_cache}; }},
    {"AWUN", 526, 2,
     [](const IdentifyController& c) { return std::uint64_t{c.atomic_write_unit}; }},
    {"AWUPF", 528, 2,
     [](const IdentifyController& c) { return std::uint64_t{c.atomic_write_unit_power_fail}; }},
    {"NVSCC", 530, 1,
     [](const IdentifyController& c) { return std::uint64_t{c.vendor_io_commands}; }},
    {"NWPC", 531, 1, [](const IdentifyController& c) { return std::uint64_t{c.write_protection}; }},
    {"ACWU", 532, 2,
     [](const IdentifyController& c) { return std::uint64_t{c.atomic_compare_write_unit}; }},
    {"SGLS", 536, 4, [](const IdentifyController& c) { return std::uint64_t{c.sgl_support}; }},
    {"MNAN", 540, 4,
     [](const IdentifyController& c) { return std::uint64_t{c.max_allowed_namespaces}; }},
};

TEST(IdentifyController, HasEachFieldAtItsBytes) { wire::expect_fields(controller_fields); }

TEST(IdentifyController, HasEachArrayAtItsBytes) {
  IdentifyController data;
  data.serial_number[0] = 'S';
  data.serial_number[19] = 's';
  data.model_number[0] = 'M';
  data.model_number[39] = 'm';
  data.firmware_revision[0] = 'F';
  data.firmware_revision[7] = 'f';
  data.ieee_oui = {1, 2, 3};
  data.fru_guid[0] = 4;
  data.subsystem_nqn[0] = 'n';
  data.subsystem_nqn[255] = 'N';
  data.power_state_descriptors[0].max_power = 0x0506;
  data.power_state_descriptors[31].max_power = 0x0708;
  data.vendor_specific[0] = 9;
  data.vendor_specific[1023] = 10;
  const auto bytes = wire::bytes_of(data);
  EXPECT_EQ(bytes[4], 'S');
  EXPECT_EQ(bytes[23], 's');
  EXPECT_EQ(bytes[24], 'M');
  EXPECT_EQ(bytes[63], 'm');
  EXPECT_EQ(bytes[64], 'F');
  EXPECT_EQ(bytes[71], 'f');
  EXPECT_EQ(wire::integer_at(data, 73, 3), 0x030201U);
  EXPECT_EQ(bytes[112], 4);
  EXPECT_EQ(bytes[768], 'n');
  EXPECT_EQ(bytes[1023], 'N');
  EXPECT_EQ(wire::integer_at(data, 2048, 2), 0x0506U);
  EXPECT_EQ(wire::integer_at(data, 2048 + 31 * 32, 2), 0x0708U);
  EXPECT_EQ(bytes[3072], 9);
  EXPECT_EQ(bytes[4095], 10);
}

TEST(IdentifyController, ItsTextsEndBeforeTheSpaces) {
  IdentifyController data;
  EXPECT_EQ(text(data.serial()), "");
  data.set_serial(std::string_view{"S 1"});
  data.set_model(std::string_view{"a model with a name that is 40 bytes long, or more"});
  data.set_firmware(std::string_view{"1.0"});
  EXPECT_EQ(text(data.serial()), "S 1");
  EXPECT_EQ(text(data.model()), "a model with a name that is 40 bytes lon");
  EXPECT_EQ(text(data.firmware()), "1.0");
  EXPECT_EQ(text(data.serial_number), "S 1                 ") << "filled up with spaces";
  data.firmware_revision = {'2', '\0', '\0', '\0', ' ', '\0', '\0', '\0'};
  EXPECT_EQ(text(data.firmware()), "2") << "some devices fill up with zeroes";
}

TEST(IdentifyController, TheLongestTransferIsAPowerOfTheLeastPage) {
  IdentifyController data;
  EXPECT_EQ(data.max_transfer_bytes(4096), UINT64_MAX) << "0 is no limit";
  data.mdts = 5;
  EXPECT_EQ(data.max_transfer_bytes(4096), 131072U);
  EXPECT_EQ(data.max_transfer_bytes(8192), 262144U);
  data.mdts = 32;
  EXPECT_EQ(data.max_transfer_bytes(4096U << 15), 1ULL << 59);
  data.mdts = 255;
  EXPECT_EQ(data.max_transfer_bytes(4096), UINT64_MAX) << "no shift beyond the integer's width";
}

TEST(IdentifyController, HasADelayForEachKindOfRetry) {
  using nvme::StatusCode;
  using nvme::StatusField;
  IdentifyController data;
  data.command_retry_delays = {1, 20, 0xFFFF};
  const auto delay_ms = [&](unsigned index) {
    return data.retry_delay_ms(
        StatusField::of(StatusCode::command_interrupted, false, false, index));
  };
  EXPECT_EQ(delay_ms(0), 0U);
  EXPECT_EQ(delay_ms(1), 100U);
  EXPECT_EQ(delay_ms(2), 2000U);
  EXPECT_EQ(delay_ms(3), 6'553'500U);
}

TEST(IdentifyController, ItsCountsAreNotZeroBased) {
  IdentifyController data;
  EXPECT_EQ(data.max_aborts(), 1U);
  EXPECT_EQ(data.max_async_events(), 1U);
  data.abort_limit = 255;
  data.async_event_limit = 3;
  EXPECT_EQ(data.max_aborts(), 256U);
  EXPECT_EQ(data.max_async_events(), 4U);
}

TEST(IdentifyController, SaysWhatFirmwareUpdatesItTakes) {
  IdentifyController data;
  data.firmware_updates = 0x17;  // slot 1 read only, 3 slots, activates without a reset
  EXPECT_TRUE(data.is_first_slot_read_only());
  EXPECT_EQ(data.firmware_slots(), 3U);
  EXPECT_TRUE(data.activates_without_reset());
  data.firmware_updates = 0x0E;
  EXPECT_FALSE(data.is_first_slot_read_only());
  EXPECT_EQ(data.firmware_slots(), 7U);
  EXPECT_FALSE(data.activates_without_reset());
  EXPECT_EQ(data.firmware_granularity_bytes(), 4096U);
  data.firmware_granularity = 8;
  EXPECT_EQ(data.firmware_granularity_bytes(), 32768U);
  data.firmware_granularity = 255;
  EXPECT_EQ(data.firmware_granularity_bytes(), 4U);
}

TEST(IdentifyController, TakesWhatFirmwareUpdatesItTakes) {
  IdentifyController data;
  data.set_firmware_updates(3, true, true);
  EXPECT_EQ(data.firmware_updates, 0x17U);
  data.set_firmware_updates(7, false, false);
  EXPECT_EQ(data.firmware_updates, 0x0EU);
}

TEST(IdentifyController, HasTheSizesOfEntries) {
  IdentifyController data;
  data.submission_entry_sizes = 0x76;
  data.completion_entry_sizes = 0x54;
  EXPECT_EQ(data.min_submission_entry_exponent(), 6U);
  EXPECT_EQ(data.max_submission_entry_exponent(), 7U);
  EXPECT_EQ(data.min_completion_entry_exponent(), 4U);
  EXPECT_EQ(data.max_completion_entry_exponent(), 5U);
  IdentifyController made;
  made.set_submission_entry_exponents(6, 7);
  made.set_completion_entry_exponents(4, 5);
  EXPECT_EQ(made.submission_entry_sizes, 0x76U);
  EXPECT_EQ(made.completion_entry_sizes, 0x54U);
}

TEST(IdentifyController, SaysWhetherItsCacheIsFlushedForAllNamespaces) {
  IdentifyController data;
  EXPECT_FALSE(data.flushes_all_namespaces());
  data.volatile_write_cache = 0x05;
  EXPECT_FALSE(data.flushes_all_namespaces());
  data.volatile_write_cache = 0x06;
  EXPECT_TRUE(data.flushes_all_namespaces());
  data.set_volatile_write_cache(true, true);
  EXPECT_EQ(data.volatile_write_cache, 0x07U);
  data.set_volatile_write_cache(true, false);
  EXPECT_EQ(data.volatile_write_cache, 0x05U);
  data.set_volatile_write_cache(false, true);
  EXPECT_EQ(data.volatile_write_cache, 0x06U);
}

TEST(IdentifyController, SaysWhatItSupports) {
  IdentifyController data;
  data.oncs = 0x0C;
  EXPECT_TRUE(data.supports_io(nvme::oncs::dataset_management));
  EXPECT_TRUE(data.supports_io(nvme::oncs::write_zeroes | nvme::oncs::dataset_management));
  EXPECT_FALSE(data.supports_io(nvme::oncs::write_zeroes | nvme::oncs::compare));
  data.oacs = 0x0106;
  EXPECT_TRUE(data.supports_admin(nvme::oacs::firmware | nvme::oacs::format));
  EXPECT_TRUE(data.supports_admin(nvme::oacs::doorbell_buffer));
  EXPECT_FALSE(data.supports_admin(nvme::oacs::security));
  EXPECT_FALSE(data.has_volatile_write_cache());
  data.volatile_write_cache = 0x07;
  EXPECT_TRUE(data.has_volatile_write_cache());
  data.volatile_write_cache = 0x06;
  EXPECT_FALSE(data.has_volatile_write_cache());
}

TEST(IdentifyController, TheBitsOfItsSupportAreTheSpecifications) {
  EXPECT_EQ(nvme::oncs::compare, 1U << 0);
  EXPECT_EQ(nvme::oncs::write_uncorrectable, 1U << 1);
  EXPECT_EQ(nvme::oncs::dataset_management, 1U << 2);
  EXPECT_EQ(nvme::oncs::write_zeroes, 1U << 3);
  EXPECT_EQ(nvme::oncs::save_features, 1U << 4);
  EXPECT_EQ(nvme::oncs::reservations, 1U << 5);
  EXPECT_EQ(nvme::oncs::timestamp, 1U << 6);
  EXPECT_EQ(nvme::oncs::verify, 1U << 7);
  EXPECT_EQ(nvme::oacs::security, 1U << 0);
  EXPECT_EQ(nvme::oacs::format, 1U << 1);
  EXPECT_EQ(nvme::oacs::firmware, 1U << 2);
  EXPECT_EQ(nvme::oacs::namespace_management, 1U << 3);
  EXPECT_EQ(nvme::oacs::self_test, 1U << 4);
  EXPECT_EQ(nvme::oacs::directives, 1U << 5);
  EXPECT_EQ(nvme::oacs::doorbell_buffer, 1U << 8);
  EXPECT_EQ(nvme::lpa::smart_per_namespace, 1U << 0);
  EXPECT_EQ(nvme::lpa::commands_supported, 1U << 1);
  EXPECT_EQ(nvme::lpa::extended, 1U << 2);
  EXPECT_EQ(nvme::lpa::telemetry, 1U << 3);
  EXPECT_EQ(nvme::lpa::persistent_event, 1U << 4);
}

TEST(PowerState, HasEachFieldAtItsBytes) {
  using E = nvme::PowerState;
  wire::expect_fields<E>({
      {"MP", 0, 2, [](const E& e) { return std::uint64_t{e.max_power}; }},
      {"flags", 3, 1, [](const E& e) { return std::uint64_t{e.flags}; }},
      {"ENLAT", 4, 4, [](const E& e) { return std::uint64_t{e.entry_latency_us}; }},
      {"EXLAT", 8, 4, [](const E& e) { return std::uint64_t{e.exit_latency_us}; }},
      {"RRT", 12, 1, [](const E& e) { return std::uint64_t{e.relative_read_throughput}; }},
      {"RRL", 13, 1, [](const E& e) { return std::uint64_t{e.relative_read_latency}; }},
      {"RWT", 14, 1, [](const E& e) { return std::uint64_t{e.relative_write_throughput}; }},
      {"RWL", 15, 1, [](const E& e) { return std::uint64_t{e.relative_write_latency}; }},
      {"IDLP", 16, 2, [](const E& e) { return std::uint64_t{e.idle_power}; }},
      {"IPS", 18, 1, [](const E& e) { return std::uint64_t{e.idle_power_scale}; }},
      {"ACTP", 20, 2, [](const E& e) { return std::uint64_t{e.active_power}; }},
      {"APW", 22, 1, [](const E& e) { return std::uint64_t{e.active_power_workload_and_scale}; }},
  });
}

TEST(IdentifyNamespace, HasEachFieldAtItsBytes) {
  using E = IdentifyNamespace;
  wire::expect_fields<E>({
      {"NSZE", 0, 8, [](const E& e) { return std::uint64_t{e.size_blocks}; }},
      {"NCAP", 8, 8, [](const E& e) { return std::uint64_t{e.capacity_blocks}; }},
      {"NUSE", 16, 8, [](const E& e) { return std::uint64_t{e.used_blocks}; }},
      {"NSFEAT", 24, 1, [](const E& e) { return std::uint64_t{e.features}; }},
      {"NLBAF", 25, 1, [](const E& e) { return std::uint64_t{e.last_format}; }},
      {"FLBAS", 26, 1, [](const E& e) { return std::uint64_t{e.formatted_size}; }},
      {"MC", 27, 1, [](const E& e) { return std::uint64_t{e.metadata}; }},
      {"DPC", 28, 1, [](const E& e) { return std::uint64_t{e.protection}; }},
      {"DPS", 29, 1, [](const E& e) { return std::uint64_t{e.protection_settings}; }},
      {"NMIC", 30, 1, [](const E& e) { return std::uint64_t{e.multi_path}; }},
      {"RESCAP", 31, 1, [](const E& e) { return std::uint64_t{e.reservations}; }},
      {"FPI", 32, 1, [](const E& e) { return std::uint64_t{e.format_progress}; }},
      {"DLFEAT", 33, 1, [](const E& e) { return std::uint64_t{e.deallocate_features}; }},
      {"NAWUN", 34, 2, [](const E& e) { return std::uint64_t{e.atomic_write_unit}; }},
      {"NAWUPF", 36, 2, [](const E& e) { return std::uint64_t{e.atomic_write_unit_power_fail}; }},
      {"NACWU", 38, 2, [](const E& e) { return std::uint64_t{e.atomic_compare_write_unit}; }},
      {"NABSN", 40, 2, [](const E& e) { return std::uint64_t{e.atomic_boundary}; }},
      {"NABO", 42, 2, [](const E& e) { return std::uint64_t{e.atomic_boundary_offset}; }},
      {"NABSPF", 44, 2, [](const E& e) { return std::uint64_t{e.atomic_boundary_power_fail}; }},
      {"NOIOB", 46, 2, [](const E& e) { return std::uint64_t{e.optimal_boundary}; }},
      {"NVMCAP", 48, 8, [](const E& e) { return std::uint64_t{e.capacity_bytes.low}; }},
      {"NVMCAP+8", 56, 8, [](const E& e) { return std::uint64_t{e.capacity_bytes.high}; }},
      {"NPWG", 64, 2, [](const E& e) { return std::uint64_t{e.preferred_write_granularity}; }},
      {"NPWA", 66, 2, [](const E& e) { return std::uint64_t{e.preferred_write_alignment}; }},
      {"NPDG", 68, 2, [](const E& e) { return std::uint64_t{e.preferred_deallocate_granularity}; }},
      {"NPDA", 70, 2, [](const E& e) { return std::uint64_t{e.preferred_deallocate_alignment}; }},
      {"NOWS", 72, 2, [](const E& e) { return std::uint64_t{e.optimal_write_size}; }},
      {"ANAGRPID", 92, 4, [](const E& e) { return std::uint64_t{e.ana_group}; }},
      {"NSATTR", 99, 1, [](const E& e) { return std::uint64_t{e.attributes}; }},
      {"NVMSETID", 100, 2, [](const E& e) { return std::uint64_t{e.nvm_set}; }},
      {"ENDGID", 102, 2, [](const E& e) { return std::uint64_t{e.endurance_group}; }},
      {"LBAF0.MS", 128, 2, [](const E& e) { return std::uint64_t{e.formats[0].metadata_bytes}; }},
      {"LBAF0.LBADS", 130, 1, [](const E& e) { return std::uint64_t{e.formats[0].data_exponent}; }},
      {"LBAF0.RP", 131, 1, [](const E& e) { return std::uint64_t{e.formats[0].performance}; }},
      {"LBAF15.MS", 188, 2, [](const E& e) { return std::uint64_t{e.formats[15].metadata_bytes}; }},
      {"LBAF15.LBADS", 190, 1,
       [](const E& e) { return std::uint64_t{e.formats[15].data_exponent}; }},
  });
}

TEST(IdentifyNamespace, HasEachArrayAtItsBytes) {
  IdentifyNamespace data;
  data.nguid[0] = 1;
  data.nguid[15] = 2;
  data.eui64[0] = 3;
  data.eui64[7] = 4;
  data.vendor_specific[0] = 5;
  data.vendor_specific[3711] = 6;
  const auto bytes = wire::bytes_of(data);
  EXPECT_EQ(bytes[104], 1);
  EXPECT_EQ(bytes[119], 2);
  EXPECT_EQ(bytes[120], 3);
  EXPECT_EQ(bytes[127], 4);
  EXPECT_EQ(bytes[384], 5);
  EXPECT_EQ(bytes[4095], 6);
}

TEST(IdentifyNamespace, KnowsItsFormat) {
  IdentifyNamespace data;
  data.formats[0].data_exponent = 9;
  data.formats[15].data_exponent = 12;
  data.formats[15].metadata_bytes = 8;
  EXPECT_EQ(data.format().block_bytes(), 512U);
  data.formatted_size = 0x1F;
  EXPECT_EQ(data.format_index(), 15U);
  EXPECT_EQ(data.format().block_bytes(), 4096U);
  EXPECT_EQ(data.format().metadata_bytes, 8U);
  EXPECT_TRUE(data.is_metadata_extended());
  data.formatted_size = 0xE0;
  EXPECT_EQ(data.format_index(), 0U) << "the other bits are reserved";
  EXPECT_FALSE(data.is_metadata_extended());
}

TEST(IdentifyNamespace, AnExponentThatIsNoBlockSizeGivesNone) {
  for (unsigned exponent = 0; exponent != 256; ++exponent) {
    nvme::LbaFormat format;
    format.data_exponent = static_cast<std::uint8_t>(exponent);
    const bool is_size = exponent >= 9 && exponent <= 31;
    EXPECT_EQ(format.block_bytes(), is_size ? 1ULL << exponent : 0) << exponent;
  }
}

TEST(IdentifyNamespace, SaysWhatItDoes) {
  IdentifyNamespace data;
  EXPECT_FALSE(data.is_thin());
  EXPECT_FALSE(data.is_write_protected());
  data.features = nvme::nsfeat::thin_provisioning;
  data.attributes = 1;
  EXPECT_TRUE(data.is_thin());
  EXPECT_TRUE(data.is_write_protected());
  EXPECT_EQ(data.deallocated_read(), nvme::DeallocatedRead::not_reported);
  EXPECT_FALSE(data.write_zeroes_deallocates());
  data.deallocate_features = 0x09;
  EXPECT_EQ(data.deallocated_read(), nvme::DeallocatedRead::zeroes);
  EXPECT_TRUE(data.write_zeroes_deallocates());
  data.deallocate_features = 0xF2;
  EXPECT_EQ(data.deallocated_read(), nvme::DeallocatedRead::ones);
  EXPECT_FALSE(data.write_zeroes_deallocates());
  data.set_deallocate_features(nvme::DeallocatedRead::zeroes, true);
  EXPECT_EQ(data.deallocate_features, 0x09U);
  data.set_deallocate_features(nvme::DeallocatedRead::ones, false);
  EXPECT_EQ(data.deallocate_features, 0x02U);
}

TEST(IdentifyNamespace, TheBitsOfItsFeaturesAreTheSpecifications) {
  EXPECT_EQ(nvme::nsfeat::thin_provisioning, 1U << 0);
  EXPECT_EQ(nvme::nsfeat::atomic_units, 1U << 1);
  EXPECT_EQ(nvme::nsfeat::deallocated_error, 1U << 2);
  EXPECT_EQ(nvme::nsfeat::unique_ids_kept, 1U << 3);
  EXPECT_EQ(nvme::nsfeat::optimal_performance, 1U << 4);
}

TEST(ActiveNamespaceList, EndsWithTheFirstZero) {
  nvme::ActiveNamespaceList list;
  EXPECT_EQ(list.count(), 0U);
  list.nsids[0] = 1;
  list.nsids[1] = 5;
  list.nsids[3] = 7;
  EXPECT_EQ(list.count(), 2U);
  EXPECT_EQ(wire::integer_at(list, 4, 4), 5U);
  for (nvme::Le32& nsid : list.nsids) nsid = 9;
  EXPECT_EQ(list.count(), 1024U) << "a full list has no zero";
}

TEST(NamespaceIdDescriptor, HasEachFieldAtItsBytes) {
  nvme::NamespaceIdDescriptor descriptor;
  descriptor.type = nvme::NamespaceIdType::uuid;
  descriptor.length_bytes = 16;
  EXPECT_EQ(wire::bytes_of(descriptor), (std::array<std::uint8_t, 4>{3, 16, 0, 0}));
  EXPECT_EQ(wire::bytes_of(nvme::NamespaceIdDescriptor{}), (std::array<std::uint8_t, 4>{}));
}

TEST(Identify, EachValueHasAName) {
  wire::expect_names<nvme::NamespaceIdType>({{0, "end"}, {1, "eui64"}, {2, "nguid"}, {3, "uuid"}},
                                            255, "unknown namespace identifier");
  wire::expect_names<nvme::Cns>({{0x00, "identify_namespace"},
                                 {0x01, "identify_controller"},
                                 {0x02, "active_namespace_list"},
                                 {0x03, "namespace_descriptors"},
                                 {0x04, "nvm_set_list"},
                                 {0x10, "allocated_namespace_list"},
                                 {0x11, "allocated_namespace"},
                                 {0x12, "attached_controller_list"},
                                 {0x13, "controller_list"},
                                 {0x14, "primary_controller_capabilities"},
                                 {0x15, "secondary_controller_list"},
                                 {0x16, "namespace_granularity_list"},
                                 {0x17, "uuid_list"}},
                                255, "unknown CNS");
  wire::expect_names<nvme::DeallocatedRead>({{0, "not_reported"}, {1, "zeroes"}, {2, "ones"}}, 255,
                                            "unknown deallocated read");
}

TEST(IdentifyController, EachPartOfTheFirmwareUpdatesDependsOnItsOwnBitsAlone) {
  using Data = blkown::nvme::IdentifyController;
  EXPECT_EQ(wire::bits_of(&Data::firmware_updates, &Data::firmware_slots), 0xEU);
  EXPECT_EQ(wire::bits_of(&Data::firmware_updates, &Data::is_first_slot_read_only), 1U);
  EXPECT_EQ(wire::bits_of(&Data::firmware_updates, &Data::activates_without_reset), 0x10U);
}

TEST(IdentifyController, ACacheIsOneBitAndItsFlushTwo) {
  using Data = blkown::nvme::IdentifyController;
  EXPECT_EQ(wire::bits_of(&Data::volatile_write_cache, &Data::has_volatile_write_cache), 1U);
  Data data;
  for (unsigned bits = 0; bits != 8; ++bits) {
    data.volatile_write_cache = static_cast<std::uint8_t>(bits);
    EXPECT_EQ(data.flushes_all_namespaces(), bits >= 6) << bits;
  }
  data.set_volatile_write_cache(false, false);
  EXPECT_EQ(data.volatile_write_cache, 4U);
  data.set_volatile_write_cache(false, true);
  EXPECT_EQ(data.volatile_write_cache, 6U);
}

TEST(IdentifyNamespace, ADeallocationByWriteZeroesIsOneBit) {
  using Data = blkown::nvme::IdentifyNamespace;
  EXPECT_EQ(wire::bits_of(&Data::deallocate_features, &Data::deallocated_read), 7U);
  EXPECT_EQ(wire::bits_of(&Data::deallocate_features, &Data::write_zeroes_deallocates), 8U);
  Data data;
  data.set_deallocate_features({}, true);
  EXPECT_EQ(data.deallocate_features, 8U);
}

}  // namespace
