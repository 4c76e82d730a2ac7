// SPDX-License-Identifier: BSL-1.0
//
// The default handlers of check.hpp for a hosted system. The handlers print an incident to stderr.
// The violation handler then aborts. BLKOWN_NO_STDIO leaves this header out.

#ifndef BLKOWN_CHECK_STDIO_HPP
#define BLKOWN_CHECK_STDIO_HPP

#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/tracking.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace blkown {
inline namespace BLKOWN_ABI {

namespace detail {

/// Text of at most 511 letters on the stack. Longer text is cut.
class BoundedText {
 public:
  void add(std::string_view part) noexcept {
    for (const char letter : part) {
      if (size_ + 1 < sizeof text_) text_[size_++] = letter;
    }
  }
  void add(std::uint64_t number) noexcept {
    char digits[24];
    std::snprintf(digits, sizeof digits, "%llu", static_cast<unsigned long long>(number));
    add(std::string_view{digits});
  }
  [[nodiscard]] const char* c_str() const noexcept { return text_; }

 private:
  std::size_t size_ = 0;
  char text_[512] = {};
};

[[nodiscard]] inline std::string_view text_or(const char* text, const char* otherwise) noexcept {
  return text != nullptr && *text != 0 ? text : otherwise;
}

/// Adds "1 request is" or "3 requests are" for the words "request is|requests are". Without a
/// count the plural stands alone.
inline void add_count(BoundedText& line, std::uint64_t count, std::string_view words) noexcept {
  const std::size_t bar = words.find('|');
  if (count != 0) {
    line.add(count);
    line.add(" ");
  }
  line.add(count == 1 ? words.substr(0, bar) : words.substr(bar + 1));
}

/// Adds the kind of the incident's user, and its name if it has one.
inline void add_user(BoundedText& line, const Incident& incident) noexcept {
  line.add(text_or(incident.user, "another object"));
  if (incident.user_name == nullptr) return;
  line.add(" '");
  line.add(text_or(incident.user_name, "(unnamed)"));
  line.add("'");
}

/// Adds Incident::problem with its "{subject}", "{user}" and "{count|...|...}" replaced.
inline void add_problem(BoundedText& line, std::string_view problem,
                        const Incident& incident) noexcept {
  constexpr std::string_view subject = "{subject}";
  constexpr std::string_view user = "{user}";
  constexpr std::string_view count = "{count|";
  while (!problem.empty()) {
    std::size_t used = 1;
    if (problem.starts_with(subject)) {
      used = subject.size();
      line.add(text_or(incident.subject, "(unnamed)"));
    } else if (problem.starts_with(user)) {
      used = user.size();
      add_user(line, incident);
    } else if (const std::size_t end = problem.find('}');
               problem.starts_with(count) && end != problem.npos) {
      used = end + 1;
      add_count(line, incident.count, problem.substr(count.size(), end - count.size()));
    } else {
      line.add(problem.substr(0, 1));
    }
    problem.remove_prefix(used);
  }
}

/// Adds the operation, its caller and, as far as they are known, the queue and the request.
inline void add_location(BoundedText& line, const Incident& incident) noexcept {
  line.add(text_or(incident.operation, "an operation"));
  char text[320];
  if (incident.place.line() != 0) {
    std::snprintf(text, sizeof text, " at %s:%lu", incident.place.file_name(),
                  static_cast<unsigned long>(incident.place.line()));
    line.add(std::string_view{text});
  }
  if (!incident.has_queue && !incident.has_request) return;
  line.add(", queue ");
  line.add(incident.queue.value);
  if (!incident.has_request) return;
  std::snprintf(text, sizeof text, " tag %lu generation %lu count %lu%s%s%s",
                static_cast<unsigned long>(incident.tag.value),
                static_cast<unsigned long>(incident.state.generation.value),
                static_cast<unsigned long>(incident.state.count),
                incident.state.owned ? " owned" : "", incident.state.claimed ? " claimed" : "",
                incident.state.finished ? " finished" : "");
  line.add(std::string_view{text});
}

}  // namespace detail

/// Prints the first sixteen holders of the request (visit_holders), one line each, then the number
/// of further holders. Prints nothing in a build without tracking.
inline void print_holders(std::FILE* out, const char* margin, const RequestHeader& request) {
  constexpr unsigned long max_lines = 16;
  unsigned long count = 0;
  visit_holders(request, [&](const Place& place) {
    if (count++ >= max_lines) return;
    std::fprintf(out, "%sheld since %s:%lu, %s\n", margin, place.file_name(),
                 static_cast<unsigned long>(place.line()), place.function_name());
  });
  if (count > max_lines) std::fprintf(out, "%sheld by %lu more\n", margin, count - max_lines);
}

/// Prints an incident: what happened and the remedy, then the operation, its caller and the
/// request.
///   blkown: violation: a Claim of an unpublished I/O was released: publish, end or requeue it
///   blkown:   in Claim::release at drv.cc:91, queue 0 tag 5 generation 17 count 0 owned
/// A tracking build adds a line for each holder of the request:
///   blkown:   held since drv.cc:80, void queue_rq(Command&)
/// `what` and `remedy` are the texts for an incident without texts of its own.
inline void print_incident(std::FILE* out, const char* channel, const char* what,
                           const char* remedy, const Incident& incident) {
  detail::BoundedText problem;
  if (detail::text_or(incident.problem, "").empty() &&
      !detail::text_or(incident.subject, "").empty()) {
    problem.add(std::string_view{incident.subject});
    problem.add(": ");
  }
  detail::add_problem(problem, detail::text_or(incident.problem, what), incident);
  problem.add(": ");
  problem.add(detail::text_or(incident.remedy, remedy));
  detail::BoundedText location;
  detail::add_location(location, incident);
  // One call, so that the lines of two threads do not mix.
  std::fprintf(out, "blkown: %s: %s\nblkown:   in %s\n", channel, problem.c_str(),
               location.c_str());
  if (incident.header != nullptr) print_holders(out, "blkown:   ", *incident.header);
}

/// The default violation handler.
[[noreturn]] inline void print_and_abort(Violation violation, const Incident& incident) {
  print_incident(stderr, "violation", to_string(violation), remedy_of(violation), incident);
  std::abort();
}

/// The default report handler.
inline void print_report(Report report, const Incident& incident) {
  print_incident(stderr, "report", to_string(report), remedy_of(report), incident);
}

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
