// SPDX-License-Identifier: BSL-1.0
//
// Sums of times that stop at the last time instead of starting again at 0.

#ifndef BLKOWN_DETAIL_SATURATING_HPP
#define BLKOWN_DETAIL_SATURATING_HPP

#include <blkown/config.hpp>
#include <cstdint>
#include <limits>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace detail {

/// The last time of a clock. A deadline at this time is never reached.
inline constexpr std::uint64_t never_ns = std::numeric_limits<std::uint64_t>::max();

/// a + b, at most the greatest value.
[[nodiscard]] constexpr std::uint64_t saturating_add(std::uint64_t a, std::uint64_t b) noexcept {
  return b > never_ns - a ? never_ns : a + b;
}
/// a * b, at most the greatest value.
[[nodiscard]] constexpr std::uint64_t saturating_multiply(std::uint64_t a,
                                                          std::uint64_t b) noexcept {
  return b != 0 && a > never_ns / b ? never_ns : a * b;
}

}  // namespace detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
