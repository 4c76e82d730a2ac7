// SPDX-License-Identifier: BSL-1.0
//
// What a disk's requests are doing, one line each: for a disk that does not come down, a device
// that does not answer, a debugger's prompt.

#ifndef BLKOWN_MQ_IN_FLIGHT_TABLE_HPP
#define BLKOWN_MQ_IN_FLIGHT_TABLE_HPP

#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/mq/detail/fwd.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/mq/payload.hpp>
#include <blkown/mq/tag_pool.hpp>
#include <cinttypes>
#include <cstdio>
#include <optional>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// One request that has its tag.
struct InFlightRow {
  std::uint32_t queue = 0;  ///< The TagSet's.
  Tag tag;
  RequestState state;
  // Known of a request that could be pinned: it is in flight, and nobody has claimed it.
  bool is_known = false;
  Op op{};
  std::uint64_t sector = 0;
  std::uint64_t length_bytes = 0;
  /// For how long a scan for timeouts has known it in flight; meaningless if none has.
  bool has_age = false;
  std::uint32_t age_ms = 0;
  const RequestHeader* header = nullptr;  ///< For visit_holders.
};

/// Who has the request, in the words of the ownership word's table.
[[nodiscard]] inline const char* holder_of(const RequestState& state) noexcept {
  if (state.finished) return "ended, pinned";
  if (state.claimed) return "claimed, pinned";
  if (state.owned) return "owned";
  if (state.count == 0) return "not started";
  return state.count == 1 ? "with the device" : "shared";
}
/// How many ARefs hold it.
[[nodiscard]] inline std::uint32_t pins_of(const RequestState& state) noexcept {
  const std::uint32_t others = state.claimed ? 2 : 1;
  return state.count < others ? 0 : state.count - others;
}

/// Calls `visit(const InFlightRow&)` for each request of the pool whose tag is taken; tags that lie
/// in a context's stash are told as "not started". Any context; each row is of a moment of its own.
template <class D, class Visit>
void for_each_row(TagPool<D>& pool, std::uint32_t timeout_ms, std::uint64_t now_ns, Visit visit) {
  auto& tags = pool.tags();
  for (std::uint32_t queue = 0; queue != tags.queue_count(); ++queue) {
    for (Tag tag; tag.value != tags.depth(); ++tag.value) {
      const std::optional<RequestState> state = tags.state_of(queue, tag);
      if (!state.has_value()) continue;
      InFlightRow row{
          .queue = queue, .tag = tag, .state = *state, .header = &tags.header(queue, tag)};
      if (const auto pin = tags.tag_to_rq_any_generation(queue, tag)) {
        detail::PayloadAccess<D>::describe(*blkown::detail::HandleAccess::look(*pin), timeout_ms,
                                           now_ns, row);
      }
      visit(row);
    }
  }
}

#ifndef BLKOWN_NO_STDIO
/// One line, and in a tracking build one more for each that holds the request; none for one that is
/// simply free or stashed.
inline void print(const InFlightRow& row, std::FILE* file) {
  if (row.state.count == 0 && !row.state.owned) return;
  std::fprintf(file, "queue %" PRIu32 " tag %" PRIu32 " generation %" PRIu32 ": %s, pins %" PRIu32,
               row.queue, row.tag.value, row.state.generation.value, holder_of(row.state),
               pins_of(row.state));
  if (row.is_known) {
    std::fprintf(file, ", %s of %" PRIu64 " bytes at sector %" PRIu64, to_string(row.op),
                 row.length_bytes, row.sector);
  }
  if (row.has_age) std::fprintf(file, ", for %" PRIu32 " ms", row.age_ms);
  std::fputc('\n', file);
  print_holders(file, "  ", *row.header);
}

/// The whole table.
template <class D>
void print_in_flight(TagPool<D>& pool, std::uint32_t timeout_ms, std::uint64_t now_ns,
                     std::FILE* file) {
  for_each_row(pool, timeout_ms, now_ns, [&](const InFlightRow& row) { print(row, file); });
}
#endif

/// Before the TagSet's own violation, which names the first of them only: all that is alive. For
/// how long, no context is left to say.
template <class D>
TagPool<D>::~TagPool() {
#ifndef BLKOWN_NO_STDIO
  for_each_row(*this, 0, 0, [](InFlightRow row) {
    row.has_age = false;
    print(row, stderr);
  });
#endif
}

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
