// SPDX-License-Identifier: BSL-1.0
//
// The library's values as text: operator<< for every enumeration and value type of the core, and
// to_string for the types that are not enumerations. dma/ostream.hpp, mq/ostream.hpp,
// nvme/ostream.hpp and sim/ostream.hpp do the same for their libraries. No other header includes
// these.

#ifndef BLKOWN_OSTREAM_HPP
#define BLKOWN_OSTREAM_HPP

#include <array>
#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/segment.hpp>
#include <blkown/status.hpp>
#include <blkown/tag.hpp>
#include <blkown/tag_set_config.hpp>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <iosfwd>
#include <string>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace detail {

/// Whether to_string(value) is the text of a T: the types that operator<< and std::format take.
template <class T>
inline constexpr bool has_text = false;

template <>
inline constexpr bool has_text<Status> = true;
template <>
inline constexpr bool has_text<LookupReason> = true;
template <>
inline constexpr bool has_text<TagSetReason> = true;
template <>
inline constexpr bool has_text<Violation> = true;
template <>
inline constexpr bool has_text<Report> = true;
template <>
inline constexpr bool has_text<Tag> = true;
template <>
inline constexpr bool has_text<QueueIndex> = true;
template <>
inline constexpr bool has_text<Generation> = true;
template <>
inline constexpr bool has_text<Cookie> = true;
template <>
inline constexpr bool has_text<LookupError> = true;
template <>
inline constexpr bool has_text<CookieField> = true;
template <>
inline constexpr bool has_text<CookieLayout> = true;
template <>
inline constexpr bool has_text<TagSetError> = true;
template <>
inline constexpr bool has_text<Segment> = true;

/// The value as 0x and hexadecimal digits.
[[nodiscard]] inline std::string hex_text(std::uint64_t value) {
  std::array<char, 19> text{};
  std::snprintf(text.data(), text.size(), "0x%" PRIx64, value);
  return text.data();
}

}  // namespace detail

/// "tag 5".
[[nodiscard]] inline std::string to_string(Tag tag) { return "tag " + std::to_string(tag.value); }
/// "queue 0".
[[nodiscard]] inline std::string to_string(QueueIndex queue) {
  return "queue " + std::to_string(queue.value);
}
/// "generation 101".
[[nodiscard]] inline std::string to_string(Generation generation) {
  return "generation " + std::to_string(generation.value);
}
/// "cookie 0x6500000005 (queue 0 tag 5 generation 101)".
[[nodiscard]] inline std::string to_string(const Cookie& cookie) {
  return "cookie " + detail::hex_text(cookie.value) + " (" + to_string(cookie.queue) + " " +
         to_string(cookie.tag) + " " + to_string(cookie.generation) + ")";
}
/// "stale_generation: queue 0 tag 5, id has generation 3, request has generation 4". The
/// generations are left out where the lookup did not come to a request.
[[nodiscard]] inline std::string to_string(const LookupError& error) {
  std::string text = to_string(error.reason);
  text += ": " + to_string(error.queue) + " " + to_string(error.tag);
  switch (error.reason) {
    case LookupReason::none:
    case LookupReason::no_such_queue:
    case LookupReason::no_such_tag:
    case LookupReason::wrong_queue: return text;
    default:
      return text + ", id has " + to_string(error.expected_generation) + ", request has " +
             to_string(error.seen_generation);
  }
}
/// "16 bits at 32", or "none".
[[nodiscard]] inline std::string to_string(CookieField field) {
  if (field.bits == 0) return "none";
  return std::to_string(field.bits) + " bits at " + std::to_string(field.shift);
}
/// "16 bits: queue none, tag 12 bits at 0, generation 4 bits at 12, user none".
[[nodiscard]] inline std::string to_string(const CookieLayout& layout) {
  return std::to_string(layout.width_bits) + " bits: queue " + to_string(layout.queue) + ", tag " +
         to_string(layout.tag) + ", generation " + to_string(layout.generation) + ", user " +
         to_string(layout.user);
}
/// "too many requests: given 70000, limit 65536".
[[nodiscard]] inline std::string to_string(const TagSetError& error) {
  return std::string{to_string(error.reason)} + ": given " + std::to_string(error.given) +
         ", limit " + std::to_string(error.limit);
}
/// "512 bytes at 0x7f0000001000".
[[nodiscard]] inline std::string to_string(const Segment& segment) {
  return std::to_string(segment.length_bytes) + " bytes at " +
         detail::hex_text(reinterpret_cast<std::uintptr_t>(segment.data));
}

/// Prints the text of the value.
template <class Char, class Traits, class T>
  requires detail::has_text<T>
std::basic_ostream<Char, Traits>& operator<<(std::basic_ostream<Char, Traits>& out,
                                             const T& value) {
  if constexpr (requires { to_string(value).c_str(); }) {
    return out << to_string(value).c_str();
  } else {
    return out << to_string(value);
  }
}

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
