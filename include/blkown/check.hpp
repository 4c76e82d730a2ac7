// SPDX-License-Identifier: BSL-1.0
//
// Violations and reports: the two ways in which the library reports an error in its use to the
// program. Both exist in every build.
//
//   violation   a programmer's error that would corrupt an I/O. The operation never returns.
//   report      a programmer's error that the library has repaired. The operation continues.
//
// A wrong value from a device is neither. Lookups answer such a value with a LookupError.

#ifndef BLKOWN_CHECK_HPP
#define BLKOWN_CHECK_HPP

#include <blkown/config.hpp>
#include <blkown/detail/enum_count.hpp>
#include <blkown/place.hpp>
#include <blkown/tag.hpp>
#include <cstddef>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {

class RequestHeader;

/// Programmer errors after which the operation does not return.
enum class Violation : std::uint8_t {
  use_of_moved_from,       ///< The handle was moved from, consumed, or never held an object.
  not_idle,                ///< An Idle of a request that is not idle: started twice, or forged.
  not_owned,               ///< An Owned of a request that is not owned: ended twice, or forged.
  not_claimed,             ///< A Claim of a request that is not claimed: ended twice, or forged.
  no_reference,            ///< An ARef was dropped or copied that the request does not count.
  reference_overflow,      ///< A request has more references than RefValue::count_limit.
  release_of_unpublished,  ///< Claim::release of an I/O that was never published.
  restart_of_ended,        ///< Ended::into_idle of an I/O that ended with a status.
  tag_not_taken,           ///< A free tag was given back.
  no_such_queue,           ///< The TagSet or the disk does not have the queue.
  tag_cache_of_other,      ///< A TagCache was used with another TagSet or queue than its own.
  tag_cache_alive,         ///< A TagSet was destroyed before its TagCaches.
  request_alive,           ///< A TagSet was destroyed while a handle or an I/O of it exists.
  object_in_use,  ///< An object was destroyed or reused while an I/O or a callback uses it.
  wrong_context,  ///< A call on another execution context than the object's own.
};

/// Errors of the programmer, or of hardware, after which the operation has left a consistent state.
enum class Report : std::uint8_t {
  claim_dropped,       ///< A Claim was destroyed. The Claim's I/O ends with io_error.
  idle_dropped,        ///< An Idle was destroyed. The Idle's I/O ends with io_error.
  mapping_dropped,     ///< A DMA mapping was destroyed without an EndProof and is quarantined.
  unbalanced_control,  ///< A thaw or an unquiesce too many. The call has no effect.
  long_wait,           ///< A call that waits has not returned in time. The call goes on waiting.
  unmap_failed,        ///< A dma backend could not unmap. The memory is quarantined.
};

/// The violation as a sentence without a full stop.
[[nodiscard]] constexpr const char* to_string(Violation violation) noexcept {
  switch (violation) {
    case Violation::use_of_moved_from: return "a handle was used that holds no object";
    case Violation::not_idle:
      return "the request of an Idle is not idle: it was started twice, or the handle is forged";
    case Violation::not_owned:
      return "the request of an Owned is not owned: it was ended twice, or the handle is forged";
    case Violation::not_claimed:
      return "the request of a Claim is not claimed: it was ended twice, or the handle is forged";
    case Violation::no_reference: return "the request does not count this reference";
    case Violation::reference_overflow: return "the request has too many references";
    case Violation::release_of_unpublished: return "a Claim of an unpublished I/O was released";
    case Violation::restart_of_ended: return "an I/O that ended with a status was restarted";
    case Violation::tag_not_taken: return "a tag was given back that is free";
    case Violation::no_such_queue: return "the queue does not exist";
    case Violation::tag_cache_of_other:
      return "a TagCache was used with another TagSet or queue than its own";
    case Violation::tag_cache_alive: return "a TagSet was destroyed before its TagCaches";
    case Violation::request_alive: return "a TagSet was destroyed while its requests are in use";
    case Violation::object_in_use: return "an object was destroyed or reused while it is in use";
    case Violation::wrong_context:
      return "an object was used on another execution context than its own";
  }
  return "unknown violation";
}

/// The report as a sentence without a full stop.
[[nodiscard]] constexpr const char* to_string(Report report) noexcept {
  switch (report) {
    case Report::claim_dropped: return "a Claim was dropped without being ended";
    case Report::idle_dropped: return "an Idle was dropped without being started";
    case Report::mapping_dropped:
      return "a mapping was dropped without proof that the device is done with it";
    case Report::unbalanced_control:
      return "a disk was thawed or unquiesced more often than it was frozen or quiesced";
    case Report::long_wait: return "a call that waits has not returned in time";
    case Report::unmap_failed:
      return "a dma backend could not unmap memory, which stays mapped and allocated";
  }
  return "unknown report";
}

