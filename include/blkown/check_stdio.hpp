// SPDX-License-Identifier: BSL-1.0
//
// The default handlers of check.hpp on a hosted system: one line on stderr, and in a tracking build
// one for each holder of the request; then abort for a violation. Leave it out with
// BLKOWN_NO_STDIO.

#ifndef BLKOWN_CHECK_STDIO_HPP
#define BLKOWN_CHECK_STDIO_HPP

#include <blkown/check.hpp>
#include <blkown/tracking.hpp>
#include <cstdio>
#include <cstdlib>

namespace blkown {
inline namespace BLKOWN_ABI {

/// Prints a line for each of the first sixteen that hold the request (visit_holders), and how many
/// more there are. In a plain build it prints nothing.
inline void print_holders(std::FILE* out, const char* margin, const RequestHeader& request) {
  constexpr unsigned long most = 16;
  unsigned long count = 0;
  visit_holders(request, [&](const Place& place) {
    if (count++ >= most) return;
    std::fprintf(out, "%sheld since %s:%lu, %s\n", margin, place.file_name(),
                 static_cast<unsigned long>(place.line()), place.function_name());
  });
  if (count > most) std::fprintf(out, "%sheld by %lu more\n", margin, count - most);
}

/// Prints one line that names what was wrong, where, and about which request in which state:
///   blkown: violation: release of an I/O that was never published: Claim::release at drv.cc:91,
///   queue 0 tag 5 generation 17 count 0 owned
/// In a tracking build there is a line more for each holder of the request:
///   blkown:   held since drv.cc:80, void queue_rq(Command&)
inline void print_incident(std::FILE* out, const char* channel, const char* what,
                           const Incident& incident) {
  // One call, so that lines of several threads do not mix.
  char where[320] = "";
  if (incident.place.line() != 0) {
    std::snprintf(where, sizeof where, " at %s:%lu", incident.place.file_name(),
                  static_cast<unsigned long>(incident.place.line()));
  }
  char about[160] = "";
  if (incident.has_request) {
    std::snprintf(
        about, sizeof about, ", queue %lu tag %lu generation %lu count %lu%s%s%s",
        static_cast<unsigned long>(incident.queue), static_cast<unsigned long>(incident.tag.value),
        static_cast<unsigned long>(incident.state.generation.value),
        static_cast<unsigned long>(incident.state.count), incident.state.owned ? " owned" : "",
        incident.state.claimed ? " claimed" : "", incident.state.finished ? " finished" : "");
  } else if (incident.has_queue) {
    std::snprintf(about, sizeof about, ", queue %lu", static_cast<unsigned long>(incident.queue));
  }
  std::fprintf(out, "blkown: %s: %s: %s%s%s\n", channel, what, incident.operation, where, about);
  if (incident.header != nullptr) print_holders(out, "blkown:   ", *incident.header);
}

/// The default violation handler.
[[noreturn]] inline void print_and_abort(Violation violation, const Incident& incident) {
  print_incident(stderr, "violation", to_string(violation), incident);
  std::abort();
}

/// The default report handler.
inline void print_report(Report report, const Incident& incident) {
  print_incident(stderr, "report", to_string(report), incident);
}

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
