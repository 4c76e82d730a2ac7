// SPDX-License-Identifier: BSL-1.0
//
// A table of the requests that are not idle, one line each: for an I/O that does not end, for a
// TagSet that cannot be destroyed, and for a debugger. Needs stdio.

#ifndef BLKOWN_IN_FLIGHT_TABLE_HPP
#define BLKOWN_IN_FLIGHT_TABLE_HPP

#include <blkown/check.hpp>
#include <blkown/check_stdio.hpp>
#include <blkown/config.hpp>
#include <blkown/tag.hpp>
#include <blkown/tag_set.hpp>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <optional>

namespace blkown {
inline namespace BLKOWN_ABI {

/// The holder of a request, in the words of the table in detail/ref_value.hpp.
[[nodiscard]] inline const char* holder_of(const RequestState& state) noexcept {
  if (state.finished) return "ended, pinned";
  if (state.claimed) return "claimed, pinned";
  if (state.owned) return "owned";
  if (state.count == 0) return "not started";
  return state.count == 1 ? "with the device" : "shared";
}
/// The number of ARefs that hold a request.
[[nodiscard]] inline std::uint32_t pins_of(const RequestState& state) noexcept {
  const std::uint32_t others = state.claimed ? 2 : 1;
  return state.count < others ? 0 : state.count - others;
}
/// Whether a request is idle: an Idle holds it, or its tag is free or in a TagCache.
[[nodiscard]] inline bool is_idle(const RequestState& state) noexcept {
  return state.count == 0 && !state.owned;
}

#ifndef BLKOWN_NO_STDIO
namespace detail {

/// Prints the part of a row that every request has, without a newline.
inline void print_request(std::FILE* file, QueueIndex queue, Tag tag, const RequestState& state) {
  std::fprintf(file, "queue %" PRIu32 " tag %" PRIu32 " generation %" PRIu32 ": %s, pins %" PRIu32,
               queue.value, tag.value, state.generation.value, holder_of(state), pins_of(state));
}

}  // namespace detail

/// Prints a line for each request that is not idle: queue, tag, generation, holder and the number
/// of pins. A tracking build adds a line for each of the request's first sixteen holders, with the
/// place that took the handle. Prints nothing if all requests are idle.
///   queue 0 tag 5 generation 17: ended, pinned, pins 1
///     held since driver.cpp:131, void Driver::watch(const ARef&)
/// Synchronization: none; each row is read at a moment of its own.
/// Context: any but an interrupt.
template <class R>
void print_in_flight(const TagSet<R>& tags, std::FILE* file = stderr) {
  for (QueueIndex queue; queue.value != tags.queue_count(); ++queue.value) {
    for (Tag tag; tag.value != tags.depth(); ++tag.value) {
      const std::optional<RequestState> state = tags.state_of(queue, tag);
      if (!state.has_value() || is_idle(*state)) continue;
      detail::print_request(file, queue, tag, *state);
      std::fputc('\n', file);
      print_holders(file, "  ", tags.header(queue, tag));
    }
  }
}
#endif

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
