// SPDX-License-Identifier: BSL-1.0
//
// NvmeFirmware: the firmware slots of a simulated NVMe controller.
//
//   1. The driver downloads an image in parts, in any order (Firmware Image Download).
//   2. Firmware Commit stores the image in a slot, activates a slot at the next reset, or both, or
//      stores an image, if there is one, and activates the slot at once.
//   3. Identify and the Firmware Slot log tell the revision that runs.
// A reset gives up an image that was not committed.

#ifndef BLKOWN_SIM_DEVICE_NVME_FIRMWARE_HPP
#define BLKOWN_SIM_DEVICE_NVME_FIRMWARE_HPP

#include <algorithm>
#include <array>
#include <blkown/config.hpp>
#include <blkown/nvme/firmware.hpp>
#include <blkown/nvme/log_page.hpp>
#include <blkown/nvme/status.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// A valid firmware image begins with these bytes, which eight bytes follow: its revision, filled
/// up with spaces. The other bytes are any.
inline constexpr std::string_view nvme_firmware_magic = "BLKOWNFW";

namespace detail {

/// The slots, and the image that is being downloaded. Slot 1 is read only.
/// Context: one at a time.
class NvmeFirmware {
 public:
  using Code = nvme::StatusCode;
  using Revision = std::array<char, 8>;

  static constexpr unsigned slot_count = 3;
  /// FWUG: the parts of an image are multiples of this.
  static constexpr std::uint64_t granularity_bytes = 4096;
  static constexpr std::uint64_t max_image_bytes = 1 << 20;

  /// Whether a part of an image may be this long, and there.
  [[nodiscard]] static bool is_part_valid(std::uint64_t offset_bytes,
                                          std::uint64_t length_bytes) noexcept {
    return offset_bytes % granularity_bytes == 0 && length_bytes % granularity_bytes == 0 &&
           length_bytes <= max_image_bytes && offset_bytes <= max_image_bytes - length_bytes;
  }
  /// Adds a part to the image.
  /// Precondition: is_part_valid().
  /// Errors: overlapping_range, if the image has one of these bytes already.
  [[nodiscard]] Code download(std::uint64_t offset_bytes, std::span<const std::byte> part) {
    const auto first = static_cast<std::size_t>(offset_bytes / granularity_bytes);
    const std::size_t count = part.size() / granularity_bytes;
    for (std::size_t i = first; i < std::min(first + count, has_.size()); ++i) {
      if (has_[i]) return Code::overlapping_range;
    }
    if (image_.size() < offset_bytes + part.size()) {
      image_.resize(static_cast<std::size_t>(offset_bytes) + part.size());
      has_.resize(image_.size() / granularity_bytes);
    }
    std::memcpy(image_.data() + offset_bytes, part.data(), part.size());
    std::fill_n(has_.begin() + static_cast<std::ptrdiff_t>(first), count, true);
    return Code::success;
  }
  /// Source: NVMe Base 1.4, section 5.11.
  /// Errors: invalid_field, invalid_firmware_slot, invalid_firmware_image.
  [[nodiscard]] Code commit(unsigned slot, nvme::FirmwareAction action) {
    switch (action) {
      case nvme::FirmwareAction::replace: return replace(slot, false);
      case nvme::FirmwareAction::replace_and_activate: return replace(slot, true);
      case nvme::FirmwareAction::activate: return choose(slot);
      case nvme::FirmwareAction::activate_now: {
        const Code code = has_.empty() ? choose(slot) : replace(slot, true);
        if (code == Code::success) activate();
        return code;
      }
      default: return Code::invalid_field;  // boot partitions
    }
  }
  /// A reset of the controller.
  void reset() {
    give_up_image();
    activate();
  }

  /// The revision that runs. The image in its slot may have been replaced.
  [[nodiscard]] const Revision& revision() const noexcept { return running_; }
  [[nodiscard]] nvme::FirmwareSlotLog log() const noexcept {
    nvme::FirmwareSlotLog log;
    log.set_slots(active_, next_);
    std::ranges::copy(revisions_, log.revisions.begin());
    return log;
  }

 private:
  /// The slot is the next one.
  [[nodiscard]] Code choose(unsigned slot) noexcept {
    if (slot == 0 || slot > slot_count) return Code::invalid_firmware_slot;
    if (revisions_[slot - 1] == Revision{}) return Code::invalid_firmware_image;
    next_ = slot;
    return Code::success;
  }
  [[nodiscard]] Code replace(unsigned slot, bool activates) {
    if (slot == 0) slot = find_slot();
    if (slot == 1 || slot > slot_count) return Code::invalid_firmware_slot;
    const bool is_whole = !has_.empty() && std::ranges::find(has_, false) == has_.end();
    const bool is_valid = is_whole && std::memcmp(image_.data(), nvme_firmware_magic.data(),
                                                  nvme_firmware_magic.size()) == 0;
    if (is_valid) {
      std::memcpy(revisions_[slot - 1].data(), image_.data() + nvme_firmware_magic.size(),
                  sizeof(Revision));
      if (activates) next_ = slot;
    }
    give_up_image();
    return is_valid ? Code::success : Code::invalid_firmware_image;
  }
  /// The slot that the controller chooses: an empty one, or the last.
  [[nodiscard]] unsigned find_slot() const noexcept {
    const auto empty = std::ranges::find(revisions_, Revision{});
    return empty == revisions_.end() ? slot_count
                                     : static_cast<unsigned>(empty - revisions_.begin()) + 1;
  }
  void give_up_image() {
    image_.clear();
    has_.clear();
  }
  void activate() noexcept {
    if (next_ == 0) return;
    active_ = next_;
    running_ = revisions_[active_ - 1];
    next_ = 0;
  }

  std::array<Revision, slot_count> revisions_{{{'1', '.', '0', ' ', ' ', ' ', ' ', ' '}}};
  Revision running_ = revisions_[0];
  unsigned active_ = 1;
  unsigned next_ = 0;  // at the next reset
  std::vector<std::byte> image_;
  std::vector<bool> has_;  // which units of the granularity were downloaded
};

}  // namespace detail

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
