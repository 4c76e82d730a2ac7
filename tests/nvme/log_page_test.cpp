// SPDX-License-Identifier: BSL-1.0
//
// Goal: each field of the log pages stands at the specification's bytes, and dword 0 of an
// asynchronous event says what happened.

#include <gtest/gtest.h>

#include <blkown/nvme/log_page.hpp>
#include <cstdint>

#include "nvme/wire.hpp"

namespace {

namespace nvme = blkown::nvme;

TEST(LogPage, HasTheSpecificationsIdentifiers) {
  wire::expect_names<nvme::LogPageId>({{0x01, "error_information"},
                                       {0x02, "smart"},
                                       {0x03, "firmware_slots"},
                                       {0x04, "changed_namespaces"},
                                       {0x05, "commands_supported"},
                                       {0x06, "device_self_test"},
                                       {0x07, "telemetry_host"},
                                       {0x08, "telemetry_controller"},
                                       {0x09, "endurance_group"},
                                       {0x0A, "predictable_latency_per_set"},
                                       {0x0B, "predictable_latency_aggregate"},
                                       {0x0C, "asymmetric_namespace_access"},
                                       {0x0D, "persistent_event"},
                                       {0x0E, "lba_status"},
                                       {0x0F, "endurance_group_aggregate"},
                                       {0x80, "reservation_notification"},
                                       {0x81, "sanitize_status"}},
                                      255, "unknown log page");
}

TEST(ErrorLogEntry, HasEachFieldAtItsBytes) {
  using E = nvme::ErrorLogEntry;
  wire::expect_fields<E>({
      {"count", 0, 8, [](const E& e) { return std::uint64_t{e.error_count}; }},
      {"SQID", 8, 2, [](const E& e) { return std::uint64_t{e.sq_id}; }},
      {"CID", 10, 2, [](const E& e) { return std::uint64_t{e.command_id}; }},
      {"status", 12, 2, [](const E& e) { return std::uint64_t{e.status_and_phase}; }},
      {"location", 14, 2, [](const E& e) { return std::uint64_t{e.parameter_location}; }},
      {"LBA", 16, 8, [](const E& e) { return std::uint64_t{e.lba}; }},
      {"NSID", 24, 4, [](const E& e) { return std::uint64_t{e.nsid}; }},
      {"vendor", 28, 1, [](const E& e) { return std::uint64_t{e.vendor_log_page}; }},
      {"TRTYPE", 29, 1, [](const E& e) { return std::uint64_t{e.transport_type}; }},
      {"command", 32, 8, [](const E& e) { return std::uint64_t{e.command_specific}; }},
      {"transport", 40, 2, [](const E& e) { return std::uint64_t{e.transport_specific}; }},
  });
}

TEST(ErrorLogEntry, HasTheStatusFieldOfTheCompletion) {
  nvme::ErrorLogEntry entry;
  entry.status_and_phase = 0x8205;
  EXPECT_EQ(entry.status(), nvme::StatusField::of(nvme::StatusCode::invalid_queue_size, true));
}

TEST(ErrorLogEntry, ALocationIsAByteAndItsBit) {
  EXPECT_EQ(nvme::ErrorLogEntry::location_of(40, 7), 0x0728U);
  EXPECT_EQ(nvme::ErrorLogEntry::location_of(63, 0), 0x003FU);
  EXPECT_EQ(nvme::ErrorLogEntry::no_location, 0xFFFFU);
}

TEST(SmartLog, HasEachFieldAtItsBytes) {
  using E = nvme::SmartLog;
  wire::expect_fields<E>({
      {"warning", 0, 1, [](const E& e) { return std::uint64_t{e.critical_warning}; }},
      {"spare", 3, 1, [](const E& e) { return std::uint64_t{e.available_spare_percent}; }},
      {"threshold", 4, 1, [](const E& e) { return std::uint64_t{e.spare_threshold_percent}; }},
      {"used", 5, 1, [](const E& e) { return std::uint64_t{e.percentage_used}; }},
      {"group", 6, 1, [](const E& e) { return std::uint64_t{e.endurance_group_warnings}; }},
      {"read", 32, 8, [](const E& e) { return std::uint64_t{e.data_units_read.low}; }},
      {"read+8", 40, 8, [](const E& e) { return std::uint64_t{e.data_units_read.high}; }},
      {"written", 48, 8, [](const E& e) { return std::uint64_t{e.data_units_written.low}; }},
      {"host_reads", 64, 8, [](const E& e) { return std::uint64_t{e.host_reads.low}; }},
      {"host_writes", 80, 8, [](const E& e) { return std::uint64_t{e.host_writes.low}; }},
      {"busy", 96, 8, [](const E& e) { return std::uint64_t{e.busy_time_minutes.low}; }},
      {"cycles", 112, 8, [](const E& e) { return std::uint64_t{e.power_cycles.low}; }},
      {"hours", 128, 8, [](const E& e) { return std::uint64_t{e.power_on_hours.low}; }},
      {"unsafe", 144, 8, [](const E& e) { return std::uint64_t{e.unsafe_shutdowns.low}; }},
      {"media", 160, 8, [](const E& e) { return std::uint64_t{e.media_errors.low}; }},
      {"errors", 176, 8, [](const E& e) { return std::uint64_t{e.error_log_entries.low}; }},
      {"errors+8", 184, 8, [](const E& e) { return std::uint64_t{e.error_log_entries.high}; }},
      {"warning_time", 192, 4,
       [](const E& e) { return std::uint64_t{e.warning_temperature_minutes}; }},
      {"critical_time", 196, 4,
       [](const E& e) { return std::uint64_t{e.critical_temperature_minutes}; }},
      {"sensor1", 200, 2, [](const E& e) { return std::uint64_t{e.temperature_sensors_k[0]}; }},
      {"sensor8", 214, 2, [](const E& e) { return std::uint64_t{e.temperature_sensors_k[7]}; }},
      {"thermal1", 216, 4, [](const E& e) { return std::uint64_t{e.thermal1_transitions}; }},
      {"thermal2", 220, 4, [](const E& e) { return std::uint64_t{e.thermal2_transitions}; }},
      {"total1", 224, 4, [](const E& e) { return std::uint64_t{e.thermal1_seconds}; }},
      {"total2", 228, 4, [](const E& e) { return std::uint64_t{e.thermal2_seconds}; }},
      {"temperature", 1, 2, [](const E& e) { return std::uint64_t{e.temperature_k()}; }},
  });
}

TEST(SmartLog, TakesATemperature) {
  nvme::SmartLog log;
  log.set_temperature_k(0x0142);
  EXPECT_EQ(log.temperature_k(), 0x0142U);
  EXPECT_EQ(wire::integer_at(log, 1, 2), 0x0142U);
}

TEST(SmartLog, ACounterBeyond64BitsIsSaturated) {
  nvme::Le128 counter{7, 0};
  EXPECT_EQ(counter.saturated(), 7U);
  counter.high = 1;
  EXPECT_EQ(counter.saturated(), UINT64_MAX);
}

TEST(SmartLog, TheWarningsHaveTheSpecificationsBits) {
  EXPECT_EQ(nvme::smart_warning::spare, 1U << 0);
  EXPECT_EQ(nvme::smart_warning::temperature, 1U << 1);
  EXPECT_EQ(nvme::smart_warning::reliability, 1U << 2);
  EXPECT_EQ(nvme::smart_warning::read_only, 1U << 3);
  EXPECT_EQ(nvme::smart_warning::volatile_backup, 1U << 4);
  EXPECT_EQ(nvme::smart_warning::persistent_memory, 1U << 5);
}

TEST(FirmwareSlotLog, HasTheSlotsInOneByteAndTheirRevisionsBehind) {
  nvme::FirmwareSlotLog log;
  log.active_firmware_info = 0xAB;
  EXPECT_EQ(log.active_slot(), 3U);
  EXPECT_EQ(log.next_slot(), 2U);
  log.set_slots(7, 1);
  log.revisions[0][0] = 'a';
  log.revisions[6][7] = 'z';
  const auto bytes = wire::bytes_of(log);
  EXPECT_EQ(bytes[0], 0x17);
  EXPECT_EQ(bytes[8], 'a');
  EXPECT_EQ(bytes[63], 'z');
}

TEST(ChangedNamespaceList, IsAnArrayOfIdentifiers) {
  nvme::ChangedNamespaceList list;
  list.nsids[1023] = 0x01020304;
  EXPECT_EQ(wire::integer_at(list, 4092, 4), 0x01020304U);
}

TEST(AsyncEvent, HasATypeAnInformationAndALogPage) {
  constexpr nvme::AsyncEvent event{0xFF04'0002};
  EXPECT_EQ(event.type(), nvme::AsyncEventType::notice);
  EXPECT_EQ(event.information(), nvme::notice_event::namespace_attribute_changed);
  EXPECT_EQ(event.log_page(), nvme::LogPageId::changed_namespaces);
  constexpr auto made = nvme::AsyncEvent::of(nvme::AsyncEventType::error,
                                             nvme::error_event::persistent_internal_error,
                                             nvme::LogPageId::error_information);
  EXPECT_EQ(made.dw0, 0x0001'0300U);
  EXPECT_EQ(made.type(), nvme::AsyncEventType::error);
  EXPECT_EQ(made.information(), 3U);
}

TEST(AsyncEvent, HasTheSpecificationsTypes) {
  wire::expect_names<nvme::AsyncEventType>(
      {{0, "error"}, {1, "smart"}, {2, "notice"}, {6, "io_command_set"}, {7, "vendor_specific"}},
      255, "unknown event type");
  EXPECT_EQ(nvme::error_event::invalid_doorbell_register, 0U);
  EXPECT_EQ(nvme::error_event::invalid_doorbell_value, 1U);
  EXPECT_EQ(nvme::error_event::diagnostic_failure, 2U);
  EXPECT_EQ(nvme::error_event::transient_internal_error, 4U);
  EXPECT_EQ(nvme::error_event::firmware_image_load_error, 5U);
  EXPECT_EQ(nvme::smart_event::reliability, 0U);
  EXPECT_EQ(nvme::smart_event::temperature_threshold, 1U);
  EXPECT_EQ(nvme::smart_event::spare_below_threshold, 2U);
  EXPECT_EQ(nvme::notice_event::firmware_activation_starting, 1U);
  EXPECT_EQ(nvme::notice_event::telemetry_log_changed, 2U);
  EXPECT_EQ(nvme::notice_event::asymmetric_access_changed, 3U);
}

TEST(AsyncEvent, EachPartDependsOnItsOwnBitsAlone) {
  using blkown::nvme::AsyncEvent;
  EXPECT_EQ(wire::bits_of(&AsyncEvent::dw0, &AsyncEvent::type), 7U);
  EXPECT_EQ(wire::bits_of(&AsyncEvent::dw0, &AsyncEvent::information), 0xFF00U);
  EXPECT_EQ(wire::bits_of(&AsyncEvent::dw0, &AsyncEvent::log_page), 0xFF'0000U);
}

}  // namespace
