// SPDX-License-Identifier: BSL-1.0
//
// Structures as bytes, so that a test can say where a field stands without the structure's own
// declaration.

#ifndef BLKOWN_TESTS_NVME_WIRE_HPP
#define BLKOWN_TESTS_NVME_WIRE_HPP

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>

namespace wire {

/// The bytes of a structure.
template <class T>
std::array<std::uint8_t, sizeof(T)> bytes_of(const T& value) {
  return std::bit_cast<std::array<std::uint8_t, sizeof(T)>>(value);
}

/// A structure of zeroes, but for `bytes` from `offset` on.
template <class T>
T with(std::size_t offset, std::span<const std::uint8_t> bytes) {
  std::array<std::uint8_t, sizeof(T)> all{};
  for (std::size_t i = 0; i != bytes.size(); ++i) all[offset + i] = bytes[i];
  return std::bit_cast<T>(all);
}

/// The little-endian integer of `size` bytes from `offset` on.
template <class T>
std::uint64_t integer_at(const T& value, std::size_t offset, std::size_t size) {
  const auto bytes = bytes_of(value);
  std::uint64_t integer = 0;
  for (std::size_t i = size; i-- != 0;) integer = integer << 8 | bytes[offset + i];
  return integer;
}

/// The bits of a word on which a part of the structure depends. Each bit is changed by
/// itself, once among zeroes and once among ones.
template <class T, class Word, class Part>
std::uint64_t bits_of(Word T::* word, Part (T::*part)() const noexcept) {
  const auto read = [&](std::uint64_t bits) {
    T value{};
    if constexpr (std::is_integral_v<Word>) {
      value.*word = static_cast<Word>(bits);
    } else {
      static_assert(sizeof(Word) <= sizeof(std::uint32_t));
      value.*word = static_cast<std::uint32_t>(bits);
    }
    return (value.*part)();
  };
  std::uint64_t found = 0;
  for (std::size_t bit = 0; bit != 8 * sizeof(Word); ++bit) {
    const std::uint64_t mask = std::uint64_t{1} << bit;
    if (read(mask) != read(0) || read(~mask) != read(~std::uint64_t{0})) found |= mask;
  }
  return found;
}

/// A field of the structure T as the specification has it, and how a program reads it.
template <class T>
struct Field {
  const char* name;
  std::size_t offset;
  std::size_t size;  // 8 at most
  std::uint64_t (*read)(const T&);
};

/// Each field is read from its bytes, from all of them, and from no other byte.
template <class T, std::size_t n>
void expect_fields(const Field<T> (&fields)[n]) {
  for (const Field<T>& field : fields) {
    std::array<std::uint8_t, sizeof(T)> bytes{};
    std::uint64_t expected = 0;
    for (std::size_t i = 0; i != field.size; ++i) {
      bytes[field.offset + i] = static_cast<std::uint8_t>(0xA1 + i);
      expected |= std::uint64_t{0xA1 + i} << (8 * i);
    }
    EXPECT_EQ(field.read(std::bit_cast<T>(bytes)), expected) << field.name;
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(~byte);
    const std::uint64_t mask = field.size == 8 ? ~std::uint64_t{0} : (1ULL << (8 * field.size)) - 1;
    EXPECT_EQ(field.read(std::bit_cast<T>(bytes)), ~expected & mask) << field.name;
  }
}

/// A value of an enumeration with its name.
struct Named {
  unsigned value;
  const char* name;
};

/// The enumeration's values up to `last` are exactly these.
template <class Enum, std::size_t n>
void expect_names(const Named (&names)[n], unsigned last, const std::string& unknown) {
  std::size_t next = 0;
  for (unsigned value = 0; value <= last; ++value) {
    const bool is_named = next != n && names[next].value == value;
    EXPECT_EQ(to_string(static_cast<Enum>(value)), is_named ? names[next].name : unknown) << value;
    next += is_named ? 1 : 0;
  }
  EXPECT_EQ(next, n) << "the names are in ascending order of their values";
}

}  // namespace wire

#endif
