// SPDX-License-Identifier: BSL-1.0
//
// Firmware updates: what Firmware Commit does and answers, and the parts in which an image is
// downloaded.
//
//   1. The host sends the image with Firmware Image Download, part by part (firmware_part). The
//      controller keeps the parts aside.
//   2. Firmware Commit puts the image into a slot, or chooses a slot to activate, or both.
//   3. firmware_state says what the completion means: the firmware runs, or needs which reset.
//   4. The Firmware Slot Information log (FirmwareSlotLog) names the active slot and the next one.
//
// A reset between 1 and 2 discards the parts.
// Source: NVMe Base 1.4, sections 5.11, 5.12 and 8.1.

#ifndef BLKOWN_NVME_FIRMWARE_HPP
#define BLKOWN_NVME_FIRMWARE_HPP

#include <algorithm>
#include <blkown/config.hpp>
#include <blkown/nvme/status.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace nvme {

/// What Firmware Commit does.
/// Source: NVMe Base 1.4, section 5.11.
enum class FirmwareAction : std::uint8_t {
  replace = 0,               ///< Stores the downloaded image in the slot.
  replace_and_activate = 1,  ///< The same, and the next reset activates it.
  activate = 2,              ///< The next reset activates the slot's image.
  activate_now = 3,  ///< Activates without a reset the downloaded image, or else the slot's.
  replace_boot_partition = 6,
  activate_boot_partition = 7,
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(FirmwareAction action) noexcept {
  switch (action) {
    case FirmwareAction::replace: return "replace";
    case FirmwareAction::replace_and_activate: return "replace_and_activate";
    case FirmwareAction::activate: return "activate";
    case FirmwareAction::activate_now: return "activate_now";
    case FirmwareAction::replace_boot_partition: return "replace_boot_partition";
    case FirmwareAction::activate_boot_partition: return "activate_boot_partition";
  }
  return "unknown firmware action";
}

/// The greatest slot of a controller.
inline constexpr unsigned max_firmware_slots = 7;

/// What has become of an image, or of a slot, after a Firmware Commit.
enum class FirmwareState : std::uint8_t {
  refused,                   ///< Nothing was committed: the status says why.
  stored,                    ///< In its slot or boot partition. No reset activates it.
  needs_controller_reset,    ///< Committed. The next controller level reset activates it.
  needs_subsystem_reset,     ///< Committed. An NVM subsystem reset activates it.
  needs_conventional_reset,  ///< Committed. A conventional reset of PCI Express activates it.
  active,                    ///< Running.
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(FirmwareState state) noexcept {
  switch (state) {
    case FirmwareState::refused: return "refused";
    case FirmwareState::stored: return "stored";
    case FirmwareState::needs_controller_reset: return "needs_controller_reset";
    case FirmwareState::needs_subsystem_reset: return "needs_subsystem_reset";
    case FirmwareState::needs_conventional_reset: return "needs_conventional_reset";
    case FirmwareState::active: return "active";
  }
  return "unknown firmware state";
}

/// What the completion of a Firmware Commit means. Three status codes are no failures: the image
/// was committed, and a reset has to activate it.
/// Source: NVMe Base 1.4, section 5.11.1.
[[nodiscard]] constexpr FirmwareState firmware_state(FirmwareAction action,
                                                     StatusField status) noexcept {
  switch (status.code()) {
    case StatusCode::firmware_needs_controller_reset: return FirmwareState::needs_controller_reset;
    case StatusCode::firmware_needs_subsystem_reset: return FirmwareState::needs_subsystem_reset;
    case StatusCode::firmware_needs_conventional_reset:
      return FirmwareState::needs_conventional_reset;
    case StatusCode::success: break;
    default: return FirmwareState::refused;
  }
  switch (action) {
    case FirmwareAction::replace_and_activate:
    case FirmwareAction::activate: return FirmwareState::needs_controller_reset;
    case FirmwareAction::activate_now: return FirmwareState::active;
    default: return FirmwareState::stored;
  }
}

/// A part of an image: what one Firmware Image Download carries.
struct FirmwarePart {
  std::uint64_t offset_bytes = 0;
  std::uint32_t length_bytes = 0;
  friend constexpr bool operator==(const FirmwarePart&, const FirmwarePart&) = default;
};

/// The part of an image that begins at `offset_bytes`: as long as a command may be, and every part
/// but the last a multiple of the granularity. Of length 0 behind the image.
/// `granularity_bytes` is IdentifyController::firmware_granularity_bytes. If the controller
/// contradicts itself, with a granularity above its longest transfer, the transfer's limit counts.
/// Precondition: `image_bytes` and `offset_bytes` are multiples of 4, `granularity_bytes` is not 0,
/// and `max_transfer_bytes` is at least 4.
[[nodiscard]] constexpr FirmwarePart firmware_part(std::uint64_t image_bytes,
                                                   std::uint64_t offset_bytes,
                                                   std::uint32_t max_transfer_bytes,
                                                   std::uint32_t granularity_bytes) noexcept {
  if (offset_bytes >= image_bytes) return {.offset_bytes = image_bytes, .length_bytes = 0};
  std::uint32_t longest = max_transfer_bytes - max_transfer_bytes % granularity_bytes;
  if (longest == 0) longest = max_transfer_bytes - max_transfer_bytes % 4;
  return {.offset_bytes = offset_bytes,
          .length_bytes = static_cast<std::uint32_t>(
              std::min<std::uint64_t>(image_bytes - offset_bytes, longest))};
}

}  // namespace nvme
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
