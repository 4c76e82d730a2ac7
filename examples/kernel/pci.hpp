// SPDX-License-Identifier: BSL-1.0
//
// PCI functions on bus 0: configuration space through the ports 0xcf8 and 0xcfc, BAR 0, MSI-X.

#ifndef EXAMPLES_KERNEL_PCI_HPP
#define EXAMPLES_KERNEL_PCI_HPP

#include <cstdint>
#include <optional>

#include "cpu.hpp"

namespace kernel {

/// One function of a PCI device.
class PciFunction {
 public:
  /// The first function on bus 0 with this class code: base class, subclass, interface.
  [[nodiscard]] static std::optional<PciFunction> find(std::uint32_t class_code) {
    for (std::uint32_t address = 0; address != 1U << 8; ++address) {
      const PciFunction function{address << 8};
      if (function.read(0) != 0xffffffff && function.read(8) >> 8 == class_code) return function;
    }
    return std::nullopt;
  }

  /// Switches memory accesses on, of the processor and of the device, and the interrupt pin off.
  void enable() const {
    constexpr std::uint32_t memory = 2;
    constexpr std::uint32_t bus_master = 4;
    constexpr std::uint32_t no_interrupt_pin = 0x400;
    write(4, (read(4) & 0xffff) | memory | bus_master | no_interrupt_pin);
  }

  /// The address of a memory BAR, which the firmware has assigned.
  [[nodiscard]] std::uint64_t bar(std::uint32_t index) const {
    const std::uint32_t low = read(0x10 + 4 * index);
    const std::uint64_t high = (low & 6) == 4 ? read(0x14 + 4 * index) : 0;
    return high << 32 | (low & ~15U);
  }

  /// Lets entry 0 of the MSI-X table write `data` to `address`. False without MSI-X.
  [[nodiscard]] bool enable_msix(std::uint64_t address, std::uint32_t data) const {
    constexpr std::uint32_t msix = 0x11;
    std::uint32_t at = read(0x34) & 0xfc;
    while (at != 0 && (read(at) & 0xff) != msix) at = read(at) >> 8 & 0xfc;
    if (at == 0) return false;
    const std::uint32_t table = read(at + 4);
    const std::uint64_t entry = bar(table & 7) + (table & ~7U);
    cpu::write32(entry, static_cast<std::uint32_t>(address));
    cpu::write32(entry + 4, static_cast<std::uint32_t>(address >> 32));
    cpu::write32(entry + 8, data);
    cpu::write32(entry + 12, 0);  // not masked
    constexpr std::uint32_t enabled = 1U << 31;
    constexpr std::uint32_t all_masked = 1U << 30;
    write(at, (read(at) & ~all_masked) | enabled);
    return true;
  }

 private:
  explicit PciFunction(std::uint32_t address) : address_{address} {}

  [[nodiscard]] std::uint32_t read(std::uint32_t offset) const {
    cpu::out32(0xcf8, 1U << 31 | address_ | offset);
    return cpu::in32(0xcfc);
  }
  void write(std::uint32_t offset, std::uint32_t value) const {
    cpu::out32(0xcf8, 1U << 31 | address_ | offset);
    cpu::out32(0xcfc, value);
  }

  std::uint32_t address_;
};

}  // namespace kernel

#endif
