// SPDX-License-Identifier: BSL-1.0
//
// A table of the requests that hold a tag, one line each: for a disk that cannot be removed, for a
// device that does not answer, and for a debugger.

#ifndef BLKOWN_MQ_IN_FLIGHT_TABLE_HPP
#define BLKOWN_MQ_IN_FLIGHT_TABLE_HPP

#include <blkown/aref.hpp>
#include <blkown/check.hpp>
#include <blkown/check_stdio.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/handle_base.hpp>
#include <blkown/in_flight_table.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/detail/publication_watch.hpp>
#include <blkown/mq/detail/waiting_bios.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/mq/payload.hpp>
#include <blkown/request.hpp>
#include <blkown/tag.hpp>
#include <blkown/tag_set.hpp>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// One request that holds a tag.
struct InFlightRow {
  QueueIndex queue;  ///< The TagSet's queue.
  Tag tag;
  RequestState state;
  /// Whether op, sector and length_bytes are known: the request is in flight, or ended and pinned.
  bool is_known = false;
  Op op{};
  std::uint64_t sector = 0;
  std::uint64_t length_bytes = 0;
  bool has_age = false;      ///< Whether a timeout scan has seen the request in flight.
  std::uint32_t age_ms = 0;  ///< The time since the first scan that found this publication.
  const RequestHeader* header = nullptr;  ///< For visit_holders.
};

using blkown::holder_of;
using blkown::pins_of;

namespace detail {

/// Fills in the fields of a row that describe the I/O.
/// Precondition: the request is pinned.
template <class D>
void describe(const PayloadState<D>& payload, InFlightRow& row) noexcept {
  row.is_known = true;
  row.op = payload.op;
  row.sector = payload.sector;
  row.length_bytes = payload.length_bytes;
}

/// Fills in the age, on the clock of the context that has seen the request. Another disk of the
/// pool may have another clock.
/// Precondition: the request is pinned, and its context exists.
template <class D>
void describe_age(const PayloadState<D>& payload, const PublicationWatch& watch,
                  InFlightRow& row) noexcept {
  if (!payload.is_seen.is_set()) return;
  const auto seen_ms = watch.time_ms_of(row.state.generation);
  if (!seen_ms.has_value()) return;
  row.has_age = true;
  row.age_ms =
      static_cast<std::uint32_t>(payload.submitter->context().now_ns() / 1'000'000) - *seen_ms;
}

}  // namespace detail

namespace detail {

/// A pin of a request that is in flight, or ended and pinned. None: a handle holds the request.
template <class R>
[[nodiscard]] std::optional<ARef<R>> pin_for_row(TagSet<R>& tags, QueueIndex queue, Tag tag) {
  if (auto pin = tags.tag_to_rq_any_generation(queue, tag)) return *std::move(pin);
  return tags.pin_ended(queue, tag);
}

}  // namespace detail

/// Calls `visit(const InFlightRow&)` for each request whose tag is taken. Tags in a context's stash
/// count as taken; their requests are "not started". Each row is read at a moment of its own. With
/// `watches`, rows have ages.
/// Precondition: with `watches`, the contexts of the requests exist.
/// Context: any.
template <class D, class Visit>
void for_each_row(TagSet<Request<D>>& tags, const detail::PublicationWatches* watches,
                  Visit visit) {
  for (QueueIndex queue; queue.value != tags.queue_count(); ++queue.value) {
    for (Tag tag; tag.value != tags.depth(); ++tag.value) {
      const std::optional<RequestState> state = tags.state_of(queue, tag);
      if (!state.has_value()) continue;
      InFlightRow row{
          .queue = queue, .tag = tag, .state = *state, .header = &tags.header(queue, tag)};
      if (const auto pin = detail::pin_for_row(tags, queue, tag)) {
        auto& request = *blkown::detail::HandleAccess::look(*pin);
        const auto& payload = detail::state_of(RequestTraits<Request<D>>::data(request));
        detail::describe(payload, row);
        if (watches != nullptr) detail::describe_age(payload, watches->of(queue, tag), row);
      }
      visit(row);
    }
  }
}

#ifndef BLKOWN_NO_STDIO
/// Prints one line, and in a tracking build one more for each holder. Prints nothing for a request
/// that is free or stashed.
inline void print(const InFlightRow& row, std::FILE* file) {
  if (is_idle(row.state)) return;
  blkown::detail::print_request(file, row.queue, row.tag, row.state);
  if (row.is_known) {
    std::fprintf(file, ", %s of %" PRIu64 " bytes at sector %" PRIu64, to_string(row.op),
                 row.length_bytes, row.sector);
  }
  if (row.has_age) std::fprintf(file, ", for %" PRIu32 " ms", row.age_ms);
  std::fputc('\n', file);
  print_holders(file, "  ", *row.header);
}

namespace detail {

/// Prints one line about bios that wait on a context, with the first one's age if it is known.
inline void print_waiting(const WaitingRow& row, const Context& context, std::FILE* file) {
  std::fprintf(file,
               "queue %" PRIu32 " context %" PRIu32 ": %" PRIu32 " %s %s, first a %s of %" PRIu64
               " bytes at sector %" PRIu64,
               row.queue.value, context.index(), row.count,
               row.count == 1 ? "bio waits" : "bios wait", to_string(row.reason),
               mq::to_string(row.op), row.length_bytes, row.sector);
  if (row.has_age) {
    const auto now_ms = static_cast<std::uint32_t>(context.now_ns() / 1'000'000);
    std::fprintf(file, ", for %" PRIu32 " ms", now_ms - row.since_ms);
  }
  std::fputc('\n', file);
}

}  // namespace detail

/// Prints the requests.
/// Precondition: the contexts of the requests exist.
template <class D>
void print_in_flight(TagSet<Request<D>>& tags, const detail::PublicationWatches& watches,
                     std::FILE* file) {
  for_each_row<D>(tags, &watches, [&](const InFlightRow& row) { print(row, file); });
}
#endif

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
