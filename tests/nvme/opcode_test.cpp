// SPDX-License-Identifier: BSL-1.0
//
// Goal: the opcodes are those of the specification, each with its name.

#include <gtest/gtest.h>

#include <blkown/nvme/opcode.hpp>

#include "nvme/wire.hpp"

namespace {

namespace nvme = blkown::nvme;

TEST(Opcode, TheAdminCommandsAreTheSpecifications) {
  wire::expect_names<nvme::AdminOpcode>({{0x00, "delete_io_submission_queue"},
                                         {0x01, "create_io_submission_queue"},
                                         {0x02, "get_log_page"},
                                         {0x04, "delete_io_completion_queue"},
                                         {0x05, "create_io_completion_queue"},
                                         {0x06, "identify"},
                                         {0x08, "abort"},
                                         {0x09, "set_features"},
                                         {0x0A, "get_features"},
                                         {0x0C, "asynchronous_event_request"},
                                         {0x0D, "namespace_management"},
                                         {0x10, "firmware_commit"},
                                         {0x11, "firmware_image_download"},
                                         {0x14, "device_self_test"},
                                         {0x15, "namespace_attachment"},
                                         {0x18, "keep_alive"},
                                         {0x19, "directive_send"},
                                         {0x1A, "directive_receive"},
                                         {0x1C, "virtualization_management"},
                                         {0x1D, "nvme_mi_send"},
                                         {0x1E, "nvme_mi_receive"},
                                         {0x7C, "doorbell_buffer_config"},
                                         {0x80, "format_nvm"},
                                         {0x81, "security_send"},
                                         {0x82, "security_receive"},
                                         {0x84, "sanitize"},
                                         {0x86, "get_lba_status"}},
                                        255, "unknown admin opcode");
}

TEST(Opcode, TheIoCommandsAreTheSpecifications) {
  wire::expect_names<nvme::IoOpcode>({{0x00, "flush"},
                                      {0x01, "write"},
                                      {0x02, "read"},
                                      {0x04, "write_uncorrectable"},
                                      {0x05, "compare"},
                                      {0x08, "write_zeroes"},
                                      {0x09, "dataset_management"},
                                      {0x0C, "verify"},
                                      {0x0D, "reservation_register"},
                                      {0x0E, "reservation_report"},
                                      {0x11, "reservation_acquire"},
                                      {0x15, "reservation_release"}},
                                     255, "unknown I/O opcode");
}

}  // namespace
