// SPDX-License-Identifier: BSL-1.0
//
// History: what happened to each request of a run, for the report of a finding.
//
// A world announces each event, and within it each activity: a hook of the driver that it calls, or
// a step of the device. The InvariantChecker adds the transitions of the ownership words after the
// event, the device's events and the driver's lookups come as they happen, and each fault when it
// strikes. An entry belongs to one request, and each request keeps its latest entries: an I/O that
// has been in flight for long still has its beginning. Texts are made only when a finding is
// printed.

#ifndef BLKOWN_SIM_HARNESS_HISTORY_HPP
#define BLKOWN_SIM_HARNESS_HISTORY_HPP

#include <algorithm>
#include <array>
#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/saturating.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/tag.hpp>
#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// What the world does, or has the driver do: "timeout hook of queue 0, tag 3".
struct Activity {
  /// What `queue` and `tag` say.
  enum class Of : std::uint8_t { nothing, vector, context, queue, request };

  const char* name = "";  ///< Lives as long as the program.
  Of of = Of::nothing;
  std::uint32_t number = 0;  ///< Of the queue, the MSI-X vector or the context.
  std::uint32_t tag = 0;     ///< Of a request.

  /// An activity for a queue.
  [[nodiscard]] static Activity of_queue(const char* name, QueueIndex queue) noexcept {
    return {.name = name, .of = Of::queue, .number = queue.value};
  }
  /// An activity for a request.
  [[nodiscard]] static Activity of_request(const char* name, QueueIndex queue, Tag tag) noexcept {
    return {.name = name, .of = Of::request, .number = queue.value, .tag = tag.value};
  }
  /// Whether the activity names this request.
  [[nodiscard]] bool is_of(QueueIndex queue, Tag its_tag) const noexcept {
    return of == Of::request && number == queue.value && tag == its_tag.value;
  }
};

/// The activity as text.
[[nodiscard]] inline std::string to_string(const Activity& activity) {
  std::string text = activity.name;
  if (activity.of == Activity::Of::nothing) return text;
  text += activity.of == Activity::Of::vector    ? " of vector "
          : activity.of == Activity::Of::context ? " on context "
                                                 : " of queue ";
  text += std::to_string(activity.number);
  if (activity.of == Activity::Of::request) text += ", tag " + std::to_string(activity.tag);
  return text;
}

/// What an I/O is: for the report.
struct IoText {
  const char* operation = "";  ///< Empty: not known. Lives as long as the program.
  std::uint64_t sector = 0;
  std::uint64_t length_sectors = 0;  ///< 0: the operation has no range, or it is not known.
  bool is_fua = false;
  bool is_elsewhere = false;            ///< The command went to no disk of the run.
  std::optional<std::uint32_t> disk{};  ///< Of several: the number, from 0.
  bool is_private = false;              ///< A command of the driver's own: it has no place.
};

/// The I/O as text: "write of sectors 20 to 23 with FUA".
[[nodiscard]] inline std::string to_string(const IoText& io) {
  std::string text = io.operation;
  if (io.length_sectors == 1) text += " of sector " + std::to_string(io.sector);
  if (io.length_sectors > 1) {
    text += " of sectors " + std::to_string(io.sector) + " to " +
            std::to_string(blkown::detail::saturating_add(io.sector, io.length_sectors - 1));
  }
  if (io.is_fua) text += " with FUA";
  if (io.disk.has_value()) text += " of disk " + std::to_string(*io.disk);
  return io.is_elsewhere ? text + ", in the namespace of another disk" : text;
}

/// A cookie as text, decoded: "cookie 0x1003 (generation 0x1, tag 3)".
[[nodiscard]] inline std::string cookie_text(const CookieLayout& layout, std::uint64_t value) {
  const auto field = [value](const char* name, const CookieField& its) {
    char text[48] = "";
    if (its.bits == 0) return std::string{};
    const std::uint64_t part = (value >> its.shift) & its.max();
    std::snprintf(text, sizeof text, "%s %" PRIu64, name, part);
    return std::string{text};
  };
  char text[32];
  std::snprintf(text, sizeof text, "cookie 0x%" PRIx64, value);
  std::string fields = field("generation", layout.generation);
  for (const std::string& other : {field("queue", layout.queue), field("tag", layout.tag)}) {
    if (!other.empty()) fields += (fields.empty() ? "" : ", ") + other;
  }
  return std::string{text} + " (" + fields + ")";
}

