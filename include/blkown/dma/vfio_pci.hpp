// SPDX-License-Identifier: BSL-1.0
//
// VfioPciDevice: a PCI device that the kernel's vfio-pci driver has: its registers, interrupts and
// resets. Not part of dma.hpp: needs <linux/vfio.h>.
//
// Before: the device is bound to vfio-pci, for example with
//
//     echo vfio-pci > /sys/bus/pci/devices/ADDRESS/driver_override
//     echo ADDRESS > /sys/bus/pci/devices/ADDRESS/driver/unbind; echo ADDRESS > .../drivers_probe
//
//   1. open(address) opens a container, the device's group and the device.
//   2. Vfio::create(device.container(), ...) is the backend for the device's memory.
//   3. map_region(VFIO_PCI_BAR0_REGION_INDEX) maps the registers.
//   4. set_bus_master(true) lets the device reach memory and send interrupts.
//   5. set_msix(eventfds) makes each interrupt vector signal an eventfd.
//   6. reset() resets the function. After it returns true, the device has no access to memory in
//      flight: this is proof for Device::declare_stopped.
//
// The destructor closes the device. The kernel then resets the device and removes its translations.

#ifndef BLKOWN_DMA_VFIO_PCI_HPP
#define BLKOWN_DMA_VFIO_PCI_HPP

#include <linux/vfio.h>

#include <algorithm>
#include <array>
#include <blkown/config.hpp>
#include <blkown/dma/ring_word.hpp>
#include <blkown/dma/vfio.hpp>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <expected>
#include <span>
#include <string_view>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma {

/// A region of a device: a BAR, or the configuration space.
struct VfioRegion {
  std::uint64_t file_offset = 0;  ///< Where the region begins in the device's file.
  std::uint64_t bytes = 0;
  bool is_mappable = false;
};

/// Registers of a device in the program's address space, until this object is destroyed.
/// Precondition: an offset is aligned for the access and lies in the region.
/// Synchronization: a read acquires and a write releases, so that a doorbell is written behind the
/// entries of its ring. Holds for devices on x86-64; other machines may need barriers of their own.
/// Context: any.
template <class System = VfioSystem>
class BasicVfioRegisters {
 public:
  BasicVfioRegisters(BasicVfioRegisters&& other) noexcept
      : system_{other.system_},
        memory_{std::exchange(other.memory_, nullptr)},
        bytes_{other.bytes_} {}
  BasicVfioRegisters& operator=(BasicVfioRegisters&& other) noexcept {
    BasicVfioRegisters taken{std::move(other)};
    std::swap(memory_, taken.memory_);
    std::swap(bytes_, taken.bytes_);
    return *this;
  }
  ~BasicVfioRegisters() {
    if (memory_ != nullptr) system_.unmap_file(memory_, bytes_);
  }

  /// The length of the region.
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

  /// Reads a register, before all later accesses.
  [[nodiscard]] std::uint32_t read32(std::uint64_t offset) const noexcept {
    return load_acquire(word<std::uint32_t>(offset));
  }
  /// As read32, 64 bits at once.
  [[nodiscard]] std::uint64_t read64(std::uint64_t offset) const noexcept {
    return load_acquire(word<std::uint64_t>(offset));
  }
  /// Writes a register, after all earlier accesses.
  void write32(std::uint64_t offset, std::uint32_t value) const noexcept {
    store_release(word<std::uint32_t>(offset), value);
  }
  /// As write32, 64 bits at once.
  void write64(std::uint64_t offset, std::uint64_t value) const noexcept {
    store_release(word<std::uint64_t>(offset), value);
  }

 private:
  template <class>
  friend class BasicVfioPciDevice;

  BasicVfioRegisters(System system, std::byte* memory, std::size_t bytes) noexcept
      : system_{system}, memory_{memory}, bytes_{bytes} {}

  template <class T>
  [[nodiscard]] T& word(std::uint64_t offset) const noexcept {
    return *reinterpret_cast<T*>(memory_ + offset);
  }

