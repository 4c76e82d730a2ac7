// SPDX-License-Identifier: BSL-1.0
//
// Firmware: an image is requested for a device by its name, and loaded into the controller.
//
//   request   request_firmware() asks the caller's provider for the image. The holders of the image
//             share it by references, so that it outlives the device as well as the provider.
//   download  FirmwareLoader::load() copies part after part into a buffer of its own, and sends
//             each with Firmware Image Download.
//   commit    Firmware Commit puts the image into a slot, activates it, or both. The result says
//             whether the firmware runs, or which reset it needs: DriverOf::reset() is a controller
//             level reset.
//
// A device that is gone answers every step with `offline`. A command without an answer keeps the
// buffer until the controller is stopped, and its loader refuses everything from then on. Destroy
// it, reset, and create another: the drain after the stop frees the buffer. After an error of a
// download the controller may keep the parts that it has: a reset discards them.

#ifndef EXAMPLES_NVME_FIRMWARE_HPP
#define EXAMPLES_NVME_FIRMWARE_HPP

#include <algorithm>
#include <atomic>
#include <blkown/aref.hpp>
#include <blkown/dma/dma.hpp>
#include <blkown/nvme/nvme.hpp>
#include <blkown/status.hpp>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "controller_info.hpp"
#include "controller_registers.hpp"

namespace nvme_driver {

using blkown::nvme::FirmwareAction;
using blkown::nvme::FirmwareState;

/// Why a firmware image was not loaded.
enum class FirmwareFailure : std::uint8_t {
  offline,        ///< The device is gone.
  no_image,       ///< The provider has no image of this name, or an empty one.
  not_supported,  ///< The controller has no firmware commands.
  granularity,    ///< The image's length is no multiple of the controller's granularity.
  memory,         ///< The buffer could not be allocated or mapped.
  download,       ///< The controller has refused a part: see the status.
  commit,         ///< The controller has refused the image or the slot: see the status.
  no_answer,      ///< A command, or an earlier one of this loader, did not end in time, or a reset
                  ///< has begun.
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(FirmwareFailure failure) noexcept {
  switch (failure) {
    case FirmwareFailure::offline: return "offline";
    case FirmwareFailure::no_image: return "no_image";
    case FirmwareFailure::not_supported: return "not_supported";
    case FirmwareFailure::granularity: return "granularity";
    case FirmwareFailure::memory: return "memory";
    case FirmwareFailure::download: return "download";
    case FirmwareFailure::commit: return "commit";
    case FirmwareFailure::no_answer: return "no_answer";
  }
  return "unknown failure";
}

/// The error of a request or a load.
struct FirmwareError {
  FirmwareFailure reason{};
  StatusField field{};  ///< Of the command that was refused.
  friend constexpr bool operator==(const FirmwareError&, const FirmwareError&) = default;

  [[nodiscard]] constexpr blkown::Status status() const noexcept {
    switch (reason) {
      case FirmwareFailure::offline: return blkown::Status::offline;
      case FirmwareFailure::not_supported: return blkown::Status::not_supported;
      case FirmwareFailure::memory: return blkown::Status::resource;
      case FirmwareFailure::download:
      case FirmwareFailure::commit: return blkown::nvme::to_status(field);
      case FirmwareFailure::no_answer: return blkown::Status::timed_out;
      default: return blkown::Status::invalid;
    }
  }
};

/// A firmware image, which its holders share.
/// Source: the kernel's struct firmware.
class FirmwareImage {
 public:
  using Ref = blkown::ARef<FirmwareImage>;

  /// Makes an image. The result is its first reference.
  [[nodiscard]] static Ref create(std::string name, std::vector<std::byte> bytes) {
    return Ref::from_raw(new FirmwareImage{std::move(name), std::move(bytes)});
  }
  FirmwareImage(const FirmwareImage&) = delete;
  FirmwareImage& operator=(const FirmwareImage&) = delete;

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }

  void add_ref() noexcept { references_.fetch_add(1); }
  void drop_ref() noexcept {
    if (references_.fetch_sub(1) == 1) delete this;
  }

