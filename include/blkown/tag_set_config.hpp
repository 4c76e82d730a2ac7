// SPDX-License-Identifier: BSL-1.0
//
// The configuration of a TagSet, and the reasons why a TagSet cannot be made from one.

#ifndef BLKOWN_TAG_SET_CONFIG_HPP
#define BLKOWN_TAG_SET_CONFIG_HPP

#include <blkown/config.hpp>
#include <blkown/detail/enum_count.hpp>
#include <blkown/tag.hpp>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>

namespace blkown {
inline namespace BLKOWN_ABI {

/// The number of requests of a TagSet, and the layout of the cookies that name them.
struct TagSetConfig {
  std::uint32_t queue_count = 1;  ///< Hardware queues, at most 65,536.
  std::uint32_t depth = 0;        ///< Requests per queue.
  /// The number of tags per queue, the lowest ones, that only allocate_reserved and allocate_tag
  /// take: for commands that must not wait for a tag (abort, keep-alive).
  std::uint32_t reserved_depth = 0;
  CookieLayout layout{};  ///< Where queue, tag and generation sit in an id.
  /// The generation of queue 0, tag 0 before its first publication, cut to the width of the word's
  /// field. Default: an unpredictable one, so that cookies of an earlier run are stale with high
  /// probability. The other requests begin at other generations, which follow from this one, the
  /// queue and the tag, so that an id with a wrong bit names no other I/O.
  std::optional<Generation> first_generation{};
};

/// Why a TagSet was not made. `limit` is TagSetError::limit.
enum class TagSetReason : std::uint8_t {
  no_queues,                  ///< queue_count is 0.
  too_many_queues,            ///< queue_count exceeds limit.
  no_depth,                   ///< depth is 0.
  too_deep,                   ///< depth exceeds limit.
  all_reserved,               ///< reserved_depth exceeds limit: every tag would be reserved.
  no_end_sink,                ///< The EndSink has no function.
  bad_width,                  ///< The layout's width is 0 or exceeds limit.
  field_outside_width,        ///< A field ends above the layout's width (limit).
  fields_overlap,             ///< Two fields share a bit.
  generation_field_too_wide,  ///< The field is wider than the word's generation (limit).
  queue_field_too_narrow,     ///< queue_count exceeds the number of the field's values (limit).
  tag_field_too_narrow,       ///< depth exceeds the number of the field's values (limit).
  all_ones_in_use,            ///< A cookie could have every bit set. A depth of limit avoids that.
  storage_misaligned,         ///< The storage is not aligned to limit bytes.
  storage_too_small,          ///< The storage has fewer than limit bytes.
  out_of_memory,              ///< limit bytes could not be allocated.
};

/// The reason as a phrase, for messages.
[[nodiscard]] constexpr const char* to_string(TagSetReason reason) noexcept {
  switch (reason) {
    case TagSetReason::no_queues: return "a TagSet needs at least one queue";
    case TagSetReason::too_many_queues: return "too many queues";
    case TagSetReason::no_depth: return "a queue needs at least one request";
    case TagSetReason::too_deep: return "too many requests";
    case TagSetReason::all_reserved: return "every request is reserved";
    case TagSetReason::no_end_sink: return "the EndSink has no function";
    case TagSetReason::bad_width: return "a cookie is 1 to 64 bits wide";
    case TagSetReason::field_outside_width: return "a cookie field reaches beyond the cookie";
    case TagSetReason::fields_overlap: return "two cookie fields overlap";
    case TagSetReason::generation_field_too_wide:
      return "the cookie's generation field is wider than the word's";
    case TagSetReason::queue_field_too_narrow: return "the cookie's queue field is too narrow";
    case TagSetReason::tag_field_too_narrow: return "the cookie's tag field is too narrow";
    case TagSetReason::all_ones_in_use: return "a cookie could take the reserved value, all ones";
    case TagSetReason::storage_misaligned: return "the storage is misaligned";
    case TagSetReason::storage_too_small: return "the storage is too small";
    case TagSetReason::out_of_memory: return "out of memory";
  }
  return "unknown reason";
}

/// The number of enumerators, for tables indexed by TagSetReason.
inline constexpr std::size_t tag_set_reason_count =
    static_cast<std::size_t>(TagSetReason::out_of_memory) + 1;
static_assert(detail::counts_enumerators<TagSetReason>(tag_set_reason_count));

/// Why a TagSet was not made, with the value that was given and the limit for it.
struct TagSetError {
  TagSetReason reason{};
  std::uint64_t given = 0;
  std::uint64_t limit = 0;
  friend constexpr bool operator==(const TagSetError&, const TagSetError&) = default;
};

namespace detail {

/// The number of values of a field, at most 2^32.
[[nodiscard]] constexpr std::uint64_t values_of(CookieField field) noexcept {
  return field.bits >= 32 ? std::uint64_t{1} << 32 : std::uint64_t{1} << field.bits;
}

/// The first error of the layout that does not depend on the other members of the configuration.
[[nodiscard]] constexpr std::optional<TagSetError> check_layout(
    const CookieLayout& layout) noexcept {
  if (layout.width_bits == 0 || layout.width_bits > 64) {
    return TagSetError{TagSetReason::bad_width, layout.width_bits, 64};
  }
  std::uint64_t used = 0;
  for (const CookieField field : {layout.queue, layout.tag, layout.generation, layout.user}) {
    const unsigned end = unsigned{field.shift} + field.bits;
    if (field.bits != 0 && end > layout.width_bits) {
      return TagSetError{TagSetReason::field_outside_width, end, layout.width_bits};
    }
    if ((used & field.mask()) != 0) {
      return TagSetError{TagSetReason::fields_overlap, field.mask(), ~used};
    }
    used |= field.mask();
  }
  if (layout.generation.bits > CookieLayout::widest_generation_bits) {
    return TagSetError{TagSetReason::generation_field_too_wide, layout.generation.bits,
                       CookieLayout::widest_generation_bits};
  }
  return std::nullopt;
}

/// The first error of the layout with this number of queues and depth.
[[nodiscard]] constexpr std::optional<TagSetError> check_names(
    const TagSetConfig& config) noexcept {
  const CookieLayout& layout = config.layout;
  // Without a queue field the arrival queue names the queue, so any number of queues is allowed.
  if (layout.queue.bits != 0 && config.queue_count > values_of(layout.queue)) {
    return TagSetError{TagSetReason::queue_field_too_narrow, config.queue_count,
                       values_of(layout.queue)};
  }
  if (config.depth > values_of(layout.tag)) {
    return TagSetError{TagSetReason::tag_field_too_narrow, config.depth, values_of(layout.tag)};
  }
  const std::uint64_t width_mask = CookieField{.shift = 0, .bits = layout.width_bits}.max();
  const bool all_bits_used = (layout.stray_mask() & width_mask) == 0;
  const bool last_queue_used =
      layout.queue.bits == 0 || config.queue_count == values_of(layout.queue);
  if (layout.all_ones_reserved && all_bits_used && last_queue_used &&
      config.depth == values_of(layout.tag)) {
    return TagSetError{TagSetReason::all_ones_in_use, config.depth, values_of(layout.tag) - 1};
  }
  return std::nullopt;
}

/// The first error of the configuration that does not depend on the size of a request.
[[nodiscard]] constexpr std::optional<TagSetError> check_config(
    const TagSetConfig& config) noexcept {
  constexpr std::uint32_t max_queues = 65536;
  constexpr std::uint32_t max_requests = std::uint32_t{1} << 31;
  if (config.queue_count == 0) return TagSetError{TagSetReason::no_queues, 0, max_queues};
  if (config.queue_count > max_queues) {
    return TagSetError{TagSetReason::too_many_queues, config.queue_count, max_queues};
  }
  if (config.depth == 0) return TagSetError{TagSetReason::no_depth, 0, max_requests};
  if (config.depth > max_requests) {
    return TagSetError{TagSetReason::too_deep, config.depth, max_requests};
  }
  if (config.reserved_depth >= config.depth) {
    return TagSetError{TagSetReason::all_reserved, config.reserved_depth, config.depth - 1};
  }
  if (const auto error = check_layout(config.layout)) return error;
  return check_names(config);
}

}  // namespace detail

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
