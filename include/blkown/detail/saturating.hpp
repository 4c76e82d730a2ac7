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

/// A quotient, at most the greatest value, and the remainder.
struct Quotient {
  std::uint64_t whole = 0;
  std::uint64_t rest = 0;
};

/// a * b / divisor, exact although a * b may not fit: long multiplication, bit by bit, because not
/// every machine has integers of 128 bits.
/// Precondition: 0 < divisor < 2^63.
[[nodiscard]] constexpr Quotient multiply_divide(std::uint64_t a, std::uint64_t b,
                                                 std::uint64_t divisor) noexcept {
  const Quotient part{b / divisor, b % divisor};
  Quotient sum;
  for (int bit = 63; bit >= 0; --bit) {
    sum = {saturating_add(sum.whole, sum.whole), sum.rest * 2};
    if (sum.rest >= divisor) sum = {saturating_add(sum.whole, 1), sum.rest - divisor};
    if ((a >> bit & 1) == 0) continue;
    sum = {saturating_add(sum.whole, part.whole), sum.rest + part.rest};
    if (sum.rest >= divisor) sum = {saturating_add(sum.whole, 1), sum.rest - divisor};
  }
  return sum;
}

}  // namespace detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
