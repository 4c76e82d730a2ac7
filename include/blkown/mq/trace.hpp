// SPDX-License-Identifier: BSL-1.0
//
// Trace events of a disk's requests.

#ifndef BLKOWN_MQ_TRACE_HPP
#define BLKOWN_MQ_TRACE_HPP

#include <blkown/config.hpp>
#include <blkown/detail/enum_count.hpp>
#include <blkown/mq/bio.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/status.hpp>
#include <blkown/tag.hpp>
#include <cstddef>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// A step in the life of a request. Without a rejection or a requeue, a request is allocated,
/// issued and ended in this order.
/// Source: the kernel's block trace events.
enum class TraceStep : std::uint8_t {
  allocated,  ///< The request got its tag (the kernel's block_getrq).
  /// A submitted bio was not issued completely, and waits in a lane: no tag is free, the queue is
  /// closed, an earlier bio waits, a plug is open, a hook of the driver has submitted the bio, or
  /// the driver is blocking (then every bio waits). The event has no tag. It belongs to the submit:
  /// a bio that waits between the steps of its flush sequence has no event.
  waits,
  /// The request is passed to the driver: in a batch to queue_rqs, or to queue_rq. A request that
  /// queue_rqs leaves has two such steps.
  issued,
  rejected,   ///< The driver rejected the request with `status`.
  requeued,   ///< The request was requeued and will be issued again.
  timed_out,  ///< The driver's timeout hook is called for the request.
  ended,      ///< The request ended with `status`. The tag is freed next.
  looked_up,  ///< HwQueue looked up `value`, with the result `reason`.
};

/// The enumerator's name, for messages.
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

/// The number of enumerators, for tables indexed by TraceStep.
inline constexpr std::size_t trace_step_count = static_cast<std::size_t>(TraceStep::looked_up) + 1;
static_assert(blkown::detail::counts_enumerators<TraceStep>(trace_step_count));

/// One step of one request, or of a bio that waits. In a looked_up event only `step`, `queue`,
/// `value` and `reason` are set.
struct TraceEvent {
  TraceStep step{};
  Op op{};
  Status status = Status::ok;  ///< Of rejected, timed_out and ended.
  std::uint32_t context = 0;   ///< The submitting context's index.
  QueueIndex queue;            ///< The hardware queue's index.
  Tag tag;
  std::uint64_t sector = 0;
  std::uint64_t length_bytes = 0;
  std::uint64_t value = 0;                   ///< Of looked_up: the id that the device sent.
  LookupReason reason = LookupReason::none;  ///< Of looked_up: why the lookup was refused, or none.
};

/// The receiver of a disk's trace events (Disk::set_trace).
struct TraceSink {
  /// Called for each event, or null. Without a function each step of a request costs one test.
  /// Precondition: the function neither submits nor waits.
  /// Context: the submitting context, and for looked_up the thread or interrupt of the lookup.
  void (*function)(void* argument, const TraceEvent& event) = nullptr;
  void* argument = nullptr;
};

namespace detail {

/// The event of a bio that waits.
[[nodiscard]] inline TraceEvent waiting_event(const Bio& bio, std::uint32_t context,
                                              QueueIndex queue) noexcept {
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

/// Calls the sink's function, if there is one.
inline void tell(const TraceSink& sink, const TraceEvent& event) {
  if (sink.function != nullptr) [[unlikely]]
    sink.function(sink.argument, event);
}

}  // namespace detail

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
