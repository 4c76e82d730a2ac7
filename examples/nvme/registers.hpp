// SPDX-License-Identifier: BSL-1.0
//
// Registers: how the driver reaches a controller's registers.

#ifndef EXAMPLES_NVME_REGISTERS_HPP
#define EXAMPLES_NVME_REGISTERS_HPP

#include <concepts>
#include <cstdint>

namespace nvme_driver {

/// Access to a controller's registers at byte offsets of its memory BAR: a BAR mapped by a kernel
/// or through VFIO, or a simulated controller.
///
///   std::uint32_t read32(std::uint64_t offset);
///   std::uint64_t read64(std::uint64_t offset);
///   void write32(std::uint64_t offset, std::uint32_t value);
///   void write64(std::uint64_t offset, std::uint64_t value);
///
/// The controller sees every earlier write to memory before it sees the write to a register, and no
/// later access is made before a read of a register has returned.
/// Context: any, interrupts included. Several contexts at a time, for different registers.
/// Source: the kernel's readl, writel and their barriers.
template <class R>
concept Registers =
    requires(R& registers, std::uint64_t offset, std::uint32_t low, std::uint64_t whole) {
      { registers.read32(offset) } -> std::same_as<std::uint32_t>;
      { registers.read64(offset) } -> std::same_as<std::uint64_t>;
      { registers.write32(offset, low) } -> std::same_as<void>;
      { registers.write64(offset, whole) } -> std::same_as<void>;
    };

}  // namespace nvme_driver

#endif
