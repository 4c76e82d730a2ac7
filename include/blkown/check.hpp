// SPDX-License-Identifier: BSL-1.0
//
// The two channels on which the library speaks up, in every build.
//
//   violation  a programmer's error that would corrupt an I/O: it never returns.
//   report     something a driver author wants to know, after which the state is consistent.
//
// What a device sends is neither: that is a LookupError.

#ifndef BLKOWN_CHECK_HPP
#define BLKOWN_CHECK_HPP

#include <blkown/config.hpp>
#include <blkown/place.hpp>
#include <blkown/tag.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {

class RequestHeader;

/// Programmer errors.
enum class Violation : std::uint8_t {
  use_of_moved_from,       ///< The handle was moved from, consumed, or never held anything.
  not_idle,                ///< Started a request that is not with the block layer.
  not_owned,               ///< An Owned of a request that is not owned: ended twice, or forged.
  not_claimed,             ///< A Claim of a request that is not claimed: ended twice, or forged.
  no_reference,            ///< An ARef dropped or cloned while the count holds no reference of it.
  reference_overflow,      ///< More references than half of what the word can count.
  release_of_unpublished,  ///< Claim::release of an I/O that the device never had.
  restart_of_ended,        ///< Ended::into_idle of an I/O that ended with a status.
  tag_not_taken,           ///< A tag given back that was free.
  no_such_queue,           ///< A queue index that the TagSet does not have.
  tag_cache_of_other,      ///< A TagCache used with another TagSet or queue than its own.
  tag_cache_alive,         ///< A TagSet destroyed before its TagCaches.
  request_alive,           ///< A TagSet destroyed while a request is not back with it.
  object_in_use,           ///< Destroyed or used anew while an I/O or a callback still needs it.
  wrong_context,           ///< Called on another execution context than the object's own.
};

/// Things worth knowing after which nothing is broken.
enum class Report : std::uint8_t {
  claim_dropped,    ///< A Claim was dropped without being ended: the I/O ended with io_error.
  idle_dropped,     ///< An Idle was dropped without being started: the I/O ended with io_error.
  mapping_dropped,  ///< A mapping was dropped without proof that the device is done: quarantined.
};

[[nodiscard]] constexpr const char* to_string(Violation violation) noexcept {
  switch (violation) {
    case Violation::use_of_moved_from: return "use of a handle that holds no request";
    case Violation::not_idle: return "the request is not idle";
    case Violation::not_owned: return "the request is not owned: ended twice, or a forged handle";
    case Violation::not_claimed:
      return "the request is not claimed: ended twice, or a forged handle";
    case Violation::no_reference: return "no such reference exists";
    case Violation::reference_overflow: return "too many references";
    case Violation::release_of_unpublished: return "release of an I/O that was never published";
    case Violation::restart_of_ended: return "restart of an I/O that ended with a status";
    case Violation::tag_not_taken: return "the tag is free already";
    case Violation::no_such_queue: return "no such queue";
    case Violation::tag_cache_of_other: return "a TagCache of another TagSet or queue";
    case Violation::tag_cache_alive: return "TagSet destroyed before its TagCaches";
    case Violation::request_alive: return "TagSet destroyed while a request is still out";
    case Violation::object_in_use: return "destroyed or used anew while still in use";
    case Violation::wrong_context: return "called on another context than its own";
  }
  return "unknown violation";
}

[[nodiscard]] constexpr const char* to_string(Report report) noexcept {
  switch (report) {
    case Report::claim_dropped: return "a Claim was dropped without being ended";
    case Report::idle_dropped: return "an Idle was dropped without being started";
    case Report::mapping_dropped:
      return "a mapping was dropped without proof that the device is done with it";
  }
  return "unknown report";
}

/// What the ownership word said, decoded.
struct RequestState {
  Generation generation;
  std::uint32_t count = 0;
  bool owned = false;
  bool claimed = false;
  bool finished = false;
};

/// Where and about what a violation or a report was raised. Everything in it was read before it was
/// raised; a handler need not, and should not, touch the request.
struct Incident {
  const char* operation = "";  ///< The operation that noticed, "Claim::release" for example.
  Place place;                 ///< Its caller; line() is 0 where none is known (a destructor).
  bool has_queue = false;      ///< queue is meaningful.
  bool has_request = false;    ///< tag and state are meaningful too.
  std::uint32_t queue = 0;
  Tag tag;
  RequestState state;
  const RequestHeader* header = nullptr;  ///< The request's name for visit_holders, or null.
};

using ViolationHandler = void (*)(Violation, const Incident&);
using ReportHandler = void (*)(Report, const Incident&);

#ifndef BLKOWN_NO_STDIO
[[noreturn]] inline void print_and_abort(Violation violation, const Incident& incident);
inline void print_report(Report report, const Incident& incident);
#endif

namespace detail {

// Plain variables on purpose: handlers are installed before the first request exists.
#ifdef BLKOWN_NO_STDIO
inline ViolationHandler violation_handler = nullptr;
inline ReportHandler report_handler = nullptr;
#else
inline ViolationHandler violation_handler = &print_and_abort;
inline ReportHandler report_handler = &print_report;
#endif

}  // namespace detail

/// Replaces the violation handler and returns the one before. The default prints one line to stderr
/// and aborts; without stdio there is none. A handler does not throw, and where it returns, or
/// where there is none, the program traps. Precondition: no other thread uses the library.
inline ViolationHandler set_violation_handler(ViolationHandler handler) noexcept {
  const ViolationHandler before = detail::violation_handler;
  detail::violation_handler = handler;
  return before;
}

/// Replaces the report handler and returns the one before; null drops reports. The default prints
/// one line to stderr. It runs in the context that raised the report, interrupts included.
/// Precondition: no other thread uses the library.
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

[[gnu::cold, gnu::noinline]] inline void report(Report report, const Incident& incident) {
  if (report_handler != nullptr) report_handler(report, incident);
}

/// The violation of a handle that points nowhere.
[[noreturn, gnu::cold, gnu::noinline]] inline void violate_moved_from(const char* operation,
                                                                      Place place) {
  Incident incident;
  incident.operation = operation;
  incident.place = place;
  violate(Violation::use_of_moved_from, incident);
}

/// A handle's use begins here: what it points to, or the violation that it points nowhere.
template <class R>
[[nodiscard]] constexpr R& held(R* object, const char* operation, Place place) {
  if (object == nullptr) [[unlikely]]
    violate_moved_from(operation, place);
  return *object;
}

}  // namespace detail

}  // namespace BLKOWN_ABI
}  // namespace blkown

#ifndef BLKOWN_NO_STDIO
#include <blkown/check_stdio.hpp>
#endif

#endif
