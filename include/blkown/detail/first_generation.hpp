// SPDX-License-Identifier: BSL-1.0
//
// A first generation that an earlier life of the device is not likely to have used.

#ifndef BLKOWN_DETAIL_FIRST_GENERATION_HPP
#define BLKOWN_DETAIL_FIRST_GENERATION_HPP

#include <blkown/config.hpp>
#include <blkown/tag.hpp>
#include <initializer_list>

namespace blkown {
inline namespace BLKOWN_ABI {

namespace detail {

/// The processor's time counter, 0 where there is none that user space may read.
[[nodiscard]] inline std::uint64_t cycle_counter() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
  std::uint64_t ticks = 0;
  asm volatile("mrs %0, cntvct_el0" : "=r"(ticks));
  return ticks;
#else
  return 0;
#endif
}

/// Mixes the time and where things lie in memory. Not a secret: an adversary who must not guess it
/// calls for TagSetConfig::first_generation from a better source, as does a machine that has
/// neither a counter nor address randomisation.
[[nodiscard]] inline Generation unpredictable_generation(const void* storage) noexcept {
  const int on_stack = 0;
  std::uint64_t mixed = cycle_counter();
  for (const void* address : {storage, static_cast<const void*>(&on_stack)}) {
    mixed ^= reinterpret_cast<std::uintptr_t>(address);
    // An odd multiplier carries every bit upwards, the shift brings them down again.
    mixed *= 0x9e37'79b9'7f4a'7c15U;
    mixed ^= mixed >> 29;
  }
  return {static_cast<std::uint32_t>(mixed >> 32)};
}

}  // namespace detail

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