/// The ownership word of a request as text: "2 finished, generation 7", or "free" without a state.
[[nodiscard]] inline std::string word_text(const std::optional<RequestState>& state) {
  if (!state.has_value()) return "free";
  const char* flag = state->owned ? " owned" : state->claimed ? " claimed" : "";
  if (state->finished) flag = " finished";
  return std::to_string(state->count) + flag + ", generation " +
         std::to_string(state->generation.value);
}

/// The latest entries of each request, and the latest strikes of all faults.
///
/// Context: the one that runs the world.
class History {
 public:
  /// A fault that struck, and the request at whose command or mapping it did.
  struct Strike {
    FaultStrike fault;
    std::uint64_t event = 0;
    bool has_request = false;
    QueueIndex queue;
    Tag tag;
  };

  // --- events -----------------------------------------------------------------------------------

  /// Begins an event. Entries that are added until the next event belong to this event.
  void begin_event(const Activity& activity, std::uint64_t now_ns) noexcept {
    ++event_;
    now_ns_ = now_ns;
    depth_ = 0;
    is_unnamed_ = false;
    activities_[0] = latest_ = activity;
  }
  /// Begins an event that is no activity of a queue.
  void begin_event(const char* event_name, std::uint64_t now_ns) noexcept {
    begin_event(Activity{.name = event_name}, now_ns);
  }
  /// Begins an event of which only `name_event` or an activity tells what it is.
  void begin_step(std::uint64_t now_ns) noexcept {
    begin_event("step", now_ns);
    is_unnamed_ = true;
  }
  /// Names the event of begin_step, unless it has a name.
  void name_event(const Activity& activity) {
    if (is_unnamed_ && depth_ == 0) turn_to(activity);
  }
  /// The number of the current event, from 1; 0 before the first event.
  [[nodiscard]] std::uint64_t event() const noexcept { return event_; }

  /// The time of the current event.
  [[nodiscard]] std::uint64_t now_ns() const noexcept { return now_ns_; }

  /// An activity within the event, or within another activity, while the object exists.
  class Within {
   public:
    /// Begins the activity.
    Within(History& history, const Activity& activity) : history_{history} {
      if (++history_.depth_ < max_depth) history_.activities_[history_.depth_] = activity;
      history_.begin(activity);
    }
    Within(const Within&) = delete;
    Within& operator=(const Within&) = delete;
    ~Within() { --history_.depth_; }

   private:
    History& history_;
  };
  /// An activity of which only the beginning is known: it replaces the current one.
  void turn_to(const Activity& activity) {
    if (depth_ < max_depth) activities_[depth_] = activity;
    if (depth_ == 0) is_unnamed_ = false;
    begin(activity);
  }

  /// The innermost of the present activities that is of a request, if there is one.
  [[nodiscard]] std::optional<Activity> request_activity() const noexcept {
    for (std::size_t i = innermost_kept() + 1; i != 0; --i) {
      if (activities_[i - 1].of == Activity::Of::request) return activities_[i - 1];
    }
    return std::nullopt;
  }
  /// Where the world is: the innermost activity, and those around it. After an event, the latest
  /// activity of the event.
  [[nodiscard]] std::string place() const {
    return text_within(depth_ == 0 ? latest_ : activities_[innermost_kept()]);
  }
  /// The same for a finding about a request: after an event, the latest activity of the event that
  /// has concerned the request.
  [[nodiscard]] std::string place(QueueIndex queue, Tag tag) const {
    const Log* const log = find(queue, tag);
    if (depth_ != 0 || log == nullptr || log->activity_event != event_) return place();
    return text_within(log->activity);
  }