 private:
  FirmwareImage(std::string name, std::vector<std::byte> bytes)
      : name_{std::move(name)}, bytes_{std::move(bytes)} {}
  ~FirmwareImage() = default;

  std::string name_;
  std::vector<std::byte> bytes_;
  std::atomic<std::uint32_t> references_{1};
};

/// Where images come from: a folder, or what a program was built with.
///
///   std::optional<FirmwareImage::Ref> find(std::string_view name);
template <class P>
concept FirmwareProvider = requires(P& provider, std::string_view name) {
  { provider.find(name) } -> std::same_as<std::optional<FirmwareImage::Ref>>;
};

/// The image of this name, for a device: a Device, or anything with is_unplugged().
/// Errors: offline; no_image.
/// Context: may wait, if the provider does.
/// Source: the kernel's request_firmware.
template <class D, FirmwareProvider P>
[[nodiscard]] std::expected<FirmwareImage::Ref, FirmwareError> request_firmware(
    const D& device, P& provider, std::string_view name) {
  if (device.is_unplugged()) return std::unexpected(FirmwareError{FirmwareFailure::offline, {}});
  std::optional<FirmwareImage::Ref> image = provider.find(name);
  // The provider may have taken long.
  if (device.is_unplugged()) return std::unexpected(FirmwareError{FirmwareFailure::offline, {}});
  if (!image.has_value() || (*image)->bytes().empty()) {
    return std::unexpected(FirmwareError{FirmwareFailure::no_image, {}});
  }
  return *std::move(image);
}

/// Loads images into a controller. `C` is a Controller, `B` its DMA backend.
/// Precondition: the controller was started, and outlives the loader.
/// Effects: a loader that is destroyed before free() leaves its buffer to dma::Device::drain.
/// Context: that of the controller's start() and stop(), one at a time. Load while no reset can
/// begin: before the disks exist, or while they are idle.
template <class C, blkown::dma::Backend B>
class FirmwareLoader {
 public:
  /// Allocates the buffer, for parts that suit the controller.
  /// Errors: offline, not_supported, memory.
  [[nodiscard]] static std::expected<FirmwareLoader, FirmwareError> create(C& controller) {
    const ControllerInfo& info = controller.info();
    if (is_gone(controller)) return failed(FirmwareFailure::offline);
    if (!info.has_firmware_update) return failed(FirmwareFailure::not_supported);
    const auto longest = static_cast<std::uint32_t>(std::min<std::uint64_t>(
        info.max_transfer_bytes, std::max(usual_part_bytes, info.firmware_granularity_bytes)));
    const std::uint32_t part_bytes =
        blkown::nvme::firmware_part(max_image_bytes, 0, longest, info.firmware_granularity_bytes)
            .length_bytes;
    auto memory = Memory::allocate(controller.device(), std::size_t{page_bytes} + part_bytes);
    if (memory.has_value()) return FirmwareLoader{controller, *std::move(memory), part_bytes};
    const bool is_offline = memory.error().status() == blkown::Status::offline;
    return failed(is_offline ? FirmwareFailure::offline : FirmwareFailure::memory);
  }

  /// Downloads the image and commits it. Slot 0: the controller chooses one. The state says whether
  /// the firmware runs, or what activates it.
  /// Precondition: `action` is replace or replace_and_activate, or activate_now, which activates
  /// the image that was downloaded or the one in the slot, as the controller does.
  /// Errors: offline, within the admin timeout if the device goes meanwhile; granularity; download;
  /// commit; no_answer.
  [[nodiscard]] std::expected<FirmwareState, FirmwareError> load(const FirmwareImage& image,
                                                                 unsigned slot,
                                                                 FirmwareAction action) {
    const std::span<const std::byte> bytes = image.bytes();
    if (bytes.size() % granularity_bytes() != 0 || bytes.size() > max_image_bytes) {
      return failed(FirmwareFailure::granularity);
    }
    for (std::uint64_t at = 0; at != bytes.size();) {
      const auto part =
          blkown::nvme::firmware_part(bytes.size(), at, part_bytes_, granularity_bytes());
      const auto sent = send(bytes.subspan(static_cast<std::size_t>(at), part.length_bytes), at);
      if (!sent.has_value()) return failed(sent.error());
      if (!sent->is_success()) return failed(FirmwareFailure::download, *sent);
      at += part.length_bytes;
    }
    return commit(slot, action);
  }