  [[no_unique_address]] System system_;
  std::byte* memory_;
  std::size_t bytes_;
};

/// The device. Move-only. System: see VfioSystem.
/// Precondition: outlives the backend of its container, and the registers.
/// Context: any thread; one at a time.
template <class System = VfioSystem>
class BasicVfioPciDevice {
 public:
  static constexpr std::size_t max_vectors = 2048;  // of MSI-X

  /// Opens the device with this PCI address, such as "0000:00:04.0", in a container of its own.
  /// Errors: all steps up to device_info.
  [[nodiscard]] static std::expected<BasicVfioPciDevice, VfioError> open(const char* address,
                                                                         System system = {}) {
    BasicVfioPciDevice device{system};
    if (const VfioError error = device.open_all(address); error != VfioError{}) {
      return std::unexpected(error);
    }
    return device;
  }
  BasicVfioPciDevice(BasicVfioPciDevice&& other) noexcept
      : system_{other.system_}, files_{std::exchange(other.files_, no_files)} {}
  BasicVfioPciDevice& operator=(BasicVfioPciDevice&& other) noexcept {
    BasicVfioPciDevice taken{std::move(other)};
    std::swap(files_, taken.files_);
    return *this;
  }
  ~BasicVfioPciDevice() {
    for (const int file : {files_.device, files_.group, files_.container}) {
      if (file >= 0) system_.close(file);
    }
  }

  /// The container's file, for Vfio::create. The device keeps the file.
  [[nodiscard]] int container() const noexcept { return files_.container; }
  /// The device's file.
  [[nodiscard]] int file() const noexcept { return files_.device; }

  /// A region of the device, by VFIO_PCI_BAR0_REGION_INDEX and so on.
  /// Errors: region_info.
  [[nodiscard]] std::expected<VfioRegion, VfioError> region(std::uint32_t index) noexcept {
    vfio_region_info info{};
    info.argsz = sizeof info;
    info.index = index;
    const int result = system_.ioctl(files_.device, VFIO_DEVICE_GET_REGION_INFO, &info);
    if (result != 0) return failure(VfioStep::region_info, result);
    return VfioRegion{.file_offset = info.offset,
                      .bytes = info.size,
                      .is_mappable = (info.flags & VFIO_REGION_INFO_FLAG_MMAP) != 0};
  }
  /// Maps a region of registers.
  /// Errors: region_info, if the region is empty or cannot be mapped; map_region.
  [[nodiscard]] std::expected<BasicVfioRegisters<System>, VfioError> map_region(
      std::uint32_t index) noexcept {
    const auto found = region(index);
    if (!found.has_value()) return std::unexpected(found.error());
    if (found->bytes == 0 || !found->is_mappable) return failure(VfioStep::region_info, 0);
    const auto bytes = static_cast<std::size_t>(found->bytes);
    std::byte* const memory = system_.map_file(files_.device, found->file_offset, bytes);
    if (memory == nullptr) return failure(VfioStep::map_region, -errno);
    return BasicVfioRegisters<System>{system_, memory, bytes};
  }

  /// Lets the device reach memory and send interrupts, or forbids both. In both cases the device
  /// answers accesses to its registers.
  /// Errors: region_info, config_space.
  [[nodiscard]] std::expected<void, VfioError> set_bus_master(bool is_allowed) noexcept {
    constexpr std::uint16_t memory_space = 2;
    constexpr std::uint16_t bus_master = 4;
    const auto config = region(VFIO_PCI_CONFIG_REGION_INDEX);
    if (!config.has_value()) return std::unexpected(config.error());
    const std::uint64_t at = config->file_offset + 4;  // the command register
    std::array<std::byte, 2> bytes{};
    std::int64_t done = system_.read_at(files_.device, bytes, at);
    if (done != 2) return failure(VfioStep::config_space, done);
    std::uint16_t command = 0;
    std::memcpy(&command, bytes.data(), sizeof command);
    const unsigned kept = command & ~unsigned{bus_master};
    command = static_cast<std::uint16_t>(kept | memory_space | (is_allowed ? bus_master : 0U));
    std::memcpy(bytes.data(), &command, sizeof command);
    done = system_.write_at(files_.device, bytes, at);
    if (done != 2) return failure(VfioStep::config_space, done);
    return {};
  }