  // --- entries ----------------------------------------------------------------------------------

  /// Adds a transition of one request. `was_taken` and `is_taken`: whether its tag is allocated.
  void add(QueueIndex queue, Tag tag, bool was_taken, const RequestState& before, bool is_taken,
           const RequestState& after) {
    Log& log = log_of(queue, tag);
    Entry& entry = append(log, EntryKind::transition);
    // The transition is seen after the event.
    entry.activity = log.activity_event == event_ ? log.activity : activities_[0];
    entry.was_taken = was_taken;
    entry.is_taken = is_taken;
    std::construct_at(&entry.content.transition, before, after);
    log.state = is_taken ? std::optional{after} : std::nullopt;
    log.generation = is_taken ? after.generation : before.generation;
    if (is_taken && !was_taken) log.allocated_event = event_;
  }
  /// Adds what happened to one request. The texts live as long as the program.
  void note(QueueIndex queue, Tag tag, const char* what, const char* detail = "") {
    Log& log = log_of(queue, tag);
    Entry& entry = append(log, EntryKind::note);
    concern(log, entry.activity);
    std::construct_at(&entry.content.note, what, detail);
  }
  /// The same, with a cookie.
  void note(QueueIndex queue, Tag tag, const char* what, const char* detail, std::uint64_t cookie) {
    Log& log = log_of(queue, tag);
    Entry& entry = append(log, EntryKind::cookie);
    concern(log, entry.activity);
    std::construct_at(&entry.content.note, what, detail, cookie);
  }
  /// Sets what the request's I/O is.
  void describe(QueueIndex queue, Tag tag, const IoText& io) { log_of(queue, tag).io = io; }
  /// Adds a fault that has struck at no request.
  void strike(const FaultStrike& fault) {
    strikes_[strike_count_++ % strikes_.size()] = {
        .fault = fault, .event = event_, .has_request = false, .queue = {}, .tag = {}};
  }
  /// Adds a fault that has struck at a command or a mapping of the request.
  void strike(const FaultStrike& fault, QueueIndex queue, Tag tag) {
    const Strike strike{
        .fault = fault, .event = event_, .has_request = true, .queue = queue, .tag = tag};
    strikes_[strike_count_++ % strikes_.size()] = strike;
    Log& log = log_of(queue, tag);
    std::construct_at(&append(log, EntryKind::strike).content.strike, fault);
    log.add(strike);
  }
  /// Adds a false completion that names the request, and the fault that has just struck.
  void false_completion(QueueIndex queue, Tag tag, std::uint64_t cookie,
                        const std::optional<FaultStrike>& fault) {
    note(queue, tag, "the device posts a false completion", "", cookie);
    if (!fault.has_value()) return;
    const auto own = strikes_of(queue, tag);
    if (!own.empty() && own.front().fault == *fault) return;
    Log& log = log_of(queue, tag);
    std::construct_at(&append(log, EntryKind::strike).content.strike, *fault);
    log.add({.fault = *fault, .event = event_, .has_request = true, .queue = queue, .tag = tag});
  }

  // --- the report -------------------------------------------------------------------------------

  /// The layout of the cookies that print() decodes.
  void set_layout(const CookieLayout& layout) noexcept { layout_ = layout; }
  /// The layout of set_layout.
  [[nodiscard]] const CookieLayout& layout() const noexcept { return layout_; }

