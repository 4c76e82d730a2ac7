// SPDX-License-Identifier: BSL-1.0
//
// Translations: the IOMMU's translations of a container, changed past the library, as a driver with
// a bug would change them.

#ifndef EXAMPLES_NVME_VFIO_TRANSLATIONS_HPP
#define EXAMPLES_NVME_VFIO_TRANSLATIONS_HPP

#include <linux/vfio.h>
#include <sys/ioctl.h>

#include <blkown/dma/iova.hpp>
#include <cstddef>
#include <cstdint>

#include "failure.hpp"

namespace nvme_vfio {

class Translations {
 public:
  explicit Translations(int container) noexcept : container_{container} {}

  /// Removes the translations of the pages. Returns when no cache of the IOMMU holds them.
  void remove(const blkown::dma::IovaSegment& segment) {
    vfio_iommu_type1_dma_unmap request{};
    request.argsz = sizeof request;
    request.iova = first_page(segment.iova);
    request.size = bytes_of_pages(segment);
    must(ioctl(container_, VFIO_IOMMU_UNMAP_DMA, &request), "VFIO_IOMMU_UNMAP_DMA");
    expect(request.size == bytes_of_pages(segment), "the memory was not mapped");
  }
  /// Makes them again. Returns whether that succeeded.
  [[nodiscard]] bool restore(const blkown::dma::IovaSegment& segment, std::byte* data) {
    vfio_iommu_type1_dma_map request{};
    request.argsz = sizeof request;
    request.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
    request.vaddr = first_page(reinterpret_cast<std::uintptr_t>(data));
    request.iova = first_page(segment.iova);
    request.size = bytes_of_pages(segment);
    return ioctl(container_, VFIO_IOMMU_MAP_DMA, &request) == 0;
  }

 private:
  static constexpr std::uint64_t page_bytes = 4096;

  [[nodiscard]] static std::uint64_t first_page(std::uint64_t address) noexcept {
    return address - address % page_bytes;
  }
  [[nodiscard]] static std::uint64_t bytes_of_pages(
      const blkown::dma::IovaSegment& segment) noexcept {
    return first_page(segment.iova + segment.length_bytes + page_bytes - 1) -
           first_page(segment.iova);
  }

  int container_;
};

}  // namespace nvme_vfio

#endif
