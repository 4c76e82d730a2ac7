// SPDX-License-Identifier: BSL-1.0
//
// Registers: the controller's registers, and the moment after one of the driver's doorbells.

#ifndef EXAMPLES_NVME_VFIO_REGISTERS_HPP
#define EXAMPLES_NVME_VFIO_REGISTERS_HPP

#include <blkown/dma/vfio_pci.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>

#include "../nvme/registers.hpp"

namespace nvme_vfio {

class Registers {
 public:
  explicit Registers(blkown::dma::VfioRegisters&& bar) noexcept : bar_{std::move(bar)} {}

  /// The length of the BAR.
  [[nodiscard]] std::size_t bytes() const noexcept { return bar_.bytes(); }

  std::uint32_t read32(std::uint64_t offset) noexcept { return bar_.read32(offset); }
  std::uint64_t read64(std::uint64_t offset) noexcept { return bar_.read64(offset); }
  void write32(std::uint64_t offset, std::uint32_t value) {
    bar_.write32(offset, value);
    if (offset == awaited_) std::exchange(after_write_, {})();
  }
  void write64(std::uint64_t offset, std::uint64_t value) noexcept { bar_.write64(offset, value); }

  /// Calls the function once, straight after the next 32-bit write at this offset. An empty one
  /// cancels that.
  void after_write(std::uint64_t offset, std::function<void()> function) {
    awaited_ = function ? offset : nowhere;
    after_write_ = [this, function = std::move(function)] {
      awaited_ = nowhere;
      function();
    };
  }

 private:
  static constexpr std::uint64_t nowhere = UINT64_MAX;

  blkown::dma::VfioRegisters bar_;
  std::uint64_t awaited_ = nowhere;
  std::function<void()> after_write_;
};
static_assert(nvme_driver::Registers<Registers>);

}  // namespace nvme_vfio

#endif
