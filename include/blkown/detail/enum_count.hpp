// SPDX-License-Identifier: BSL-1.0
//
// The compile-time check of the constants that say how many enumerators an enumeration has.

#ifndef BLKOWN_DETAIL_ENUM_COUNT_HPP
#define BLKOWN_DETAIL_ENUM_COUNT_HPP

#include <blkown/config.hpp>
#include <cstddef>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace detail {

[[nodiscard]] consteval bool are_equal(const char* left, const char* right) {
  while (*left != 0 && *left == *right) ++left, ++right;
  return *left == *right;
}

/// Whether `to_string` has a text for the enumerator `count` - 1 and none for `count`. Every count
/// constant is asserted with this function, so that a new enumerator does not compile until
/// `to_string` and the constant include it.
/// Precondition: Enum counts from 0 in a std::uint8_t and does not use 255, whose text is taken for
/// the text of an unknown value.
template <class Enum>
[[nodiscard]] consteval bool counts_enumerators(std::size_t count) {
  const char* const unknown = to_string(static_cast<Enum>(255));
  return !are_equal(to_string(static_cast<Enum>(count - 1)), unknown) &&
         are_equal(to_string(static_cast<Enum>(count)), unknown);
}

}  // namespace detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
