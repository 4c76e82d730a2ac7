// SPDX-License-Identifier: BSL-1.0
//
// A PCI device that the kernel's vfio-pci driver has: its registers, its interrupts, and the
// backend that maps memory for it in the IOMMU.

#ifndef EXAMPLES_NVME_VFIO_VFIO_HPP
#define EXAMPLES_NVME_VFIO_VFIO_HPP

#include <fcntl.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <blkown/dma/backend.hpp>
#include <blkown/dma/ring_word.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <filesystem>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "failure.hpp"

namespace nvme_vfio {

namespace dma = blkown::dma;

/// The device. It satisfies nvme_driver::Registers with BAR 0.
class PciDevice {
 public:
  explicit PciDevice(const std::string& address) {
    const std::string link = "/sys/bus/pci/devices/" + address + "/iommu_group";
    std::error_code error;
    const auto group_path = std::filesystem::read_symlink(link, error);
    expect(!error, link + ": " + error.message());
    const std::string group_node = "/dev/vfio/" + group_path.filename().string();
    container_ = must(open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC), "open /dev/vfio/vfio");
    group_ = must(open(group_node.c_str(), O_RDWR | O_CLOEXEC), group_node.c_str());
    must(ioctl(group_, VFIO_GROUP_SET_CONTAINER, &container_), "VFIO_GROUP_SET_CONTAINER");
    must(ioctl(container_, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), "VFIO_SET_IOMMU");
    device_ =
        must(ioctl(group_, VFIO_GROUP_GET_DEVICE_FD, address.c_str()), "VFIO_GROUP_GET_DEVICE_FD");
    const vfio_region_info bar = region(VFIO_PCI_BAR0_REGION_INDEX);
    bytes_ = bar.size;
    void* const memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, device_,
                              static_cast<off_t>(bar.offset));
    if (memory == MAP_FAILED) throw Failed{text("mmap of BAR 0: %s", std::strerror(errno))};
    registers_ = static_cast<std::byte*>(memory);
    enable_bus_master();
  }
  PciDevice(const PciDevice&) = delete;
  PciDevice& operator=(const PciDevice&) = delete;
  ~PciDevice() {
    munmap(registers_, bytes_);
    for (const int file : {device_, group_, container_}) close(file);
  }

  [[nodiscard]] int container() const noexcept { return container_; }

  std::uint32_t read32(std::uint64_t offset) noexcept {
    return dma::load_acquire(word<std::uint32_t>(offset));
  }
  std::uint64_t read64(std::uint64_t offset) noexcept {
    return dma::load_acquire(word<std::uint64_t>(offset));
  }
  void write32(std::uint64_t offset, std::uint32_t value) noexcept {
    dma::store_release(word<std::uint32_t>(offset), value);
  }
  void write64(std::uint64_t offset, std::uint64_t value) noexcept {
    dma::store_release(word<std::uint64_t>(offset), value);
  }

  /// Resets the function (FLR). Returns whether that is complete.
  [[nodiscard]] bool try_reset() noexcept { return ioctl(device_, VFIO_DEVICE_RESET) == 0; }

  /// Makes MSI-X vector i signal the i-th eventfd.
  void signal_vectors(std::span<const int> eventfds) {
    std::vector<std::byte> memory(sizeof(vfio_irq_set) + eventfds.size_bytes());
    vfio_irq_set set{};
    set.argsz = static_cast<std::uint32_t>(memory.size());
    set.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
    set.index = VFIO_PCI_MSIX_IRQ_INDEX;
    set.count = static_cast<std::uint32_t>(eventfds.size());
    std::memcpy(memory.data(), &set, sizeof set);
    std::memcpy(memory.data() + sizeof set, eventfds.data(), eventfds.size_bytes());
    must(ioctl(device_, VFIO_DEVICE_SET_IRQS, memory.data()), "VFIO_DEVICE_SET_IRQS");
  }

 private:
  [[nodiscard]] vfio_region_info region(std::uint32_t index) const {
    vfio_region_info info{};
    info.argsz = sizeof info;
    info.index = index;
    must(ioctl(device_, VFIO_DEVICE_GET_REGION_INFO, &info), "VFIO_DEVICE_GET_REGION_INFO");
    return info;
  }

  /// Without the command register's bit 2 no memory access of the device leaves it.
  void enable_bus_master() {
    const auto at = static_cast<off_t>(region(VFIO_PCI_CONFIG_REGION_INDEX).offset + 4);
    std::uint16_t command = 0;
    must(pread(device_, &command, sizeof command, at), "read of the PCI command register");
    command |= 0x6;  // memory space, bus master
    must(pwrite(device_, &command, sizeof command, at), "write of the PCI command register");
  }

  template <class T>
  [[nodiscard]] T& word(std::uint64_t offset) const noexcept {
    return *reinterpret_cast<T*>(registers_ + offset);
  }

  int container_ = -1;
  int group_ = -1;
  int device_ = -1;
  std::byte* registers_ = nullptr;
  std::size_t bytes_ = 0;
};

