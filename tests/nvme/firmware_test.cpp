// SPDX-License-Identifier: BSL-1.0
//
// Goal: an image is downloaded in parts that the controller takes, and the completion of a commit
// says what has become of it.

#include <gtest/gtest.h>

#include <blkown/nvme/firmware.hpp>
#include <blkown/nvme/status.hpp>
#include <cstdint>

#include "nvme/wire.hpp"

namespace {

namespace nvme = blkown::nvme;
using nvme::FirmwareAction;
using nvme::FirmwarePart;
using nvme::FirmwareState;
using nvme::StatusCode;

FirmwareState state_after(FirmwareAction action, StatusCode code) {
  return nvme::firmware_state(action, nvme::StatusField::of(code));
}

TEST(Firmware, ACommitThatSucceedsDidWhatItsActionSays) {
  constexpr auto ok = StatusCode::success;
  EXPECT_EQ(state_after(FirmwareAction::replace, ok), FirmwareState::stored);
  EXPECT_EQ(state_after(FirmwareAction::replace_and_activate, ok),
            FirmwareState::needs_controller_reset);
  EXPECT_EQ(state_after(FirmwareAction::activate, ok), FirmwareState::needs_controller_reset);
  EXPECT_EQ(state_after(FirmwareAction::activate_now, ok), FirmwareState::active);
  EXPECT_EQ(state_after(FirmwareAction::replace_boot_partition, ok), FirmwareState::stored);
  EXPECT_EQ(state_after(FirmwareAction::activate_boot_partition, ok), FirmwareState::stored);
}

TEST(Firmware, ACommitThatNeedsAResetIsNoFailure) {
  for (const auto action : {FirmwareAction::replace_and_activate, FirmwareAction::activate_now}) {
    EXPECT_EQ(state_after(action, StatusCode::firmware_needs_controller_reset),
              FirmwareState::needs_controller_reset);
    EXPECT_EQ(state_after(action, StatusCode::firmware_needs_subsystem_reset),
              FirmwareState::needs_subsystem_reset);
    EXPECT_EQ(state_after(action, StatusCode::firmware_needs_conventional_reset),
              FirmwareState::needs_conventional_reset);
  }
}

TEST(Firmware, EveryOtherStatusIsARefusal) {
  unsigned refused = 0;
  for (unsigned code = 1; code != 0x800; ++code) {
    const auto state = state_after(FirmwareAction::activate_now, static_cast<StatusCode>(code));
    refused += state == FirmwareState::refused ? 1 : 0;
  }
  EXPECT_EQ(refused, 0x800U - 1 - 3);
  EXPECT_EQ(state_after(FirmwareAction::activate_now, StatusCode::firmware_needs_maximum_time),
            FirmwareState::refused);
}

TEST(Firmware, ThePartsOfAnImageAreMultiplesOfTheGranularity) {
  constexpr std::uint64_t image = 20'004;
  EXPECT_EQ(nvme::firmware_part(image, 0, 10'000, 4096), (FirmwarePart{0, 8192}));
  EXPECT_EQ(nvme::firmware_part(image, 8192, 10'000, 4096), (FirmwarePart{8192, 8192}));
  EXPECT_EQ(nvme::firmware_part(image, 16384, 10'000, 4096), (FirmwarePart{16384, 3620}));
  EXPECT_EQ(nvme::firmware_part(image, image, 10'000, 4096), (FirmwarePart{image, 0}));
  EXPECT_EQ(nvme::firmware_part(image, image + 4, 10'000, 4096), (FirmwarePart{image, 0}));
  EXPECT_EQ(nvme::firmware_part(image, 0, 1 << 20, 4096), (FirmwarePart{0, 20'004}));
}

TEST(Firmware, AGranularityAboveTheLongestTransferIsNotKept) {
  EXPECT_EQ(nvme::firmware_part(1 << 20, 0, 8190, 65536), (FirmwarePart{0, 8188}));
}

TEST(Firmware, ThePartsCoverEveryImageOnce) {
  for (std::uint64_t image = 4; image < 100'000; image += 4 * 997) {
    for (const std::uint32_t granularity : {4U, 4096U, 12288U}) {
      std::uint64_t covered = 0;
      for (;;) {
        const FirmwarePart part = nvme::firmware_part(image, covered, 16384, granularity);
        EXPECT_EQ(part.offset_bytes, covered);
        if (part.length_bytes == 0) break;
        EXPECT_LE(part.length_bytes, 16384U);
        EXPECT_EQ(part.length_bytes % 4, 0U);
        covered += part.length_bytes;
        EXPECT_TRUE(covered == image || covered % granularity == 0);
      }
      EXPECT_EQ(covered, image);
    }
  }
}

TEST(Firmware, EachValueHasAName) {
  EXPECT_EQ(nvme::max_firmware_slots, 7U);
  wire::expect_names<FirmwareAction>({{0, "replace"},
                                      {1, "replace_and_activate"},
                                      {2, "activate"},
                                      {3, "activate_now"},
                                      {6, "replace_boot_partition"},
                                      {7, "activate_boot_partition"}},
                                     255, "unknown firmware action");
  wire::expect_names<FirmwareState>({{0, "refused"},
                                     {1, "stored"},
                                     {2, "needs_controller_reset"},
                                     {3, "needs_subsystem_reset"},
                                     {4, "needs_conventional_reset"},
                                     {5, "active"}},
                                    255, "unknown firmware state");
}

}  // namespace
