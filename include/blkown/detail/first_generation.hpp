// SPDX-License-Identifier: BSL-1.0
//
// The generations with which the requests of a TagSet begin.
//
// A TagSet begins at one generation: the one in its TagSetConfig, or one that an earlier run of the
// driver has probably not used. Each request begins at that generation plus a step for each set bit
// of its queue and its tag. Two requests that begin at the same generation keep the same generation
// while their I/Os take turns, as with a device that completes in order; an id with one wrong tag
// bit then names the other request's I/O, whatever the width of the generation.

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

/// The amount by which one bit of the queue or the tag moves the first generation: bits 0 to 31 are
/// the tag's, bits 32 and above the queue's.
///
/// With four generation bits only the lowest four bits count. There, and in the lowest three, each
/// step differs by two or more from 0, in both directions: the two requests have different
/// generations as long as one has been published at most once more than the other. The same holds
/// for the sums in which two consecutive tags differ. The higher bits are mixed, so that requests
/// whose publications have drifted apart do not meet. No step is close to a multiple of 2^16, the
/// range of a 32-bit word.
[[nodiscard]] constexpr std::uint32_t first_generation_step(unsigned bit) noexcept {
  constexpr std::uint32_t lowest_bits[] = {3, 5, 11, 13};
  std::uint32_t mixed = (bit + 180) * 0x9e37'79b1U;
  mixed ^= mixed >> 15;
  mixed *= 0x85eb'ca6bU;
  mixed ^= mixed >> 13;
  return (mixed & ~std::uint32_t{15}) | lowest_bits[bit % 4];
}

/// The sum of the steps of the set bits of `index`, whose bit 0 has the step of `bit`.
[[nodiscard]] constexpr std::uint32_t first_generation_steps(std::uint32_t index,
                                                             unsigned bit) noexcept {
  std::uint32_t sum = 0;
  for (; index != 0; index >>= 1, ++bit) {
    if ((index & 1) != 0) sum += first_generation_step(bit);
  }
  return sum;
}

/// The generation of a request before its first publication, in a TagSet that begins at `first`.
[[nodiscard]] constexpr Generation first_generation_of(Generation first, QueueIndex queue,
                                                       Tag tag) noexcept {
  return {first.value + first_generation_steps(tag.value, 0) +
          first_generation_steps(queue.value, 32)};
}

/// The generation at which a TagSet begins in which this request begins at `wanted`.
[[nodiscard]] constexpr Generation begin_for(Generation wanted, QueueIndex queue,
                                             Tag tag) noexcept {
  return {wanted.value - first_generation_of({}, queue, tag).value};
}

}  // namespace detail

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
