// SPDX-License-Identifier: BSL-1.0
//
// The default of TagSetConfig::first_generation: a generation that an earlier run of the driver has
// probably not used.

#ifndef BLKOWN_DETAIL_FIRST_GENERATION_HPP
#define BLKOWN_DETAIL_FIRST_GENERATION_HPP

#include <blkown/config.hpp>
#include <blkown/tag.hpp>
#include <cstdint>
#include <initializer_list>

namespace blkown {
inline namespace BLKOWN_ABI {

namespace detail {

/// The processor's time counter, or 0 on a machine where user space cannot read one.
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

/// A generation mixed from the time counter and two addresses. The generation is not a secret. Set
/// TagSetConfig::first_generation from a better source if an adversary must not guess it, or if the
/// machine has neither a time counter nor address randomisation.
[[nodiscard]] inline Generation unpredictable_generation(const void* storage) noexcept {
  const int on_stack = 0;
  std::uint64_t mixed = cycle_counter();
  for (const void* address : {storage, static_cast<const void*>(&on_stack)}) {
    mixed ^= reinterpret_cast<std::uintptr_t>(address);
    // The odd multiplier spreads every bit upwards, the shift downwards.
    mixed *= 0x9e37'79b9'7f4a'7c15U;
    mixed ^= mixed >> 29;
  }
  return {static_cast<std::uint32_t>(mixed >> 32)};
}

}  // namespace detail

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
