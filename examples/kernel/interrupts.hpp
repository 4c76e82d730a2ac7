// SPDX-License-Identifier: BSL-1.0
//
// The interrupt descriptor table and the local APIC: handlers for vectors, and a timer.

#ifndef EXAMPLES_KERNEL_INTERRUPTS_HPP
#define EXAMPLES_KERNEL_INTERRUPTS_HPP

#include <cstdint>
#include <utility>

#include "console.hpp"
#include "cpu.hpp"

namespace kernel {

/// What the processor pushes on the stack for a handler.
struct InterruptFrame {
  std::uint64_t rip;
  std::uint64_t cs;
  std::uint64_t flags;
  std::uint64_t rsp;
  std::uint64_t ss;
};
/// A function with the attribute gnu::interrupt, which saves all registers and returns with iretq.
using InterruptHandler = void (*)(InterruptFrame*);

/// The table of handlers.
class InterruptTable {
 public:
  constexpr InterruptTable() = default;
  InterruptTable(const InterruptTable&) = delete;
  InterruptTable& operator=(const InterruptTable&) = delete;

  void set(unsigned vector, InterruptHandler handler) {
    set_address(vector, reinterpret_cast<std::uintptr_t>(handler));
  }

  /// Makes this the processor's table. An exception ends the run.
  void load() {
    install_exceptions(std::make_integer_sequence<unsigned, 32>{});
    struct [[gnu::packed]] {
      std::uint16_t limit;
      std::uint64_t base;
    } const table{sizeof gates_ - 1, reinterpret_cast<std::uintptr_t>(gates_)};
    asm volatile("lidt %0" ::"m"(table));
  }

 private:
  struct Gate {
    std::uint16_t address_low = 0;
    std::uint16_t selector = 0;
    std::uint16_t type = 0;
    std::uint16_t address_middle = 0;
    std::uint32_t address_high = 0;
    std::uint32_t reserved = 0;
  };

  void set_address(unsigned vector, std::uint64_t address) {
    gates_[vector] = {static_cast<std::uint16_t>(address),
                      8,       // the code segment
                      0x8e00,  // present, an interrupt gate: the handler starts with the flag clear
                      static_cast<std::uint16_t>(address >> 16),
                      static_cast<std::uint32_t>(address >> 32),
                      0};
  }

  [[noreturn]] static void die(unsigned vector, std::uint64_t error, const InterruptFrame& frame) {
    fail("exception ", vector, ", error ", Hex{error}, ", rip ", Hex{frame.rip}, ", cr2 ",
         Hex{cpu::cr2()});
  }
  template <unsigned vector>
  [[gnu::interrupt]] static void on_exception(InterruptFrame* frame) {
    die(vector, 0, *frame);
  }
  template <unsigned vector>
  [[gnu::interrupt]] static void on_exception_with_error(InterruptFrame* frame,
                                                         unsigned long error) {
    die(vector, error, *frame);
  }

  template <unsigned... vectors>
  void install_exceptions(std::integer_sequence<unsigned, vectors...>) {
    (install_exception<vectors>(), ...);
  }
  template <unsigned vector>
  void install_exception() {
    constexpr std::uint32_t with_error = 1U << 8 | 0x1fU << 10 | 1U << 17 | 1U << 21 | 3U << 29;
    if constexpr ((with_error >> vector & 1) != 0) {
      set_address(vector, reinterpret_cast<std::uintptr_t>(&on_exception_with_error<vector>));
    } else {
      set(vector, &on_exception<vector>);
    }
  }

  Gate gates_[256]{};
};

/// The processor's local APIC.
class LocalApic {
 public:
  /// Turns the APIC on, and masks every line of the two older interrupt controllers.
  void enable() {
    cpu::out8(0x21, 0xff);
    cpu::out8(0xa1, 0xff);
    constexpr std::uint32_t software_enable = 0x100;
    write(spurious_vector, software_enable | spurious);
    write(timer_divider, 0xb);  // by 1
  }

  /// Where a device writes `vector` to raise an interrupt of this processor.
  [[nodiscard]] std::uint64_t message_address() const {
    return base | (cpu::read32(base + id) >> 24) << 12;
  }

  /// Raises `vector` once, after this many ticks of 1 ns.
  void start_timer(unsigned vector, std::uint32_t ticks) {
    write(timer_vector, vector);
    write(timer_count, ticks);
  }
  void stop_timer() { write(timer_count, 0); }

  void end_interrupt() { write(end_of_interrupt, 0); }

  /// The vector of an interrupt that was withdrawn. Its handler does nothing, and does not call
  /// end_interrupt().
  static constexpr unsigned spurious = 0xff;

 private:
  static constexpr std::uint64_t base = 0xfee00000;
  static constexpr std::uint64_t id = 0x20;
  static constexpr std::uint64_t end_of_interrupt = 0xb0;
  static constexpr std::uint64_t spurious_vector = 0xf0;
  static constexpr std::uint64_t timer_vector = 0x320;
  static constexpr std::uint64_t timer_count = 0x380;
  static constexpr std::uint64_t timer_divider = 0x3e0;

  void write(std::uint64_t offset, std::uint32_t value) { cpu::write32(base + offset, value); }
};

}  // namespace kernel

#endif
