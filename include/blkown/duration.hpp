// SPDX-License-Identifier: BSL-1.0
//
// Durations of std::chrono as the library's integers. The header does not include <chrono>.

#ifndef BLKOWN_DURATION_HPP
#define BLKOWN_DURATION_HPP

#include <blkown/config.hpp>
#include <blkown/detail/saturating.hpp>
#include <concepts>
#include <cstdint>
#include <numeric>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace detail {

/// std::chrono::duration, or a type in its shape.
template <class D>
concept Duration = requires(const D& duration) {
  typename D::rep;
  { duration.count() } -> std::convertible_to<typename D::rep>;
  { D::period::num } -> std::convertible_to<std::int64_t>;
  { D::period::den } -> std::convertible_to<std::int64_t>;
};

/// The duration in units of 1/`per_second` seconds, rounded up. A negative duration is 0, and one
/// that does not fit is the greatest value.
template <Duration D>
[[nodiscard]] constexpr std::uint64_t saturating_units(const D& duration,
                                                       std::uint64_t per_second) noexcept {
  const auto count = duration.count();
  if (!(count > 0)) return 0;
  constexpr auto num = static_cast<std::uint64_t>(D::period::num);
  constexpr auto den = static_cast<std::uint64_t>(D::period::den);
  if constexpr (std::integral<typename D::rep>) {
    const auto whole = static_cast<std::uint64_t>(count);
    // count * num * per_second / den, divided by `den` first: only a result that does not fit
    // saturates.
    const std::uint64_t common = std::gcd(per_second, den);
    const std::uint64_t times = per_second / common;
    const std::uint64_t over = den / common;
    if (over == 1) return saturating_multiply(saturating_multiply(whole, num), times);
    const Quotient ticks = multiply_divide(whole, num, over);
    const Quotient rest = multiply_divide(ticks.rest, times, over);
    return saturating_add(saturating_multiply(ticks.whole, times),
                          saturating_add(rest.whole, rest.rest != 0 ? 1 : 0));
  } else {
    const long double units = static_cast<long double>(count) * static_cast<long double>(num) *
                              static_cast<long double>(per_second) / static_cast<long double>(den);
    if (units >= 18446744073709551615.0L) return never_ns;
    const auto below = static_cast<std::uint64_t>(units);
    return static_cast<long double>(below) < units ? below + 1 : below;
  }
}

}  // namespace detail

/// The duration in nanoseconds, rounded up and saturated: for fields and parameters in `_ns`.
template <detail::Duration D>
[[nodiscard]] constexpr std::uint64_t to_ns(const D& duration) noexcept {
  return detail::saturating_units(duration, 1'000'000'000);
}

/// The duration in milliseconds, rounded up and saturated: for fields in `_ms`.
template <detail::Duration D>
[[nodiscard]] constexpr std::uint32_t to_ms(const D& duration) noexcept {
  const std::uint64_t ms = detail::saturating_units(duration, 1'000);
  return ms < UINT32_MAX ? static_cast<std::uint32_t>(ms) : UINT32_MAX;
}

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