  /// The request's I/O, whose operation is empty if it is not known.
  [[nodiscard]] IoText io_of(QueueIndex queue, Tag tag) const {
    const Log* const log = find(queue, tag);
    return log != nullptr ? log->io : IoText{};
  }
  /// The request's ownership word after the latest event, or none if the tag is free.
  [[nodiscard]] std::optional<RequestState> state_of(QueueIndex queue, Tag tag) const {
    const Log* const log = find(queue, tag);
    return log != nullptr ? log->state : std::nullopt;
  }
  /// The generation of the request, also when its tag is free again. None: not known.
  [[nodiscard]] std::optional<Generation> generation_of(QueueIndex queue, Tag tag) const {
    const Log* const log = find(queue, tag);
    return log != nullptr ? log->generation : std::nullopt;
  }
  /// The latest faults that struck at the request, latest first: at most four.
  [[nodiscard]] std::vector<Strike> strikes_of(QueueIndex queue, Tag tag) const {
    const Log* const log = find(queue, tag);
    return log != nullptr ? latest_of(log->strikes, log->strike_count, log->strikes.size())
                          : std::vector<Strike>{};
  }
  /// The event in which the request's tag was allocated last.
  [[nodiscard]] std::uint64_t allocated_in(QueueIndex queue, Tag tag) const {
    const Log* const log = find(queue, tag);
    return log != nullptr ? log->allocated_event : 0;
  }
  /// The latest faults of all requests, latest first.
  [[nodiscard]] std::vector<Strike> latest_strikes(std::size_t max_count) const {
    return latest_of(strikes_, strike_count_, max_count);
  }
  /// The number of faults that have struck.
  [[nodiscard]] std::size_t strike_count() const noexcept { return strike_count_; }

  /// Prints the latest `max_lines` entries of one request, oldest first. With `first_event`, those
  /// that begin with this event, as far as they are kept.
  void print(std::FILE* file, QueueIndex queue, Tag tag, std::size_t max_lines,
             std::optional<std::uint64_t> first_event = std::nullopt) const {
    const Log* const log = find(queue, tag);
    if (log == nullptr) return;
    const auto entry = [&](std::size_t age) -> const Entry& {
      return log->entries[(log->count - age) % entries_of_request];
    };
    const std::size_t kept = std::min(log->count, entries_of_request);
    std::size_t first = std::min(kept, max_lines);
    if (first_event.has_value()) {
      first = kept;
      while (first > 1 && entry(first).event < *first_event) --first;
    }
    const std::size_t count = std::min(first, max_lines);
    for (std::size_t i = 0; i != count; ++i) print(file, queue, tag, entry(first - i));
  }

 private:
  static constexpr std::size_t max_depth = 8;
  static constexpr std::size_t entries_of_request = 64;

  enum class EntryKind : std::uint8_t { transition, note, cookie, strike };
  struct Note {
    const char* what = "";
    const char* detail = "";
    std::uint64_t cookie = 0;
  };
  struct Transition {
    RequestState before;
    RequestState after;
  };
  struct Entry {
    EntryKind kind{};
    bool was_taken = false;
    bool is_taken = false;
    std::uint64_t event = 0;
    std::uint64_t now_ns = 0;
    Activity activity;
    /// The content, by the kind. Together, because a run writes more entries than a cache holds.
    union Content {
      Content() noexcept : note{} {}
      Note note;
      Transition transition;
      FaultStrike strike;
    } content;
  };
  struct Log {
    std::vector<Entry> entries;  // a ring
    std::size_t count = 0;       // of all entries so far
    std::optional<RequestState> state;
    std::optional<Generation> generation;  // of the latest state with an allocated tag
    std::uint64_t allocated_event = 0;
    std::uint64_t activity_event = 0;  // of the latest activity that has concerned the request
    Activity activity;
    IoText io;
    std::array<Strike, 4> strikes{};  // a ring
    std::size_t strike_count = 0;

    void add(const Strike& strike) { strikes[strike_count++ % strikes.size()] = strike; }
  };

