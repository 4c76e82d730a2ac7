// SPDX-License-Identifier: BSL-1.0
//
// The instructions of an x86-64 processor that C++ has no word for.

#ifndef EXAMPLES_KERNEL_CPU_HPP
#define EXAMPLES_KERNEL_CPU_HPP

#include <cstdint>

namespace kernel::cpu {

inline void out8(std::uint16_t port, std::uint8_t value) {
  asm volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}
inline void out32(std::uint16_t port, std::uint32_t value) {
  asm volatile("outl %0, %1" ::"a"(value), "Nd"(port));
}
[[nodiscard]] inline std::uint8_t in8(std::uint16_t port) {
  std::uint8_t value;
  asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}
[[nodiscard]] inline std::uint32_t in32(std::uint16_t port) {
  std::uint32_t value;
  asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}

// The memory clobbers keep the compiler from moving accesses across a change of the interrupt flag.

inline void enable_interrupts() { asm volatile("sti" ::: "memory"); }
inline void disable_interrupts() { asm volatile("cli" ::: "memory"); }
/// Waits for an interrupt. The instruction behind sti is executed before an interrupt is taken, so
/// that an interrupt that is pending already ends the wait.
/// Precondition: interrupts are disabled. They are enabled afterwards.
inline void enable_interrupts_and_wait() { asm volatile("sti; hlt" ::: "memory"); }
/// Waits for an interrupt.
/// Precondition: interrupts are enabled, and one comes within the time that the caller has.
inline void wait() { asm volatile("hlt" ::: "memory"); }
/// Stops for good.
[[noreturn]] inline void halt() {
  for (;;) asm volatile("cli; hlt" ::: "memory");
}

[[nodiscard]] inline std::uint64_t cr2() {
  std::uint64_t value;
  asm volatile("mov %%cr2, %0" : "=r"(value));
  return value;
}

/// The registers of devices: one access of this width, neither repeated nor left out.
[[nodiscard]] inline std::uint32_t read32(std::uint64_t address) {
  return *reinterpret_cast<const volatile std::uint32_t*>(address);
}
[[nodiscard]] inline std::uint64_t read64(std::uint64_t address) {
  return *reinterpret_cast<const volatile std::uint64_t*>(address);
}
/// x86-64 does not reorder stores, and the page of a device is not cached, so a device that gets
/// this store finds all earlier stores to memory. The clobber binds the compiler to that order.
inline void write32(std::uint64_t address, std::uint32_t value) {
  asm volatile("" ::: "memory");
  *reinterpret_cast<volatile std::uint32_t*>(address) = value;
}
inline void write64(std::uint64_t address, std::uint64_t value) {
  asm volatile("" ::: "memory");
  *reinterpret_cast<volatile std::uint64_t*>(address) = value;
}

}  // namespace kernel::cpu

#endif
