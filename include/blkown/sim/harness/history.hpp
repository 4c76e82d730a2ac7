// SPDX-License-Identifier: BSL-1.0
//
// History: what has happened to requests, one line for each transition.

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

/// The latest transitions. Whoever runs things says which event it is that is going on.
class History {
 public:
  /// The event that begins now. `name` is kept, not copied.
  void begin_event(const char* name, std::uint64_t now_ns) noexcept {
    ++event_;
    event_name_ = name;
    now_ns_ = now_ns;
  }
  [[nodiscard]] std::uint64_t event() const noexcept { return event_; }

  void add(QueueIndex queue, Tag tag, bool was_taken, const RequestState& before, bool is_taken,
           const RequestState& after) {
    lines_[next_++ % lines_.size()] = {.event = event_,
                                       .name = event_name_,
                                       .now_ns = now_ns_,
                                       .queue = queue,
                                       .tag = tag,
                                       .was_taken = was_taken,
                                       .is_taken = is_taken,
                                       .before = before,
                                       .after = after};
  }

  /// Prints the latest transitions of one request, oldest first.
  void print(std::FILE* file, QueueIndex queue, Tag tag, std::size_t most) const {
    std::vector<const Line*> own;
    const std::size_t kept = next_ < lines_.size() ? next_ : lines_.size();
    for (std::size_t i = 0; i != kept && own.size() != most; ++i) {
      const Line& line = lines_[(next_ - 1 - i) % lines_.size()];
      if (line.queue == queue && line.tag == tag) own.push_back(&line);
    }
    for (auto line = own.rbegin(); line != own.rend(); ++line) print(file, **line);
  }

 private:
  struct Line {
    std::uint64_t event = 0;
    const char* name = "";
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
                 line.now_ns / 1000, line.name, line.queue.value, line.tag.value);
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
