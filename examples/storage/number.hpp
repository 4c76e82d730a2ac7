// SPDX-License-Identifier: BSL-1.0
//
// Numbers of the command line.

#ifndef STORAGE_NUMBER_HPP
#define STORAGE_NUMBER_HPP

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace storage {

/// A whole number, with k, m or g behind it if `is_size`. None if the text is none, or if the
/// number is more than `max`.
[[nodiscard]] inline std::optional<std::uint64_t> parse_number(std::string_view text,
                                                               std::uint64_t max, bool is_size) {
  std::uint64_t value = 0;
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, value);
  const std::string_view suffix{end, static_cast<std::size_t>(last - end)};
  std::uint64_t unit = suffix.empty() ? 1 : 0;
  if (is_size && suffix == "k") unit = 1024;
  if (is_size && suffix == "m") unit = 1024 * 1024;
  if (is_size && suffix == "g") unit = 1024 * 1024 * 1024;
  if (error != std::errc{} || unit == 0 || value > max / unit) return std::nullopt;
  return value * unit;
}

/// Sets `target` to the value of the option `name`.
/// Precondition: Number holds `max`.
/// Errors: what to give, in words.
template <class Number>
[[nodiscard]] std::expected<void, std::string> set_number(Number& target, std::string_view name,
                                                          std::string_view value, std::uint64_t min,
                                                          std::uint64_t max) {
  const auto number = parse_number(value, max, false);
  if (!number || *number < min) {
    return std::unexpected(std::string{name} + " " + std::string{value} +
                           ": give a whole number from " + std::to_string(min) + " to " +
                           std::to_string(max));
  }
  target = static_cast<Number>(*number);
  return {};
}

}  // namespace storage

#endif
