// SPDX-License-Identifier: BSL-1.0
//
// Goal: the features have the specification's identifiers, and their values its bits.

#include <gtest/gtest.h>

#include <blkown/nvme/features.hpp>

#include "nvme/wire.hpp"

namespace {

namespace nvme = blkown::nvme;

TEST(Features, HaveTheSpecificationsIdentifiers) {
  wire::expect_names<nvme::FeatureId>({{0x01, "arbitration"},
                                       {0x02, "power_management"},
                                       {0x03, "lba_range_type"},
                                       {0x04, "temperature_threshold"},
                                       {0x05, "error_recovery"},
                                       {0x06, "volatile_write_cache"},
                                       {0x07, "number_of_queues"},
                                       {0x08, "interrupt_coalescing"},
                                       {0x09, "interrupt_vector_configuration"},
                                       {0x0A, "write_atomicity_normal"},
                                       {0x0B, "asynchronous_event_configuration"},
                                       {0x0C, "autonomous_power_state_transition"},
                                       {0x0D, "host_memory_buffer"},
                                       {0x0E, "timestamp"},
                                       {0x0F, "keep_alive_timer"},
                                       {0x10, "host_controlled_thermal_management"},
                                       {0x11, "non_operational_power_state_config"},
                                       {0x12, "read_recovery_level_config"},
                                       {0x13, "predictable_latency_mode_config"},
                                       {0x14, "predictable_latency_mode_window"},
                                       {0x15, "lba_status_information_report_interval"},
                                       {0x16, "host_behavior_support"},
                                       {0x17, "sanitize_config"},
                                       {0x18, "endurance_group_event_configuration"},
                                       {0x80, "software_progress_marker"},
                                       {0x81, "host_identifier"},
                                       {0x82, "reservation_notification_mask"},
                                       {0x83, "reservation_persistence"},
                                       {0x84, "namespace_write_protection_config"}},
                                      255, "unknown feature");
  wire::expect_names<nvme::FeatureSelect>(
      {{0, "current"}, {1, "default_value"}, {2, "saved"}, {3, "supported_capabilities"}}, 255,
      "unknown feature select");
}

TEST(Features, TheNumberOfQueuesHasACountForEachKind) {
  constexpr nvme::NumberOfQueues value{0x0003'0007};
  EXPECT_EQ(value.submission_queues(), 8U);
  EXPECT_EQ(value.completion_queues(), 4U);
  EXPECT_EQ(nvme::NumberOfQueues::of(8, 4), value);
  EXPECT_EQ(nvme::NumberOfQueues::of(65535, 65535).value, 0xFFFE'FFFEU);
  // A completion's dword 0 may hold anything.
  EXPECT_EQ(nvme::NumberOfQueues{0xFFFFFFFF}.submission_queues(), 65536U);
  EXPECT_EQ(nvme::NumberOfQueues{0xFFFFFFFF}.completion_queues(), 65536U);
}

TEST(Features, TheVolatileWriteCacheIsOneBit) {
  EXPECT_EQ(nvme::VolatileWriteCache::of(true).value, 1U);
  EXPECT_EQ(nvme::VolatileWriteCache::of(false).value, 0U);
  EXPECT_TRUE(nvme::VolatileWriteCache{1}.is_enabled());
  EXPECT_FALSE(nvme::VolatileWriteCache{0xFFFFFFFE}.is_enabled());
}

TEST(Features, InterruptCoalescingHasAThresholdAndATime) {
  constexpr nvme::InterruptCoalescing value{0x0000'0A07};
  EXPECT_EQ(value.entries(), 8U);
  EXPECT_EQ(value.time_us(), 1000U);
  EXPECT_EQ(nvme::InterruptCoalescing::of(8, 1099), value);
  constexpr nvme::InterruptCoalescing all{~0U};
  EXPECT_EQ(all.entries(), 256U);
  EXPECT_EQ(all.time_us(), 25500U);
  EXPECT_EQ(nvme::InterruptCoalescing::of(256, 25500).value, 0xFFFFU);
}

TEST(Features, AnInterruptVectorMayBeLeftOutOfCoalescing) {
  constexpr nvme::InterruptVectorConfiguration value{0x0001'0005};
  EXPECT_EQ(value.vector(), 5U);
  EXPECT_TRUE(value.is_coalescing_off());
  EXPECT_EQ(nvme::InterruptVectorConfiguration::of(5, true), value);
  EXPECT_EQ(nvme::InterruptVectorConfiguration::of(0xFFFF, false).value, 0xFFFFU);
  EXPECT_FALSE(nvme::InterruptVectorConfiguration{0xFFFF}.is_coalescing_off());
}

TEST(Features, ArbitrationHasABurstAndThreeWeights) {
  constexpr nvme::Arbitration value{0x2010'0803};
  EXPECT_EQ(value.burst_exponent(), 3U);
  EXPECT_EQ(value.low_weight(), 9U);
  EXPECT_EQ(value.medium_weight(), 17U);
  EXPECT_EQ(value.high_weight(), 33U);
  EXPECT_EQ(nvme::Arbitration::of(3, 9, 17, 33), value);
  EXPECT_EQ(nvme::Arbitration::of(nvme::Arbitration::no_limit).value, 7U);
  EXPECT_EQ(nvme::Arbitration::of(0, 256, 256, 256).value, 0xFFFFFF00U);
}

TEST(Features, TheAsynchronousEventsAreSwitchedOnOneByOne) {
  nvme::AsyncEventConfiguration value;
  value.set_smart_warnings(0x1F);
  EXPECT_EQ(value.value, 0x1FU);
  value.set_namespace_attribute_notices(true);
  EXPECT_EQ(value.value, 0x11FU);
  value.set_firmware_activation_notices(true);
  EXPECT_EQ(value.value, 0x31FU);
  EXPECT_EQ(value.smart_warnings(), 0x1FU);
  EXPECT_TRUE(value.namespace_attribute_notices());
  EXPECT_TRUE(value.firmware_activation_notices());
  value.set_smart_warnings(0x10);
  EXPECT_EQ(value.value, 0x310U);
  value.set_namespace_attribute_notices(false);
  EXPECT_FALSE(value.namespace_attribute_notices());
  EXPECT_TRUE(value.firmware_activation_notices());
}

TEST(Features, ATemperatureThresholdHasASensorAndADirection) {
  constexpr nvme::TemperatureThreshold value{0x0012'0157};
  EXPECT_EQ(value.temperature_k(), 0x157U);
  EXPECT_EQ(value.sensor(), 2U);
  EXPECT_EQ(value.type(), nvme::ThresholdType::under);
  EXPECT_EQ(nvme::TemperatureThreshold::of(0x157, nvme::ThresholdType::under, 2), value);
  EXPECT_EQ(nvme::TemperatureThreshold::of(0xFFFF, nvme::ThresholdType::over,
                                           nvme::TemperatureThreshold::all_sensors)
                .value,
            0x000F'FFFFU);
  EXPECT_EQ(nvme::TemperatureThreshold::of(1, nvme::ThresholdType::over).value, 1U);
  wire::expect_names<nvme::ThresholdType>({{0, "over"}, {1, "under"}}, 255,
                                          "unknown threshold type");
}

TEST(Features, PowerManagementHasAStateAndAHint) {
  constexpr nvme::PowerManagement value{0xFFFF'FF45};
  EXPECT_EQ(value.power_state(), 5U);
  EXPECT_EQ(value.workload_hint(), 2U);
  EXPECT_EQ(nvme::PowerManagement::of(31).value, 31U);
}

TEST(Features, ErrorRecoveryHasATimeAndABit) {
  constexpr nvme::ErrorRecovery value{0x0001'000A};
  EXPECT_EQ(value.retry_time_ms(), 1000U);
  EXPECT_TRUE(value.reports_deallocated());
  EXPECT_EQ(nvme::ErrorRecovery::of(1099, true), value);
  EXPECT_EQ(nvme::ErrorRecovery::of(6'553'500, false).value, 0xFFFFU);
  EXPECT_FALSE(nvme::ErrorRecovery{0xFFFE'FFFF}.reports_deallocated());
}

TEST(Features, TheCapabilitiesHaveTheSpecificationsBits) {
  EXPECT_EQ(nvme::feature_capability::saveable, 1U << 0);
  EXPECT_EQ(nvme::feature_capability::namespace_specific, 1U << 1);
  EXPECT_EQ(nvme::feature_capability::changeable, 1U << 2);
}

TEST(Features, HostBehaviorSupportBeginsWithAdvancedRetry) {
  nvme::HostBehaviorSupport data;
  data.advanced_retry = 1;
  EXPECT_EQ(wire::bytes_of(data)[0], 1U);
  EXPECT_EQ(wire::bytes_of(data).size(), 512U);
}

TEST(Features, EachPartDependsOnItsOwnBitsAlone) {
  EXPECT_EQ(wire::bits_of(&nvme::NumberOfQueues::value, &nvme::NumberOfQueues::submission_queues),
            0xFFFFU);
  EXPECT_EQ(wire::bits_of(&nvme::NumberOfQueues::value, &nvme::NumberOfQueues::completion_queues),
            0xFFFF'0000U);
  EXPECT_EQ(wire::bits_of(&nvme::VolatileWriteCache::value, &nvme::VolatileWriteCache::is_enabled),
            1U);
  EXPECT_EQ(wire::bits_of(&nvme::InterruptCoalescing::value, &nvme::InterruptCoalescing::entries),
            0xFFU);
  EXPECT_EQ(wire::bits_of(&nvme::InterruptCoalescing::value, &nvme::InterruptCoalescing::time_us),
            0xFF00U);
  EXPECT_EQ(wire::bits_of(&nvme::InterruptVectorConfiguration::value,
                          &nvme::InterruptVectorConfiguration::vector),
            0xFFFFU);
  EXPECT_EQ(wire::bits_of(&nvme::InterruptVectorConfiguration::value,
                          &nvme::InterruptVectorConfiguration::is_coalescing_off),
            0x1'0000U);
  EXPECT_EQ(wire::bits_of(&nvme::Arbitration::value, &nvme::Arbitration::burst_exponent), 7U);
  EXPECT_EQ(wire::bits_of(&nvme::Arbitration::value, &nvme::Arbitration::low_weight), 0xFF00U);
  EXPECT_EQ(wire::bits_of(&nvme::Arbitration::value, &nvme::Arbitration::medium_weight),
            0xFF'0000U);
  EXPECT_EQ(wire::bits_of(&nvme::Arbitration::value, &nvme::Arbitration::high_weight),
            0xFF00'0000U);
  EXPECT_EQ(wire::bits_of(&nvme::AsyncEventConfiguration::value,
                          &nvme::AsyncEventConfiguration::smart_warnings),
            0xFFU);
  EXPECT_EQ(wire::bits_of(&nvme::AsyncEventConfiguration::value,
                          &nvme::AsyncEventConfiguration::namespace_attribute_notices),
            0x100U);
  EXPECT_EQ(wire::bits_of(&nvme::AsyncEventConfiguration::value,
                          &nvme::AsyncEventConfiguration::firmware_activation_notices),
            0x200U);
  EXPECT_EQ(
      wire::bits_of(&nvme::TemperatureThreshold::value, &nvme::TemperatureThreshold::temperature_k),
      0xFFFFU);
  EXPECT_EQ(wire::bits_of(&nvme::TemperatureThreshold::value, &nvme::TemperatureThreshold::sensor),
            0xF'0000U);
  EXPECT_EQ(wire::bits_of(&nvme::TemperatureThreshold::value, &nvme::TemperatureThreshold::type),
            0x30'0000U);
  EXPECT_EQ(wire::bits_of(&nvme::PowerManagement::value, &nvme::PowerManagement::power_state),
            0x1FU);
  EXPECT_EQ(wire::bits_of(&nvme::PowerManagement::value, &nvme::PowerManagement::workload_hint),
            0xE0U);
  EXPECT_EQ(wire::bits_of(&nvme::ErrorRecovery::value, &nvme::ErrorRecovery::retry_time_ms),
            0xFFFFU);
  EXPECT_EQ(wire::bits_of(&nvme::ErrorRecovery::value, &nvme::ErrorRecovery::reports_deallocated),
            0x1'0000U);
}

TEST(Features, ANoticeIsOneBit) {
  nvme::AsyncEventConfiguration value{~0U};
  value.set_firmware_activation_notices(false);
  EXPECT_EQ(~value.value, 0x200U);
  value.set_firmware_activation_notices(true);
  value.set_namespace_attribute_notices(false);
  EXPECT_EQ(~value.value, 0x100U);
}

}  // namespace