  /// Commits without a download: activates a slot that has an image.
  /// Errors: offline, commit, no_answer.
  [[nodiscard]] std::expected<FirmwareState, FirmwareError> commit(unsigned slot,
                                                                   FirmwareAction action) {
    const auto status = execute(SubmissionEntry::firmware_commit(slot, action));
    if (!status.has_value()) return failed(status.error());
    const FirmwareState state = blkown::nvme::firmware_state(action, *status);
    if (state == FirmwareState::refused) return failed(FirmwareFailure::commit, *status);
    return state;
  }

  /// Frees the buffer. False: the proof does not cover it.
  [[nodiscard]] bool free(const blkown::dma::EndProof& proof) {
    auto freed = std::move(memory_).free(proof);
    if (!freed.has_value()) memory_ = std::move(freed.error());
    return freed.has_value();
  }

 private:
  using Memory = blkown::dma::Coherent<B>;

  /// Of a part, unless the granularity is larger.
  static constexpr std::uint32_t usual_part_bytes = 65536;
  /// What the offset of a part can express, as a multiple of every granularity's unit.
  static constexpr std::uint64_t max_image_bytes = std::uint64_t{1} << 34;

  FirmwareLoader(C& controller, Memory&& memory, std::uint32_t part_bytes) noexcept
      : controller_{&controller}, memory_{std::move(memory)}, part_bytes_{part_bytes} {}

  [[nodiscard]] static std::unexpected<FirmwareError> failed(FirmwareFailure reason,
                                                             StatusField field = {}) noexcept {
    return std::unexpected(FirmwareError{reason, field});
  }
  [[nodiscard]] static bool is_gone(const C& controller) noexcept {
    return controller.state().status().is_gone();
  }
  /// Of the firmware that runs: another one may have another granularity.
  [[nodiscard]] std::uint32_t granularity_bytes() const noexcept {
    return controller_->info().firmware_granularity_bytes;
  }

  /// Sends one part. The buffer's first page is the PRP list.
  [[nodiscard]] std::expected<StatusField, FirmwareFailure> send(std::span<const std::byte> part,
                                                                 std::uint64_t offset_bytes) {
    if (is_lost_) return std::unexpected(FirmwareFailure::no_answer);
    std::memcpy(memory_.data() + page_bytes, part.data(), part.size());
    const blkown::dma::IovaSegment run{memory_.segment().iova + page_bytes, part.size()};
    auto* const entries = reinterpret_cast<blkown::nvme::Le64*>(memory_.data());
    const blkown::nvme::PrpListPage list{{entries, page_bytes / sizeof *entries},
                                         memory_.segment().iova};
    const auto prps = blkown::nvme::build_prps({&run, 1}, {&list, 1}, page_bytes);
    if (!prps.has_value()) return std::unexpected(FirmwareFailure::memory);
    SubmissionEntry entry =
        SubmissionEntry::firmware_download(static_cast<std::uint32_t>(part.size()), offset_bytes);
    entry.prp1 = prps->prp1;
    entry.prp2 = prps->prp2;
    return execute(entry);
  }
  [[nodiscard]] std::expected<StatusField, FirmwareFailure> execute(const SubmissionEntry& entry) {
    if (is_gone(*controller_)) return std::unexpected(FirmwareFailure::offline);
    if (is_lost_) return std::unexpected(FirmwareFailure::no_answer);
    const auto result = controller_->execute(entry);
    if (result.has_value()) return result->status;
    is_lost_ = true;
    return std::unexpected(is_gone(*controller_) ? FirmwareFailure::offline
                                                 : FirmwareFailure::no_answer);
  }

  C* controller_;
  Memory memory_;
  std::uint32_t part_bytes_;
  bool is_lost_ = false;  // a command may still have the buffer
};

}  // namespace nvme_driver

#endif
