// SPDX-License-Identifier: BSL-1.0
//
// Goal: the status codes are those of the specification, each with its name and its Status. A
// controller's answer means to the driver what the controller meant.

#include <gtest/gtest.h>

#include <blkown/nvme/status.hpp>
#include <blkown/status.hpp>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>

#include "nvme/wire.hpp"
#include "support/printing.hpp"

namespace {

namespace nvme = blkown::nvme;
using blkown::Status;
using nvme::StatusCode;
using nvme::StatusField;
using nvme::StatusType;

struct Known {
  unsigned code;
  const char* name;
  Status status;  // with DNR, io_error becomes target_error
};

// Sorted by type and code.
constexpr Known known[] = {
    {0x000, "success", Status::ok},
    {0x001, "invalid_opcode", Status::not_supported},
    {0x002, "invalid_field", Status::invalid},
    {0x003, "command_id_conflict", Status::io_error},
    {0x004, "data_transfer_error", Status::io_error},
    {0x005, "power_loss_abort", Status::aborted},
    {0x006, "internal_error", Status::io_error},
    {0x007, "abort_requested", Status::aborted},
    {0x008, "submission_queue_deleted", Status::aborted},
    {0x009, "failed_fused", Status::io_error},
    {0x00A, "missing_fused", Status::io_error},
    {0x00B, "invalid_namespace", Status::invalid},
    {0x00C, "command_sequence_error", Status::io_error},
    {0x00D, "invalid_sgl_segment", Status::io_error},
    {0x00E, "invalid_sgl_descriptor_count", Status::io_error},
    {0x00F, "data_sgl_length_invalid", Status::io_error},
    {0x010, "metadata_sgl_length_invalid", Status::io_error},
    {0x011, "sgl_descriptor_type_invalid", Status::io_error},
    {0x012, "invalid_controller_memory_buffer_use", Status::io_error},
    {0x013, "prp_offset_invalid", Status::io_error},
    {0x014, "atomic_write_unit_exceeded", Status::io_error},
    {0x015, "operation_denied", Status::target_error},
    {0x016, "sgl_offset_invalid", Status::io_error},
    {0x018, "host_identifier_inconsistent", Status::io_error},
    {0x019, "keep_alive_expired", Status::io_error},
    {0x01A, "keep_alive_timeout_invalid", Status::io_error},
    {0x01B, "preempted_and_aborted", Status::aborted},
    {0x01C, "sanitize_failed", Status::io_error},
    {0x01D, "sanitize_in_progress", Status::io_error},
    {0x01E, "sgl_data_block_granularity_invalid", Status::io_error},
    {0x01F, "command_not_supported_for_queue_in_cmb", Status::io_error},
    {0x020, "namespace_write_protected", Status::medium_error},
    {0x021, "command_interrupted", Status::io_error},
    {0x022, "transient_transport_error", Status::transport_error},
    {0x080, "lba_out_of_range", Status::target_error},
    {0x081, "capacity_exceeded", Status::no_space},
    {0x082, "namespace_not_ready", Status::io_error},
    {0x083, "reservation_conflict", Status::reservation_conflict},
    {0x084, "format_in_progress", Status::io_error},
    {0x100, "completion_queue_invalid", Status::io_error},
    {0x101, "invalid_queue_identifier", Status::io_error},
    {0x102, "invalid_queue_size", Status::io_error},
    {0x103, "abort_command_limit_exceeded", Status::io_error},
    {0x105, "asynchronous_event_request_limit_exceeded", Status::io_error},
    {0x106, "invalid_firmware_slot", Status::io_error},
    {0x107, "invalid_firmware_image", Status::io_error},
    {0x108, "invalid_interrupt_vector", Status::io_error},
    {0x109, "invalid_log_page", Status::io_error},
    {0x10A, "invalid_format", Status::io_error},
    {0x10B, "firmware_needs_conventional_reset", Status::io_error},
    {0x10C, "invalid_queue_deletion", Status::io_error},
    {0x10D, "feature_not_saveable", Status::io_error},
    {0x10E, "feature_not_changeable", Status::io_error},
    {0x10F, "feature_not_namespace_specific", Status::io_error},
    {0x110, "firmware_needs_subsystem_reset", Status::io_error},
    {0x111, "firmware_needs_controller_reset", Status::io_error},
    {0x112, "firmware_needs_maximum_time", Status::io_error},
    {0x113, "firmware_activation_prohibited", Status::io_error},
    {0x114, "overlapping_range", Status::io_error},
    {0x115, "namespace_insufficient_capacity", Status::no_space},
    {0x116, "namespace_identifier_unavailable", Status::io_error},
    {0x118, "namespace_already_attached", Status::io_error},
    {0x119, "namespace_is_private", Status::io_error},
    {0x11A, "namespace_not_attached", Status::io_error},
    {0x11B, "thin_provisioning_not_supported", Status::not_supported},
    {0x11C, "controller_list_invalid", Status::io_error},
    {0x11D, "self_test_in_progress", Status::io_error},
    {0x11E, "boot_partition_write_prohibited", Status::io_error},
    {0x11F, "invalid_controller_identifier", Status::io_error},
    {0x120, "invalid_secondary_controller_state", Status::io_error},
    {0x121, "invalid_controller_resource_count", Status::io_error},
    {0x122, "invalid_resource_identifier", Status::io_error},
    {0x123, "sanitize_prohibited", Status::io_error},
    {0x124, "ana_group_identifier_invalid", Status::io_error},
    {0x125, "ana_attach_failed", Status::io_error},
    {0x180, "conflicting_attributes", Status::invalid},
    {0x181, "invalid_protection_information", Status::protection_error},
    {0x182, "write_to_read_only_range", Status::medium_error},
    {0x280, "write_fault", Status::medium_error},
    {0x281, "unrecovered_read_error", Status::medium_error},
    {0x282, "guard_check_error", Status::protection_error},
    {0x283, "application_tag_check_error", Status::protection_error},
    {0x284, "reference_tag_check_error", Status::protection_error},
    {0x285, "compare_failure", Status::medium_error},
    {0x286, "access_denied", Status::medium_error},
    {0x287, "unwritten_block", Status::medium_error},
    {0x300, "internal_path_error", Status::transport_error},
    {0x301, "ana_persistent_loss", Status::transport_error},
    {0x302, "ana_inaccessible", Status::transport_error},
    {0x303, "ana_transition", Status::transport_error},
    {0x360, "controller_path_error", Status::transport_error},
    {0x370, "host_path_error", Status::transport_error},
    {0x371, "aborted_by_host", Status::aborted},
};

Status with_dnr(Status status) {
  return status == Status::io_error ? Status::target_error : status;
}

TEST(NvmeStatus, EachCodeHasItsNameAndItsStatus) {
  std::size_t next = 0;
  for (unsigned code = 0; code != 0x800; ++code) {
    const bool is_known = next != std::size(known) && known[next].code == code;
    const auto value = static_cast<StatusCode>(code);
    EXPECT_STREQ(to_string(value), is_known ? known[next].name : "unknown status code") << code;
    const Status status = is_known ? known[next].status : Status::io_error;
    EXPECT_EQ(to_status(StatusField::of(value)), status) << code;
    EXPECT_EQ(to_status(StatusField::of(value, true)), with_dnr(status)) << code;
    next += is_known ? 1 : 0;
  }
  EXPECT_EQ(next, std::size(known));
}

TEST(NvmeStatus, NoTwoCodesHaveTheSameName) {
  std::set<std::string> names;
  for (const Known& code : known) {
    EXPECT_TRUE(names.insert(code.name).second) << code.name;
  }
}

TEST(NvmeStatus, ACodeKnowsItsType) {
  EXPECT_EQ(type_of(StatusCode::capacity_exceeded), StatusType::generic);
  EXPECT_EQ(type_of(StatusCode::invalid_queue_size), StatusType::command_specific);
  EXPECT_EQ(type_of(StatusCode::write_fault), StatusType::media);
  EXPECT_EQ(type_of(StatusCode::host_path_error), StatusType::path);
  EXPECT_EQ(type_of(static_cast<StatusCode>(0x7C0)), StatusType::vendor_specific);
  EXPECT_STREQ(to_string(StatusType::generic), "generic");
  EXPECT_STREQ(to_string(StatusType::command_specific), "command_specific");
  EXPECT_STREQ(to_string(StatusType::media), "media");
  EXPECT_STREQ(to_string(StatusType::path), "path");
  EXPECT_STREQ(to_string(StatusType::vendor_specific), "vendor_specific");
  EXPECT_STREQ(to_string(static_cast<StatusType>(4)), "unknown status type");
}

TEST(NvmeStatus, AFieldHasItsBits) {
  // DNR, M, CRD 2, SCT 2, SC 81h.
  constexpr StatusField field{0x7281};
  EXPECT_EQ(field.code(), StatusCode::unrecovered_read_error);
  EXPECT_FALSE(field.is_success());
  EXPECT_TRUE(field.do_not_retry());
  EXPECT_TRUE(field.more());
  EXPECT_EQ(field.retry_delay_index(), 2U);
  EXPECT_EQ(StatusField::of(StatusCode::unrecovered_read_error, true, true, 2), field);
}

TEST(NvmeStatus, EachBitOfAFieldIsItsOwn) {
  EXPECT_EQ(StatusField::of(StatusCode::success, true).value, 0x4000U);
  EXPECT_EQ(StatusField::of(StatusCode::success, false, true).value, 0x2000U);
  EXPECT_EQ(StatusField::of(StatusCode::success, false, false, 3).value, 0x1800U);
  EXPECT_EQ(StatusField::of(static_cast<StatusCode>(0x7FF)).value, 0x07FFU);
  constexpr StatusField flags{0x7800};
  EXPECT_TRUE(flags.is_success()) << "the code alone says whether a command succeeded";
  constexpr StatusField code{0x07FF};
  EXPECT_FALSE(code.do_not_retry());
  EXPECT_FALSE(code.more());
  EXPECT_EQ(code.retry_delay_index(), 0U);
}

/// Whether NVMe has a code for the status.
bool has_code(Status status) {
  switch (status) {
    case Status::timed_out:
    case Status::resource:
    case Status::device_resource:
    case Status::again:
    case Status::zone_open_resource:
    case Status::zone_active_resource:
    case Status::offline: return false;
    default: return true;
  }
}

TEST(NvmeStatus, WhatAControllerAnswersIsWhatTheDriverReads) {
  for (std::size_t i = 0; i != blkown::status_count; ++i) {
    const auto status = static_cast<Status>(i);
    for (const bool is_write : {false, true}) {
      const StatusField field = nvme::to_status_field(status, is_write);
      EXPECT_EQ(to_status(field), has_code(status) ? status : Status::io_error)
          << to_string(status);
      EXPECT_EQ(field.is_success(), status == Status::ok) << to_string(status);
      EXPECT_STRNE(to_string(field.code()), "unknown status code") << to_string(status);
      EXPECT_NE(field.code(), StatusCode::command_interrupted) << "not without the host's consent";
    }
  }
}

TEST(NvmeStatus, AMediumErrorSaysWhichWayTheDataWent) {
  EXPECT_EQ(nvme::to_status_field(Status::medium_error, false).code(),
            StatusCode::unrecovered_read_error);
  EXPECT_EQ(nvme::to_status_field(Status::medium_error, true).code(), StatusCode::write_fault);
}

TEST(NvmeStatus, AnAnswerForbidsARetryThatWouldFailAgain) {
  for (const Status status :
       {Status::not_supported, Status::invalid, Status::no_space, Status::target_error,
        Status::reservation_conflict, Status::protection_error}) {
    EXPECT_TRUE(nvme::to_status_field(status, false).do_not_retry()) << to_string(status);
  }
  for (const Status status :
       {Status::ok, Status::again, Status::resource, Status::io_error, Status::aborted,
        Status::offline, Status::device_resource, Status::transport_error}) {
    EXPECT_FALSE(nvme::to_status_field(status, false).do_not_retry()) << to_string(status);
  }
}

TEST(StatusField, EachPartDependsOnItsOwnBitsAlone) {
  using blkown::nvme::StatusField;
  EXPECT_EQ(wire::bits_of(&StatusField::value, &StatusField::code), 0x7FFU);
  EXPECT_EQ(wire::bits_of(&StatusField::value, &StatusField::retry_delay_index), 0x1800U);
  EXPECT_EQ(wire::bits_of(&StatusField::value, &StatusField::more), 0x2000U);
  EXPECT_EQ(wire::bits_of(&StatusField::value, &StatusField::do_not_retry), 0x4000U);
}

}  // namespace