  /// The number of MSI-X vectors.
  /// Errors: set_interrupts.
  [[nodiscard]] std::expected<std::uint32_t, VfioError> msix_count() noexcept {
    vfio_irq_info info{};
    info.argsz = sizeof info;
    info.index = VFIO_PCI_MSIX_IRQ_INDEX;
    const int result = system_.ioctl(files_.device, VFIO_DEVICE_GET_IRQ_INFO, &info);
    if (result != 0) return failure(VfioStep::set_interrupts, result);
    return info.count;
  }
  /// Makes MSI-X vector i signal the i-th eventfd, and switches the other vectors off. No eventfd:
  /// switches MSI-X off. MSI-X that is on is switched off first, because the kernel changes the
  /// number of vectors only then: interrupts of that moment are lost.
  /// Precondition: the eventfds stay open until MSI-X is off.
  /// Errors: set_interrupts; E2BIG for more than max_vectors.
  [[nodiscard]] std::expected<void, VfioError> set_msix(std::span<const int> eventfds) noexcept {
    if (eventfds.size() > max_vectors) return failure(VfioStep::set_interrupts, -E2BIG);
    // The kernel's answer is EINVAL, if MSI-X is off already.
    int result = set_vectors({});
    if (result == -EINVAL) result = 0;
    if (result == 0 && !eventfds.empty()) result = set_vectors(eventfds);
    if (result != 0) return failure(VfioStep::set_interrupts, result);
    return {};
  }

  /// Resets the function (FLR or what the device has). The device then reaches no memory until it
  /// is programmed again.
  /// Errors: reset; the device may still reach memory.
  [[nodiscard]] std::expected<void, VfioError> reset() noexcept {
    const int result = system_.ioctl(files_.device, VFIO_DEVICE_RESET, nullptr);
    if (result != 0) return failure(VfioStep::reset, result);
    return {};
  }

 private:
  struct Files {
    int container = -1;
    int group = -1;
    int device = -1;
  };
  static constexpr Files no_files{};
  /// vfio_irq_set without the array of no length at its end.
  struct Header {
    std::uint32_t bytes;
    std::uint32_t flags;
    std::uint32_t index;
    std::uint32_t start;
    std::uint32_t count;
  };
  static constexpr std::size_t header_bytes = sizeof(Header);
  static_assert(header_bytes == sizeof(vfio_irq_set));

  explicit BasicVfioPciDevice(System system) noexcept : system_{system} {}

  [[nodiscard]] static std::unexpected<VfioError> failure(VfioStep step,
                                                          std::int64_t result) noexcept {
    return std::unexpected(error_of(step, result));
  }
  [[nodiscard]] static VfioError error_of(VfioStep step, std::int64_t result) noexcept {
    return {step, result < 0 ? static_cast<int>(-result) : 0};
  }

  /// VFIO_DEVICE_SET_IRQS for the MSI-X vectors from 0 on.
  /// Precondition: at most max_vectors.
  [[nodiscard]] int set_vectors(std::span<const int> eventfds) noexcept {
    alignas(vfio_irq_set) std::array<std::byte, header_bytes + max_vectors * sizeof(int)> request;
    const Header header{
        .bytes = static_cast<std::uint32_t>(header_bytes + eventfds.size_bytes()),
        .flags = VFIO_IRQ_SET_ACTION_TRIGGER |
                 static_cast<std::uint32_t>(eventfds.empty() ? VFIO_IRQ_SET_DATA_NONE
                                                             : VFIO_IRQ_SET_DATA_EVENTFD),
        .index = VFIO_PCI_MSIX_IRQ_INDEX,
        .start = 0,
        .count = static_cast<std::uint32_t>(eventfds.size())};
    std::memcpy(request.data(), &header, sizeof header);
    if (!eventfds.empty()) {
      std::memcpy(request.data() + header_bytes, eventfds.data(), eventfds.size_bytes());
    }
    return system_.ioctl(files_.device, VFIO_DEVICE_SET_IRQS, request.data());
  }