/// The change that avoids the violation. An Incident may have a more exact text.
[[nodiscard]] constexpr const char* remedy_of(Violation violation) noexcept {
  switch (violation) {
    case Violation::use_of_moved_from:
      return "do not use a handle that was moved, or consumed as by end() or publish()";
    case Violation::not_idle: return "start or end each Idle once; call from_raw once per into_raw";
    case Violation::not_owned:
      return "end each Owned once; test a std::expected before its use; call from_raw once per "
             "into_raw";
    case Violation::not_claimed:
      return "end each Claim once; test a std::expected before its use; call from_raw once per "
             "into_raw";
    case Violation::no_reference: return "drop each ARef once; call from_raw once per into_raw";
    case Violation::reference_overflow: return "drop the references that are not needed";
    case Violation::release_of_unpublished: return "publish, end or requeue it instead";
    case Violation::restart_of_ended: return "call into_idle() only where is_requeue() is true";
    case Violation::tag_not_taken: return "release each Ended once";
    case Violation::no_such_queue: return "pass an index below the number of queues";
    case Violation::tag_cache_of_other:
      return "use the TagCache that this TagSet made for this queue";
    case Violation::tag_cache_alive: return "destroy the TagCaches first";
    case Violation::request_alive:
      return "end every I/O, drop every handle and release every Ended first";
    case Violation::object_in_use: return "wait until the object is no longer in use";
    case Violation::wrong_context: return "post the call to the object's own context";
  }
  return "no remedy is known";
}

/// The change that avoids the report. An Incident may have a more exact text.
[[nodiscard]] constexpr const char* remedy_of(Report report) noexcept {
  switch (report) {
    case Report::claim_dropped:
      return BLKOWN_TRACKING != 0 ? "end, requeue, publish or release each Claim"
                                  : "end, requeue, publish or release each Claim"
                                    " (a tracking build names the line that claimed it)";
    case Report::idle_dropped:
      return BLKOWN_TRACKING != 0 ? "start, fail or requeue each Idle"
                                  : "start, fail or requeue each Idle"
                                    " (a tracking build names the line that allocated it)";
    case Report::mapping_dropped: return "call unmap() with an EndProof, or drain the device";
    case Report::unbalanced_control:
      return "undo each freeze with one thaw, and each quiesce with one unquiesce";
    case Report::long_wait: return "look for the cause in what print_in_flight() shows";
    case Report::unmap_failed: return "stop the device and drain it";
  }
  return "no remedy is known";
}

/// The number of enumerators, for tables indexed by Violation.
inline constexpr std::size_t violation_count =
    static_cast<std::size_t>(Violation::wrong_context) + 1;
inline constexpr std::size_t report_count = static_cast<std::size_t>(Report::unmap_failed) + 1;
static_assert(detail::counts_enumerators<Violation>(violation_count));
static_assert(detail::counts_enumerators<Report>(report_count));

/// A request's ownership word at one moment, decoded.
struct RequestState {
  Generation generation{};
  std::uint32_t count = 0;
  bool owned = false;
  bool claimed = false;
  bool finished = false;
};

/// Describes one violation or report for a handler. All fields were read before the handler was
/// called. The handler must not touch the request. `subject` and `user_name` live as long as the
/// objects that they name, and all other texts live as long as the program. Every text may be null
/// or empty.
struct Incident {
  const char* operation = "";  ///< The operation that found the error, such as "Claim::release".
  Place place{};               ///< The operation's caller. line() is 0 if the caller is unknown.
  bool has_queue = false;      ///< `queue` has a value.
  bool has_request = false;    ///< `tag` and `state` have values too.
  QueueIndex queue;
  Tag tag{};
  RequestState state{};
  const RequestHeader* header = nullptr;  ///< The request, for visit_holders, or null.

  const char* subject = "";  ///< The object's name, such as a disk's name.
  const char* user = "";     ///< The kind of an object that uses the subject, such as "disk".
  /// The name of that object. Null: it has none.
  const char* user_name = nullptr;
  std::uint64_t count = 0;  ///< A number of things, such as requests in flight. 0: not known.
  /// Replaces the text of to_string(violation) or to_string(report) if not empty. "{subject}"
  /// stands for the subject, and "{user}" for the user with its name, as in "disk 'nbd0'".
  /// "{count|request is|requests are}" becomes "1 request is" or "3 requests are", and "requests
  /// are" where the count is not known.
  const char* problem = "";
  const char* remedy = "";  ///< Replaces the text of remedy_of if not empty.

