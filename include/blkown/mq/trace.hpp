// SPDX-License-Identifier: BSL-1.0
//
// What happens to a disk's requests, event by event, for whoever wants to watch.

#ifndef BLKOWN_MQ_TRACE_HPP
#define BLKOWN_MQ_TRACE_HPP

#include <blkown/config.hpp>
#include <blkown/mq/bio.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/status.hpp>
#include <blkown/tag.hpp>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// The steps of a request, in the order in which they come, but for those that come again.
enum class TraceStep : std::uint8_t {
  allocated,  ///< It got its tag (blk-mq's getrq).
  waits,      ///< Its bio waits for a tag, or for the queue to open; queue and tag mean nothing.
  issued,     ///< It is handed to the driver's queue_rq.
  rejected,   ///< The driver gave it back, with `status`.
  requeued,   ///< It came back to be queued again.
  timed_out,  ///< The driver's timeout hook is asked.
  ended,      ///< It ended with `status`, and its tag is about to be free.
  looked_up,  ///< What a device sent, `value`, was looked up; `reason` is none if that gave a
              ///< handle.
};

[[nodiscard]] constexpr const char* to_string(TraceStep step) noexcept {
  switch (step) {
    case TraceStep::allocated: return "allocated";
    case TraceStep::waits: return "waits";
    case TraceStep::issued: return "issued";
    case TraceStep::rejected: return "rejected";
    case TraceStep::requeued: return "requeued";
    case TraceStep::timed_out: return "timed_out";
    case TraceStep::ended: return "ended";
    case TraceStep::looked_up: return "looked_up";
  }
  return "unknown step";
}

/// One step of one request.
struct TraceEvent {
  TraceStep step{};
  Op op{};
  Status status = Status::ok;
  std::uint32_t context = 0;  ///< The submitting context's index.
  std::uint32_t queue = 0;    ///< The hardware queue.
  Tag tag;
  std::uint64_t sector = 0;
  std::uint64_t length_bytes = 0;
  // Of looked_up, where of the others only the queue means something.
  std::uint64_t value = 0;
  LookupReason reason = LookupReason::none;
};

/// Who is told: on the submitting context, of lookups on whichever makes them, in the middle of its
/// work, so it must not submit or wait. Without a function nobody is, at the cost of one test.
struct TraceSink {
  void (*function)(void* argument, const TraceEvent& event) = nullptr;
  void* argument = nullptr;
};

namespace detail {

[[nodiscard]] inline TraceEvent waiting_event(const Bio& bio, std::uint32_t context,
                                              std::uint32_t queue) noexcept {
  return {.step = TraceStep::waits,
          .op = bio.op(),
          .status = Status::ok,
          .context = context,
          .queue = queue,
          .tag = {},
          .sector = bio.sector(),
          .length_bytes = bio.length_bytes(),
          .value = 0,
          .reason = LookupReason::none};
}

inline void tell(const TraceSink& sink, const TraceEvent& event) {
  if (sink.function != nullptr) [[unlikely]]
    sink.function(sink.argument, event);
}

}  // namespace detail

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