  /// The latest strikes of a ring, latest first.
  template <class Ring>
  [[nodiscard]] static std::vector<Strike> latest_of(const Ring& ring, std::size_t count,
                                                     std::size_t max_count) {
    std::vector<Strike> latest;
    const std::size_t kept = std::min({count, ring.size(), max_count});
    for (std::size_t i = 0; i != kept; ++i) latest.push_back(ring[(count - 1 - i) % ring.size()]);
    return latest;
  }
  void begin(const Activity& activity) {
    latest_ = activity;
    if (activity.of != Activity::Of::request) return;
    concern(log_of(QueueIndex{activity.number}, Tag{activity.tag}), activity);
  }
  void concern(Log& log, const Activity& activity) const {
    log.activity_event = event_;
    log.activity = activity;
  }
  /// The index of the innermost activity that is kept.
  [[nodiscard]] std::size_t innermost_kept() const noexcept {
    return std::min(depth_, max_depth - 1);
  }
  /// The activity, and those within which it is.
  [[nodiscard]] std::string text_within(const Activity& innermost) const {
    std::string text = to_string(innermost);
    std::string inner = text;
    for (std::size_t i = innermost_kept() + 1; i != 0; --i) {
      const std::string one = to_string(activities_[i - 1]);
      // An interrupt of queue 1 is within the event "interrupt", which says less.
      if (one.empty() || inner.starts_with(one)) continue;
      text += (text.empty() ? "" : ", within ") + one;
      inner = one;
    }
    return text;
  }
  [[nodiscard]] Log& log_of(QueueIndex queue, Tag tag) {
    if (queue.value < logs_.size() && tag.value < logs_[queue.value].size()) [[likely]]
      return logs_[queue.value][tag.value];
    return new_log(queue, tag);
  }
  [[gnu::cold, gnu::noinline]] Log& new_log(QueueIndex queue, Tag tag) {
    if (queue.value >= logs_.size()) logs_.resize(queue.value + 1);
    std::vector<Log>& own = logs_[queue.value];
    if (tag.value >= own.size()) own.resize(tag.value + 1);
    return own[tag.value];
  }
  [[nodiscard]] const Log* find(QueueIndex queue, Tag tag) const noexcept {
    if (queue.value >= logs_.size() || tag.value >= logs_[queue.value].size()) return nullptr;
    return &logs_[queue.value][tag.value];
  }
  Entry& append(Log& log, EntryKind kind) const {
    if (log.entries.empty()) log.entries.resize(entries_of_request);
    Entry& entry = log.entries[log.count++ % entries_of_request];
    entry.kind = kind;
    entry.event = event_;
    entry.now_ns = now_ns_;
    entry.activity = activities_[innermost_kept()];
    return entry;
  }

  void print(std::FILE* file, QueueIndex queue, Tag tag, const Entry& entry) const {
    // The lines are those of one request: its queue and tag need not be repeated.
    const std::string where =
        entry.activity.is_of(queue, tag) ? entry.activity.name : to_string(entry.activity);
    std::fprintf(file, "  event %" PRIu64 " at %" PRIu64 " us, %s: ", entry.event,
                 entry.now_ns / 1000, where.c_str());
    switch (entry.kind) {
      case EntryKind::transition:
        std::fprintf(
            file, "%s -> %s",
            word_text(entry.was_taken ? std::optional{entry.content.transition.before}
                                      : std::nullopt)
                .c_str(),
            word_text(entry.is_taken ? std::optional{entry.content.transition.after} : std::nullopt)
                .c_str());
        break;
      case EntryKind::note:
        std::fprintf(file, "%s%s", entry.content.note.what, entry.content.note.detail);
        break;
      case EntryKind::cookie:
        std::fprintf(file, "%s%s, %s", entry.content.note.what, entry.content.note.detail,
                     cookie_text(layout_, entry.content.note.cookie).c_str());
        break;
      case EntryKind::strike:
        std::fprintf(file, "fault %s@%" PRIu64 " strikes", to_string(entry.content.strike.kind),
                     entry.content.strike.opportunity);
        break;
    }
    std::fputc('\n', file);
  }
  std::uint64_t event_ = 0;
  std::uint64_t now_ns_ = 0;
  std::array<Activity, max_depth> activities_{};  // the event's, and those within it
  std::size_t depth_ = 0;                         // of activities within the event
  Activity latest_;                               // of the event
  bool is_unnamed_ = false;                       // the event of begin_step
  CookieLayout layout_ = CookieLayout::nvme();
  std::vector<std::vector<Log>> logs_;  // by queue and tag
  std::array<Strike, 16> strikes_{};
  std::size_t strike_count_ = 0;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
