// SPDX-License-Identifier: BSL-1.0
//
// Output on the serial port, the end of the run, and the library's handlers.

#ifndef EXAMPLES_KERNEL_CONSOLE_HPP
#define EXAMPLES_KERNEL_CONSOLE_HPP

#include <blkown/check.hpp>
#include <concepts>
#include <cstdint>

#include "cpu.hpp"

namespace kernel {

namespace detail {

inline void put(char letter) {
  constexpr std::uint16_t com1 = 0x3f8;
  constexpr std::uint8_t transmitter_empty = 0x20;
  while ((cpu::in8(com1 + 5) & transmitter_empty) == 0) {
  }
  cpu::out8(com1, static_cast<std::uint8_t>(letter));
}
inline void put(const char* text) {
  for (; *text != 0; ++text) put(*text);
}
template <std::unsigned_integral Number>
void put(Number number) {
  char digits[20];
  unsigned count = 0;
  do digits[count++] = static_cast<char>('0' + number % 10);
  while ((number /= 10) != 0);
  while (count != 0) put(digits[--count]);
}

}  // namespace detail

/// An integer, printed in base 16.
struct Hex {
  std::uint64_t value = 0;
};
namespace detail {
inline void put(Hex number) {
  put("0x");
  int shift = 60;
  while (shift != 0 && (number.value >> shift) == 0) shift -= 4;
  for (; shift >= 0; shift -= 4) put("0123456789abcdef"[(number.value >> shift) & 15]);
}
}  // namespace detail

/// Prints texts, unsigned integers and Hex, and ends the line.
template <class... Parts>
void print(const Parts&... parts) {
  (detail::put(parts), ...);
  detail::put('\n');
}

/// Ends the run. QEMU's device isa-debug-exit makes 2 * code + 1 the exit status of QEMU.
enum class ExitCode : std::uint8_t {
  good = 16,       ///< Status 33.
  failure = 17,    ///< Status 35.
  violation = 18,  ///< Status 37.
};
[[noreturn]] inline void exit(ExitCode code) {
  cpu::disable_interrupts();
  cpu::out32(0xf4, static_cast<std::uint32_t>(code));
  cpu::halt();
}

/// Prints why the run has failed, and ends the run.
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  cpu::disable_interrupts();
  print("FAILED: ", parts...);
  exit(ExitCode::failure);
}

/// The handler of violations. A kernel prints without allocation and without locks, and stops.
/// Context: any, interrupts included.
inline void on_violation(blkown::Violation violation, const blkown::Incident& incident) {
  cpu::disable_interrupts();
  print("blkown: violation: ", to_string(violation), ": ", remedy_of(violation));
  print("blkown:   in ", incident.operation, ", queue ", incident.queue.value, " tag ",
        incident.tag.value, ", ", incident.place.file_name(), ":", incident.place.line());
  exit(ExitCode::violation);
}

/// The handler of reports. This kernel makes no mistake on purpose, so that a report is an error.
inline void on_report(blkown::Report report, const blkown::Incident& incident) {
  fail("blkown: report: ", to_string(report), ", in ", incident.operation);
}

inline void install_handlers() {
  blkown::set_violation_handler(&on_violation);
  blkown::set_report_handler(&on_report);
}

}  // namespace kernel

#endif
