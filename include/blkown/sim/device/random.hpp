// SPDX-License-Identifier: BSL-1.0
//
// Random: a generator whose numbers are the same on every machine and with every standard library.

#ifndef BLKOWN_SIM_DEVICE_RANDOM_HPP
#define BLKOWN_SIM_DEVICE_RANDOM_HPP

#include <blkown/config.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// The splitmix64 generator: a mixed counter. Not for secrets.
/// Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
class Random {
 public:
  /// Makes the generator whose numbers this seed determines.
  explicit constexpr Random(std::uint64_t seed) noexcept : state_{seed} {}

  /// A random number of 64 bits.
  constexpr std::uint64_t next() noexcept {
    state_ += 0x9E3779B97F4A7C15;
    std::uint64_t mixed = state_;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
    return mixed ^ (mixed >> 31);
  }

  /// The same as `count` calls of next().
  constexpr void skip(std::uint64_t count) noexcept { state_ += count * 0x9E37'79B9'7F4A'7C15; }

  /// A number below `bound`. The probabilities of two numbers differ by less than 2^-32.
  /// Precondition: 0 < bound < 2^32.
  constexpr std::uint64_t below(std::uint64_t bound) noexcept {
    return ((next() >> 32) * bound) >> 32;
  }

  /// True with the probability `times` / `of`.
  /// Precondition: 0 < of < 2^32.
  constexpr bool chance(std::uint64_t times, std::uint64_t of) noexcept {
    return below(of) < times;
  }

 private:
  std::uint64_t state_;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
