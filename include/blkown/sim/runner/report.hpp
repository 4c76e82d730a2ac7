// SPDX-License-Identifier: BSL-1.0
//
// The report of a finding: its first three lines name what is broken and where, the request, and
// the fault that struck at it. Further lines say who did what before.

#ifndef BLKOWN_SIM_RUNNER_REPORT_HPP
#define BLKOWN_SIM_RUNNER_REPORT_HPP

#include <algorithm>
#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/cookie_codec.hpp>
#include <blkown/place.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/sim/harness/history.hpp>
#include <blkown/sim/harness/invariant_checker.hpp>
#include <blkown/tag.hpp>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

namespace detail {

/// The strike as text: "late@3 in event 798".
[[nodiscard]] inline std::string to_string(const History::Strike& strike) {
  return std::string{sim::to_string(strike.fault.kind)} + "@" +
         std::to_string(strike.fault.opportunity) + " in event " + std::to_string(strike.event);
}
/// The finding's request: queue, tag, cookie, I/O and ownership word.
[[nodiscard]] inline std::string request_text(const Finding& finding, const History& history) {
  if (!finding.has_request) {
    return finding.cookie.has_value() ? "none has " + cookie_text(history.layout(), *finding.cookie)
                                      : "none, the finding is not about one request";
  }
  std::string text =
      "queue " + std::to_string(finding.queue.value) + ", tag " + std::to_string(finding.tag.value);
  const auto state =
      finding.state.has_value() ? finding.state : history.state_of(finding.queue, finding.tag);
  std::optional<std::uint64_t> cookie = finding.cookie;
  const auto generation = state.has_value() ? std::optional{state->generation}
                                            : history.generation_of(finding.queue, finding.tag);
  if (!cookie.has_value() && generation.has_value()) {
    const blkown::detail::CookieCodec codec{history.layout()};
    cookie = codec.cookie(finding.queue, finding.tag, *generation).value;
  }
  if (cookie.has_value()) text += ", " + cookie_text(history.layout(), *cookie);
  const bool has_io = *finding.io.operation != 0;
  const std::string io = to_string(has_io ? finding.io : history.io_of(finding.queue, finding.tag));
  if (!io.empty()) text += ": " + io;
  // The word is that of the tag's present I/O, which may be a later one.
  return text + (has_io ? "; now " : "; ") + word_text(state);
}
/// The faults that may be the cause: the latest one at the request, and the latest ones of all.
[[nodiscard]] inline std::string fault_text(const Finding& finding, const History& history) {
  constexpr std::size_t max_others = 4;
  if (history.strike_count() == 0) return "no fault was injected";
  const auto own = finding.has_request ? history.strikes_of(finding.queue, finding.tag)
                                       : std::vector<History::Strike>{};
  // Those at the present I/O; without one, the latest one at an earlier I/O.
  const std::uint64_t began = finding.first_event != 0
                                  ? finding.first_event
                                  : history.allocated_in(finding.queue, finding.tag);
  std::string text;
  std::vector<FaultStrike> named;
  for (const History::Strike& strike : own) {
    if (strike.event < began && !named.empty()) break;
    text += (named.empty() ? "" : ", ") + to_string(strike);
    named.push_back(strike.fault);
    if (strike.event < began) break;
  }
  if (!own.empty()) {
    text += own.front().event < began ? ", at this request's earlier I/O" : ", at this request";
  } else if (finding.has_request) {
    text = "none struck at this request";
  }
  std::string others;
  for (const History::Strike& strike : history.latest_strikes(max_others)) {
    if (std::ranges::find(named, strike.fault) != named.end()) continue;
    others += (others.empty() ? "" : ", ") + to_string(strike);
    if (!strike.has_request) continue;
    others += " (queue " + std::to_string(strike.queue.value) + ", tag " +
              std::to_string(strike.tag.value) + ")";
  }
  if (others.empty()) return text;
  return text + (text.empty() ? "" : "; ") + "the latest of all: " + others;
}

}  // namespace detail

/// Prints the report of a run's finding, without the command that replays the run.
inline void print_report(std::FILE* file, const Finding& finding, const History& history,
                         std::uint64_t seed) {
  constexpr std::size_t max_lines = 24;
  std::fprintf(file, "seed %" PRIu64 ", event %" PRIu64 "%s%s: %s\n", seed, history.event(),
               finding.place.empty() ? "" : ", in ", finding.place.c_str(), finding.what.c_str());
  std::fprintf(file, "  request: %s\n", detail::request_text(finding, history).c_str());
  std::fprintf(file, "  fault: %s\n", detail::fault_text(finding, history).c_str());
  if (finding.caller.line() != 0) {
    std::fprintf(file, "  called at %s:%lu\n", finding.caller.file_name(),
                 static_cast<unsigned long>(finding.caller.line()));
  }
  for (const std::string& detail : finding.details) std::fprintf(file, "  %s\n", detail.c_str());
  for (const Place& place : finding.holders) {
    std::fprintf(file, "  held since %s:%lu, %s\n", place.file_name(),
                 static_cast<unsigned long>(place.line()), place.function_name());
  }
  if (!finding.has_request) return;
  std::fprintf(file, "history of queue %u, tag %u:\n", finding.queue.value, finding.tag.value);
  history.print(file, finding.queue, finding.tag, max_lines,
                finding.first_event != 0 ? std::optional{finding.first_event} : std::nullopt);
}

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