  /// Opens container, group and device. VfioError{}: done.
  [[nodiscard]] VfioError open_all(const char* address) {
    files_.container = system_.open("/dev/vfio/vfio");
    if (files_.container < 0) return error_of(VfioStep::open_container, files_.container);
    const int version = system_.ioctl(files_.container, VFIO_GET_API_VERSION, nullptr);
    if (version != VFIO_API_VERSION) return error_of(VfioStep::check_version, version);
    std::array<char, 64> node{};
    if (const VfioError error = find_group(address, node); error != VfioError{}) return error;
    files_.group = system_.open(node.data());
    if (files_.group < 0) return error_of(VfioStep::open_group, files_.group);
    if (const VfioError error = set_container(); error != VfioError{}) return error;
    files_.device =
        system_.ioctl(files_.group, VFIO_GROUP_GET_DEVICE_FD, const_cast<char*>(address));
    if (files_.device < 0) return error_of(VfioStep::open_device, files_.device);
    vfio_device_info info{};
    info.argsz = sizeof info;
    const int result = system_.ioctl(files_.device, VFIO_DEVICE_GET_INFO, &info);
    if (result != 0) return error_of(VfioStep::device_info, result);
    if ((info.flags & VFIO_DEVICE_FLAGS_PCI) == 0) return error_of(VfioStep::device_info, -ENODEV);
    return {};
  }

  /// The path of the group's node. The group's number is the last part of a link in sysfs.
  [[nodiscard]] VfioError find_group(const char* address, std::span<char> node) {
    std::array<char, 128> path{};
    const int length =
        std::snprintf(path.data(), path.size(), "/sys/bus/pci/devices/%s/iommu_group", address);
    if (static_cast<std::size_t>(length) >= path.size()) {  // or negative
      return error_of(VfioStep::find_group, -ENAMETOOLONG);
    }
    std::array<char, 256> target{};
    const std::int64_t bytes = system_.read_link(path.data(), target);
    if (bytes < 0) return error_of(VfioStep::find_group, bytes);
    const std::string_view link{target.data(), static_cast<std::size_t>(bytes)};
    const std::string_view number = link.substr(link.find_last_of('/') + 1);
    const bool is_number =
        !number.empty() && number.size() < 16 &&
        std::ranges::all_of(number, [](char digit) { return digit >= '0' && digit <= '9'; });
    if (!is_number) return error_of(VfioStep::find_group, -EINVAL);
    std::snprintf(node.data(), node.size(), "/dev/vfio/%.*s", static_cast<int>(number.size()),
                  number.data());
    return {};
  }

  /// Puts the group into the container, and gives the container an IOMMU.
  [[nodiscard]] VfioError set_container() {
    vfio_group_status status{};
    status.argsz = sizeof status;
    int result = system_.ioctl(files_.group, VFIO_GROUP_GET_STATUS, &status);
    if (result != 0) return error_of(VfioStep::check_group, result);
    if ((status.flags & VFIO_GROUP_FLAGS_VIABLE) == 0) {
      return error_of(VfioStep::check_group, -EBUSY);
    }
    result = system_.ioctl(files_.group, VFIO_GROUP_SET_CONTAINER, &files_.container);
    if (result != 0) return error_of(VfioStep::set_container, result);
    // The argument is the number itself, not an address.
    result = system_.ioctl(files_.container, VFIO_SET_IOMMU,
                           reinterpret_cast<void*>(std::uintptr_t{VFIO_TYPE1v2_IOMMU}));
    if (result != 0) return error_of(VfioStep::set_iommu, result);
    return {};
  }

  [[no_unique_address]] System system_;
  Files files_;
};

/// The device with the kernel's VFIO.
using VfioPciDevice = BasicVfioPciDevice<>;
/// Its registers.
using VfioRegisters = BasicVfioRegisters<>;

}  // namespace dma
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