  /// An incident of an operation that has no request.
  [[nodiscard]] static constexpr Incident of(const char* operation, Place place) noexcept {
    Incident incident;
    incident.operation = operation;
    incident.place = place;
    return incident;
  }
  /// The same incident with the texts of this case:
  ///   Incident::of("destruction of mq::Disk", Place{})
  ///       .with("disk '{subject}' destroyed while {count|request is|requests are} in flight",
  ///             "call remove() and wait for it")
  ///       .about(name, in_flight)
  [[nodiscard]] constexpr Incident with(const char* exact_problem,
                                        const char* exact_remedy = "") const noexcept {
    Incident incident = *this;
    incident.problem = exact_problem;
    incident.remedy = exact_remedy;
    return incident;
  }
  /// The same incident with a subject and a count.
  [[nodiscard]] constexpr Incident about(const char* name,
                                         std::uint64_t number = 0) const noexcept {
    Incident incident = *this;
    incident.subject = name;
    incident.count = number;
    return incident;
  }
  /// The same incident with an object that uses the subject.
  [[nodiscard]] constexpr Incident used_by(const char* kind,
                                           const char* name = nullptr) const noexcept {
    Incident incident = *this;
    incident.user = kind;
    incident.user_name = name;
    return incident;
  }
};

/// The functions that receive violations and reports.
using ViolationHandler = void (*)(Violation, const Incident&);
using ReportHandler = void (*)(Report, const Incident&);

#ifndef BLKOWN_NO_STDIO
[[noreturn]] inline void print_and_abort(Violation violation, const Incident& incident);
inline void print_report(Report report, const Incident& incident);
#endif

namespace detail {

// Plain variables: handlers are installed before another thread uses the library.
#ifdef BLKOWN_NO_STDIO
inline ViolationHandler violation_handler = nullptr;
inline ReportHandler report_handler = nullptr;
#else
inline ViolationHandler violation_handler = &print_and_abort;
inline ReportHandler report_handler = &print_report;
#endif

}  // namespace detail

/// Replaces the violation handler and returns the previous one. The default handler prints the
/// incident to stderr and aborts; with BLKOWN_NO_STDIO there is no default handler.
/// Precondition: no other thread uses the library. The handler does not throw.
/// Effects: the program traps if the handler returns, or if no handler is installed.
/// Context: the handler runs where the violation was found, interrupts included.
inline ViolationHandler set_violation_handler(ViolationHandler handler) noexcept {
  const ViolationHandler before = detail::violation_handler;
  detail::violation_handler = handler;
  return before;
}

/// Replaces the report handler and returns the previous one. The default handler prints the
/// incident to stderr. With null, reports are discarded.
/// Precondition: no other thread uses the library. The handler does not throw.
/// Context: the handler runs where the report was made, interrupts included.
inline ReportHandler set_report_handler(ReportHandler handler) noexcept {
  const ReportHandler before = detail::report_handler;
  detail::report_handler = handler;
  return before;
}

namespace detail {

[[noreturn, gnu::cold, gnu::noinline]] inline void violate(Violation violation,
                                                           const Incident& incident) {
  if (violation_handler != nullptr) violation_handler(violation, incident);
  __builtin_trap();
}

/// Raises a violation that is about no request. Every library raises its violations with this
/// function or with the one above.
[[noreturn, gnu::cold, gnu::noinline]] inline void violate(Violation violation,
                                                           const char* operation, Place place) {
  violate(violation, Incident::of(operation, place));
}

[[gnu::cold, gnu::noinline]] inline void report(Report report, const Incident& incident) {
  if (report_handler != nullptr) report_handler(report, incident);
}

/// The object that a handle points to.
/// Violation: use_of_moved_from, if the handle is empty.
template <class R>
[[nodiscard, gnu::always_inline]] constexpr R& held(R* object, const char* operation, Place place) {
  if (object == nullptr) [[unlikely]]
    violate(Violation::use_of_moved_from, operation, place);
  return *object;
}

}  // namespace detail

}  // namespace BLKOWN_ABI
}  // namespace blkown

#ifndef BLKOWN_NO_STDIO
#include <blkown/check_stdio.hpp>
#endif

#endif