/// The backend that maps memory in the IOMMU domain of a VFIO container. No address is used twice,
/// so that an access with the address of an earlier mapping always faults.
class VfioBackend {
 public:
  static constexpr std::uint64_t page_bytes = 4096;

  explicit VfioBackend(int container) noexcept : container_{container} {}

  [[nodiscard]] dma::DeviceLimits limits() const noexcept {
    return {.max_segments = 256, .max_segment_bytes = std::uint64_t{4} << 20};
  }
  [[nodiscard]] std::expected<std::uint64_t, dma::MapFailure> map(const blkown::Segment& memory,
                                                                  dma::Direction direction,
                                                                  const blkown::Cookie&) noexcept {
    const std::uint64_t offset = reinterpret_cast<std::uintptr_t>(memory.data) % page_bytes;
    const std::uint64_t bytes = whole_pages(offset + memory.length_bytes);
    const std::lock_guard lock{mutex_};
    // A page between any two mappings stays unmapped.
    const std::uint64_t iova = std::exchange(next_, next_ + bytes + page_bytes);
    if (!map_at(iova, memory.data - offset, bytes, direction))
      return std::unexpected(dma::MapFailure::refused);
    return iova + offset;
  }
  std::expected<void, dma::MapFailure> unmap(const dma::IovaSegment& segment) noexcept {
    const std::uint64_t offset = segment.iova % page_bytes;
    vfio_iommu_type1_dma_unmap range{};
    range.argsz = sizeof range;
    range.iova = segment.iova - offset;
    range.size = whole_pages(offset + segment.length_bytes);
    if (ioctl(container_, VFIO_IOMMU_UNMAP_DMA, &range) == 0) return {};
    return std::unexpected(dma::MapFailure::unmap_failed);
  }
  /// VFIO's unmap returns when the IOMMU's caches have dropped the translations.
  std::expected<void, dma::MapFailure> invalidate(std::span<const dma::IovaSegment>) noexcept {
    return {};
  }

  /// Maps whole pages at an address.
  [[nodiscard]] bool map_at(std::uint64_t iova, std::byte* data, std::uint64_t bytes,
                            dma::Direction direction) noexcept {
    vfio_iommu_type1_dma_map range{};
    range.argsz = sizeof range;
    if (dma::device_reads(direction)) range.flags |= VFIO_DMA_MAP_FLAG_READ;
    if (dma::device_writes(direction)) range.flags |= VFIO_DMA_MAP_FLAG_WRITE;
    range.vaddr = reinterpret_cast<std::uintptr_t>(data);
    range.iova = iova;
    range.size = bytes;
    return ioctl(container_, VFIO_IOMMU_MAP_DMA, &range) == 0;
  }

 private:
  [[nodiscard]] static std::uint64_t whole_pages(std::uint64_t bytes) noexcept {
    return (bytes + page_bytes - 1) / page_bytes * page_bytes;
  }

  int container_;
  std::mutex mutex_;
  std::uint64_t next_ = std::uint64_t{1} << 32;  // above the window of the interrupts
};
static_assert(dma::Backend<VfioBackend>);

}  // namespace nvme_vfio

#endif
