// SPDX-License-Identifier: BSL-1.0
//
// The controller's registers, in the memory of its BAR 0.

#ifndef EXAMPLES_KERNEL_REGISTERS_HPP
#define EXAMPLES_KERNEL_REGISTERS_HPP

#include <cstdint>

#include "../nvme/registers.hpp"
#include "cpu.hpp"

namespace kernel {

/// The register access of nvme_driver, at an address of the identity map.
class Registers {
 public:
  explicit Registers(std::uint64_t bar) : bar_{bar} {}

  [[nodiscard]] std::uint32_t read32(std::uint64_t offset) const {
    return cpu::read32(bar_ + offset);
  }
  [[nodiscard]] std::uint64_t read64(std::uint64_t offset) const {
    return cpu::read64(bar_ + offset);
  }
  void write32(std::uint64_t offset, std::uint32_t value) { cpu::write32(bar_ + offset, value); }
  void write64(std::uint64_t offset, std::uint64_t value) { cpu::write64(bar_ + offset, value); }

 private:
  std::uint64_t bar_;
};
static_assert(nvme_driver::Registers<Registers>);

}  // namespace kernel

#endif
