// SPDX-License-Identifier: BSL-1.0
//
// History: the latest transitions of all requests, for the report of a finding.

#ifndef BLKOWN_SIM_HARNESS_HISTORY_HPP
#define BLKOWN_SIM_HARNESS_HISTORY_HPP

#include <array>
#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/tag.hpp>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// The latest 4096 transitions. The world announces each event before the event runs.
class History {
 public:
  /// Begins an event. Transitions that are added until the next event belong to this event.
  /// Precondition: `event_name` lives as long as the History.
  void begin_event(const char* event_name, std::uint64_t now_ns) noexcept {
    ++event_;
    event_name_ = event_name;
    now_ns_ = now_ns;
  }
  /// The number of the current event, from 1; 0 before the first event.
  [[nodiscard]] std::uint64_t event() const noexcept { return event_; }

  /// Adds a transition of one request. `was_taken` and `is_taken`: whether its tag is allocated.
  void add(QueueIndex queue, Tag tag, bool was_taken, const RequestState& before, bool is_taken,
           const RequestState& after) {
    lines_[next_++ % lines_.size()] = {.event = event_,
                                       .event_name = event_name_,
                                       .now_ns = now_ns_,
                                       .queue = queue,
                                       .tag = tag,
                                       .was_taken = was_taken,
                                       .is_taken = is_taken,
                                       .before = before,
                                       .after = after};
  }

  /// Prints the latest `max_lines` transitions of one request, oldest first.
  void print(std::FILE* file, QueueIndex queue, Tag tag, std::size_t max_lines) const {
    std::vector<const Line*> own;
    const std::size_t kept = next_ < lines_.size() ? next_ : lines_.size();
    for (std::size_t i = 0; i != kept && own.size() != max_lines; ++i) {
      const Line& line = lines_[(next_ - 1 - i) % lines_.size()];
      if (line.queue == queue && line.tag == tag) own.push_back(&line);
    }
    for (auto line = own.rbegin(); line != own.rend(); ++line) print(file, **line);
  }

 private:
  struct Line {
    std::uint64_t event = 0;
    const char* event_name = "";
    std::uint64_t now_ns = 0;
    QueueIndex queue;
    Tag tag;
    bool was_taken = false;
    bool is_taken = false;
    RequestState before;
    RequestState after;
  };

  static void print(std::FILE* file, const Line& line) {
    std::fprintf(file, "  event %" PRIu64 " at %" PRIu64 " us, %s: queue %u, tag %u: ", line.event,
                 line.now_ns / 1000, line.event_name, line.queue.value, line.tag.value);
    print(file, line.was_taken, line.before);
    std::fputs(" -> ", file);
    print(file, line.is_taken, line.after);
    std::fputc('\n', file);
  }
  static void print(std::FILE* file, bool is_taken, const RequestState& state) {
    if (!is_taken) {
      std::fputs("free", file);
      return;
    }
    const char* flag = state.owned ? " owned" : state.claimed ? " claimed" : "";
    if (state.finished) flag = " finished";
    std::fprintf(file, "%u%s, generation %u", state.count, flag, state.generation.value);
  }

  std::uint64_t event_ = 0;
  const char* event_name_ = "";
  std::uint64_t now_ns_ = 0;
  std::array<Line, 4096> lines_{};
  std::size_t next_ = 0;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
