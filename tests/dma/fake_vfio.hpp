// SPDX-License-Identifier: BSL-1.0
//
// The kernel's VFIO as its documentation describes type 1, version 2, with one PCI device: whole
// pages, no overlap, no unmap of a part of a mapping. The device reaches memory only through live
// translations.

#ifndef BLKOWN_TESTS_DMA_FAKE_VFIO_HPP
#define BLKOWN_TESTS_DMA_FAKE_VFIO_HPP

#include <gtest/gtest.h>
#include <linux/vfio.h>

#include <array>
#include <blkown/dma/vfio.hpp>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace fake {

/// The kernel's side.
class VfioKernel {
 public:
  struct Mapping {
    std::uint64_t address = 0;
    std::uint64_t bytes = 0;
    std::uint32_t flags = 0;
  };
  static constexpr std::uint64_t page_bytes = 4096;

  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges{
      {0, 0xFEDF'FFFF}, {0xFEF0'0000, (std::uint64_t{1} << 39) - 1}};
  std::uint64_t page_sizes = page_bytes;
  std::size_t max_mappings = 65535;
  std::uint64_t lock_limit_bytes = ~std::uint64_t{0};
  int map_error = 0;                           ///< The errno value of the next map.
  std::size_t refuse_info = ~std::size_t{0};   ///< The index of the VFIO_IOMMU_GET_INFO that fails.
  std::function<void()> during_map;            ///< Called once, within the next map.
  std::size_t refuse_unmap = ~std::size_t{0};  ///< The index of the unmap that fails.
  std::map<std::uint64_t, Mapping> mappings;   ///< By device address.
  /// Changes the answer to VFIO_IOMMU_GET_INFO, whose capabilities stand at first_cap and
  /// ranges_cap.
  std::function<void(std::span<std::byte>)> edit_info;
  static constexpr std::size_t first_cap = sizeof(vfio_iommu_type1_info);
  static constexpr std::size_t ranges_cap = first_cap + 16;
  std::size_t infos = 0;
  std::size_t maps = 0;
  std::size_t unmaps = 0;

  int ioctl(unsigned long request, void* argument) {
    switch (request) {
      case VFIO_IOMMU_GET_INFO: return get_info(argument);
      case VFIO_IOMMU_MAP_DMA: return map(*static_cast<vfio_iommu_type1_dma_map*>(argument));
      case VFIO_IOMMU_UNMAP_DMA: return unmap(*static_cast<vfio_iommu_type1_dma_unmap*>(argument));
      default: return -ENOTTY;
    }
  }

  /// The memory behind a device address, for an access of this direction; null for a fault.
  [[nodiscard]] std::byte* translate(std::uint64_t iova, std::uint32_t flag) const {
    auto next = mappings.upper_bound(iova);
    if (next == mappings.begin()) return nullptr;
    const auto& [first, mapping] = *--next;
    if (iova - first >= mapping.bytes || (mapping.flags & flag) == 0) return nullptr;
    return reinterpret_cast<std::byte*>(mapping.address + (iova - first));
  }

 private:
  static_assert(sizeof(vfio_info_cap_header) == 8);

  int get_info(void* argument) {
    if (infos++ == refuse_info) return -EPERM;
    vfio_iommu_type1_info info;
    std::memcpy(&info, argument, sizeof info);
    if (info.argsz < sizeof info) return -EINVAL;
    // A capability that the backend does not know comes first.
    const std::array<std::uint32_t, 8> words{2U | (1U << 16),
                                             ranges_cap,
                                             7,
                                             7,
                                             VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE | (1U << 16),
                                             0,
                                             static_cast<std::uint32_t>(ranges.size()),
                                             0};
    const std::size_t ranges_bytes = ranges.size() * 16;
    const std::size_t whole_bytes = sizeof info + sizeof words + ranges_bytes;
    std::array<std::byte, 1024> all{};  // no heap: a test lets its allocations fail
    const bool has_room = info.argsz >= whole_bytes;
    info = {};
    info.flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS;
    info.iova_pgsizes = page_sizes;
    info.argsz = static_cast<std::uint32_t>(whole_bytes);
    info.cap_offset = has_room ? static_cast<std::uint32_t>(sizeof info) : 0;
    std::memcpy(all.data(), &info, sizeof info);
    std::memcpy(all.data() + sizeof info, words.data(), sizeof words);
    if (ranges_bytes != 0) {
      std::memcpy(all.data() + sizeof info + sizeof words, ranges.data(), ranges_bytes);
    }
    if (edit_info) edit_info(std::span{all}.first(whole_bytes));
    std::memcpy(argument, all.data(), has_room ? whole_bytes : sizeof info);
    return 0;
  }

  [[nodiscard]] bool is_in_range(std::uint64_t first, std::uint64_t last) const {
    for (const auto& [begin, end] : ranges) {
      if (begin <= first && last <= end) return true;
    }
    return false;
  }

  int map(const vfio_iommu_type1_dma_map& request) {
    ++maps;
    if (during_map) std::exchange(during_map, nullptr)();
    if (map_error != 0) return -std::exchange(map_error, 0);
    constexpr std::uint32_t both = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
    if (request.argsz != sizeof request || (request.flags & ~both) != 0 || request.flags == 0 ||
        request.size == 0 || (request.iova | request.vaddr | request.size) % page_bytes != 0) {
      return -EINVAL;
    }
    if (!is_in_range(request.iova, request.iova + request.size - 1)) return -EINVAL;
    for (const auto& [iova, mapping] : mappings) {
      if (iova < request.iova + request.size && request.iova < iova + mapping.bytes) return -EEXIST;
    }
    if (mappings.size() == max_mappings) return -ENOSPC;
    mappings[request.iova] = {request.vaddr, request.size, request.flags};
    return 0;
  }

  int unmap(vfio_iommu_type1_dma_unmap& request) {
    if (unmaps++ == refuse_unmap) return -EIO;
    if (request.argsz != sizeof request || request.flags != 0 || request.size == 0 ||
        (request.iova | request.size) % page_bytes != 0) {
      return -EINVAL;
    }
    const std::uint64_t end = request.iova + request.size;
    for (const auto& [iova, mapping] : mappings) {
      const bool overlaps = iova < end && request.iova < iova + mapping.bytes;
      if (overlaps && (iova < request.iova || end < iova + mapping.bytes)) return -EINVAL;
    }
    request.size = 0;
    for (auto it = mappings.lower_bound(request.iova); it != mappings.end() && it->first < end;) {
      request.size += it->second.bytes;
      it = mappings.erase(it);
    }
    return 0;
  }
};

/// The system calls of a backend alone.
struct VfioSystem {
  VfioKernel* kernel;
  [[nodiscard]] std::uint64_t lock_limit_bytes() const { return kernel->lock_limit_bytes; }
  int ioctl(int, unsigned long request, void* argument) const {
    return kernel->ioctl(request, argument);
  }
};

}  // namespace fake

#endif
