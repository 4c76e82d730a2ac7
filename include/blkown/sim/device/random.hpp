// SPDX-License-Identifier: BSL-1.0
//
// Numbers from a seed: the same ones on every machine and with every standard library.

#ifndef BLKOWN_SIM_DEVICE_RANDOM_HPP
#define BLKOWN_SIM_DEVICE_RANDOM_HPP

#include <blkown/config.hpp>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// A small generator (the splitmix64 sequence: a counter, mixed). Not for secrets.
class Random {
 public:
  explicit constexpr Random(std::uint64_t seed) noexcept : state_{seed} {}

  constexpr std::uint64_t next() noexcept {
    state_ += 0x9E3779B97F4A7C15;
    std::uint64_t mixed = state_;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
    return mixed ^ (mixed >> 31);
  }

  /// One of 0 to bound - 1, every one as likely as the others but for one part in 2^32.
  /// Precondition: 0 < bound < 2^32.
  constexpr std::uint64_t below(std::uint64_t bound) noexcept {
    return ((next() >> 32) * bound) >> 32;
  }

  /// True `times` times out of `of`.
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
