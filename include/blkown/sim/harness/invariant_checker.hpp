// SPDX-License-Identifier: BSL-1.0
//
// InvariantChecker: checks the invariants of every request and of the IOMMU after every event.
//
// A world runs on one context, so between two events no operation is half done, and the ownership
// word of each request must agree with the handles and mappings that exist:
//   - A request is idle, owned, or in flight; an owned request has no reference and no mapping.
//   - In flight, the count is one more than the Claim and the mappings, which are pins.
//   - The flags claimed and finished are never both set, and never set on an idle request.
//   - A finished request has no mapping, except one that could not be unmapped.
//   - Memory that could not be unmapped stays mapped until the device is stopped, which the driver
//     does within a bounded number of events, and again if the memory cannot be unmapped then.
//   - A request is not published again with the mapping of an earlier publication.
//   - The generation never goes back.
// For the IOMMU: every access of a correct device was let through, only mapped memory was unmapped,
// and the driver has declared the device stopped (dma::Device::declare_stopped) only while it was.

#ifndef BLKOWN_SIM_HARNESS_INVARIANT_CHECKER_HPP
#define BLKOWN_SIM_HARNESS_INVARIANT_CHECKER_HPP

#include <algorithm>
#include <bit>
#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/ref_word.hpp>
#include <blkown/detail/tag_bitmap.hpp>
#include <blkown/dma/detail/backend_state.hpp>
#include <blkown/dma/detail/list_state.hpp>
#include <blkown/dma/detail/mapping_state.hpp>
#include <blkown/dma/device.hpp>
#include <blkown/dma/iova.hpp>
#include <blkown/dma/quarantine.hpp>
#include <blkown/place.hpp>
#include <blkown/request.hpp>
#include <blkown/sim/device/iommu.hpp>
#include <blkown/sim/device/iommu_fault.hpp>
#include <blkown/sim/harness/history.hpp>
#include <blkown/tag.hpp>
#include <blkown/tag_set.hpp>
#include <blkown/tracking.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// A broken invariant and, if it concerns one, the request.
struct Finding {
  std::string what;
  bool has_request = false;
  QueueIndex queue{};
  Tag tag{};
  /// The cookie that the finding is about. None: that of the request's publication.
  std::optional<std::uint64_t> cookie{};
  std::optional<RequestState> state{};  ///< The request's word. None: as the History has it.
  IoText io{};                          ///< Of the cookie's command. Empty: the request's I/O.
  std::uint64_t first_event = 0;        ///< Where the history begins. 0: the latest entries.
  std::string place{};                  ///< What the world did (History::place).
  Place caller{};                       ///< Of the operation that has failed. line() 0: not known.
  std::vector<std::string> details{};   ///< Further lines of the report.
  /// Where the request's holders took it (visit_holders), at the moment of the finding. Empty
  /// without a tracking build.
  std::vector<Place> holders{};
};

/// The places of the request's holders, for a Finding.
[[nodiscard]] inline std::vector<Place> holders_of(const RequestHeader& header) {
  std::vector<Place> holders;
  visit_holders(header, [&](const Place& place) { holders.push_back(place); });
  return holders;
}

/// Checks all requests of a TagSet and the IOMMU. Adds each transition to the History.
///
/// Context: the one that runs the driver, between two events.
template <class R>
class InvariantChecker {
 public:
  /// Precondition: the arguments outlive the checker.
  InvariantChecker(TagSet<R>& tags, dma::Device<Iommu>& device, Iommu& iommu, History& history)
      : tags_{tags},
        device_{&device},
        iommu_{&iommu},
        history_{history},
        requests_(seen_of(tags)),
        looks_(looks_of(requests_)),
        lines_(lines_of(tags)),
        due_(requests_.size() / 64 + 1) {}
  /// A checker of requests without mappings.
  InvariantChecker(TagSet<R>& tags, History& history)
      : tags_{tags},
        history_{history},
        requests_(seen_of(tags)),
        looks_(looks_of(requests_)),
        lines_(lines_of(tags)),
        due_(requests_.size() / 64 + 1) {}

  /// The events that may pass until the driver has stopped a device that did not unmap memory.
  static constexpr std::uint64_t max_events_kept = 5'000;

  /// Checks all invariants. `stops`: how often the device was stopped so far. `is_stopped`: it is
  /// stopped now.
  /// Errors: false if one is broken. finding() has the first one.
  [[nodiscard]] bool after_event(std::uint64_t stops = 0, bool is_stopped = false) {
    is_stopped_ = is_stopped;
    const bool has_transition = note_transitions();
    // A mapping begins and ends with a call of the IOMMU, and a renewed one is used only after a
    // publication. What was checked need not be checked again.
    const auto calls =
        iommu_ == nullptr ? std::optional<std::uint64_t>{0} : iommu_->mapping_calls();
    const bool may_have_calls = std::exchange(mapping_calls_, calls) != calls || !calls.has_value();
    if (std::exchange(has_publication_, false) || may_have_calls) note_mappings();
    if (has_transition || may_have_calls || kept_count_ != 0 || !is_well_) is_well_ = check(stops);
    return is_well_ && check_accesses();
  }

  /// The first finding, whose text is empty if no invariant was broken.
  [[nodiscard]] const Finding& finding() const noexcept { return finding_; }

  /// Checks the IOMMU alone, which is possible within an event.
  /// Errors: as after_event().
  [[nodiscard]] bool check_accesses() { return iommu_ == nullptr || check_iommu(); }

 private:
  /// When a mapping that could not be unmapped was first seen, and the stops before the latest
  /// event in which the device was running with it.
  struct Kept {
    std::uint64_t event = 0;
    std::optional<std::uint64_t> stops;
  };
  /// The mappings of a request.
  struct Pins {
    std::uint32_t count = 0;
    std::uint32_t kept = 0;  // could not be unmapped
    Generation mapped_generation;
    friend bool operator==(const Pins&, const Pins&) = default;
  };
  /// What is looked at after each event, apart from the rest of Seen: a request's word, and the
  /// word of its latest transition.
  struct Look {
    const blkown::detail::RefWord<Word>* now;
    Word seen = 0;
  };
  struct Seen {
    const RequestHeader* header = nullptr;
    bool is_taken = false;
    bool has_generation = false;  // the tag was allocated before
    bool goes_back = false;       // the generation, with the latest transition
    RequestState state;
    Pins pins;
    std::optional<Kept> kept;
  };
  /// A list of the device, as it was looked at last.
  struct Listed {
    const dma::detail::ListFields* list = nullptr;
    Word word = 0;
    Generation generation;
    dma::QuarantineReason reason{};
    bool is_mapped = false;
    bool is_kept = false;  // the mapping could not be unmapped
    std::size_t request = 0;
  };
  /// Tags of one word of a bitmap.
  struct Line {
    const blkown::detail::TagBitmap* bitmap;
    std::uint32_t index;
    QueueIndex queue;
    std::uint32_t first_tag;
    std::size_t first_request;
    Word taken = 0;  // as seen
  };

  /// Adds the transitions since the latest call to the History. False: there was none.
  bool note_transitions() {
    bool has_transition = false;
    for (Line& line : lines_) {
      const Word taken = line.bitmap->taken_of_line(line.index);
      const Word before = std::exchange(line.taken, taken);
      const Look* const looks = &looks_[line.first_request];
      Word changed = taken ^ before;
      for (Word left = taken; left != 0; left &= left - 1) {
        const int at = std::countr_zero(left);
        const Look& look = looks[at];
        changed |= static_cast<Word>(Word{look.now->peek().bits != look.seen} << at);
      }
      has_transition = has_transition || changed != 0;
      for (; changed != 0; changed &= changed - 1) {
        note_transition(line, static_cast<std::uint32_t>(std::countr_zero(changed)));
      }
    }
    return has_transition;
  }
  [[gnu::noinline]] void note_transition(const Line& line, std::uint32_t tag_of_line) {
    const QueueIndex queue = line.queue;
    const Tag tag{line.first_tag + tag_of_line};
    Seen& before = requests_[line.first_request + tag_of_line];
    Look& look = looks_[line.first_request + tag_of_line];
    look.seen = look.now->peek().bits;
    const auto now = tags_.state_of(queue, tag);
    const bool is_taken = now.has_value();
    const RequestState state = now.value_or(RequestState{.generation = before.state.generation});
    has_publication_ = has_publication_ || state.generation != before.state.generation;
    history_.add(queue, tag, before.is_taken, before.state, is_taken, state);
    before.goes_back =
        is_taken && before.has_generation &&
        static_cast<std::int32_t>((state.generation.value - before.state.generation.value) *
                                  (BLKOWN_WORD_BITS == 64 ? 1U : 65536U)) < 0;
    before.is_taken = is_taken;
    before.has_generation = before.has_generation || is_taken;
    before.state = state;
    make_due(before);
  }

  void note_mappings() {
    if (device_ == nullptr) return;
    auto& state = dma::detail::DeviceAccess::state(*device_);
    const std::uint64_t attachments = state.attachments();
    if (std::exchange(attachments_, attachments) != attachments) list_again(state);
    // Most lists are as they were: their requests keep their pins.
    for (Listed& known : lists_) {
      const auto seen = known.list->state.look();
      if (known.word != seen.word || known.reason != known.list->reason ||
          known.generation != known.list->cookie.generation) {
        change_list(known, listed(*known.list, seen));
      }
    }
    for (const std::size_t at : changed_) note_pins(at);
    changed_.clear();
  }
  /// Looks up the lists of the device again.
  void list_again(dma::detail::BackendState<Iommu>& state) {
    for (Listed& known : lists_) change_list(known, {});
    lists_.clear();
    state.for_each_list([&](const dma::detail::ListFields& list, dma::detail::MappingState::Seen) {
      lists_.emplace_back().list = &list;
    });
  }
  [[nodiscard]] Listed listed(const dma::detail::ListFields& list,
                              dma::detail::MappingState::Seen seen) const noexcept {
    using Value = dma::detail::MappingState::Value;
    Listed its{.list = &list,
               .word = seen.word,
               .generation = list.cookie.generation,
               .reason = list.reason};
    its.is_mapped = seen.value() != Value::free;
    its.is_kept =
        seen.value() == Value::quarantined && list.reason == dma::QuarantineReason::unmap_failed;
    if (its.is_mapped)
      its.request = list.cookie.queue.value * tags_.depth() + list.cookie.tag.value;
    return its;
  }
  [[gnu::noinline]] void change_list(Listed& known, const Listed& now) {
    if (known.is_mapped) changed_.push_back(known.request);
    known = now;
    if (known.is_mapped) changed_.push_back(known.request);
  }
  void note_pins(std::size_t request) {
    Pins pins;
    for (const Listed& its : lists_) {
      if (!its.is_mapped || its.request != request) continue;
      ++pins.count;
      if (its.is_kept) ++pins.kept;
      pins.mapped_generation = its.generation;
    }
    Seen& seen = requests_[request];
    if (pins == std::exchange(seen.pins, pins)) return;
    make_due(seen);
  }
  void make_due(const Seen& seen) noexcept {
    const auto at = static_cast<std::size_t>(&seen - requests_.data());
    due_[at / 64] |= std::uint64_t{1} << at % 64;
  }
  /// Checks the requests that have changed, and those with memory that could not be unmapped; or
  /// all of them, if one was not well.
  [[nodiscard]] bool check(std::uint64_t stops) {
    bool is_well = true;
    if (is_well_ && kept_count_ == 0) {
      for (std::size_t word = 0; word != due_.size(); ++word) {
        for (std::uint64_t left = due_[word]; left != 0; left &= left - 1) {
          const std::size_t at = word * 64 + static_cast<unsigned>(std::countr_zero(left));
          is_well = check_all_of(requests_[at], stops) && is_well;
        }
      }
    } else {
      for (Seen& seen : requests_) is_well = check_all_of(seen, stops) && is_well;
    }
    std::ranges::fill(due_, 0);
    return is_well;
  }
  [[nodiscard]] bool check_all_of(Seen& seen, std::uint64_t stops) {
    const QueueIndex queue = seen.header->queue();
    const Tag tag = seen.header->tag();
    const bool is_well = check_request(queue, tag, seen);
    if (seen.pins.kept == 0 && !seen.kept.has_value()) [[likely]]
      return is_well;
    return check_kept(queue, tag, stops) && is_well;
  }
  bool check_request(QueueIndex queue, Tag tag, Seen& seen) {
    if (std::exchange(seen.goes_back, false)) {
      return fail("the generation of a request went back", queue, tag);
    }
    const RequestState& state = seen.state;
    if (!seen.is_taken || (state.count == 0 && !state.owned)) {
      if (seen.pins.count != 0) return fail("a free or idle request has a mapping", queue, tag);
      if (state.claimed || state.finished) {
        return fail("an idle request is claimed or finished", queue, tag);
      }
      return true;
    }
    if (state.owned) {
      if (state.count != 0 || state.claimed || state.finished) {
        return fail("an owned request has references or further flags", queue, tag);
      }
      if (seen.pins.count != 0) return fail("an owned request has a mapping", queue, tag);
      return true;
    }
    return check_in_flight(queue, tag, seen);
  }

  bool check_in_flight(QueueIndex queue, Tag tag, const Seen& seen) {
    const RequestState& state = seen.state;
    if (state.claimed && state.finished) {
      return fail("a request is both claimed and finished", queue, tag);
    }
    if (state.finished && seen.pins.count != seen.pins.kept) {
      return fail("an I/O has ended while its memory is mapped", queue, tag);
    }
    const std::uint32_t expected = 1 + seen.pins.count + (state.claimed ? 1 : 0);
    if (state.count != expected) {
      return fail("the count is " + std::to_string(state.count) + " and should be " +
                      std::to_string(expected) +
                      ", one more than the handles and mappings that exist",
                  queue, tag);
    }
    // A map that failed half-way may have left memory mapped for a publication that is not made.
    if (seen.pins.count != 0 && !state.claimed && !state.finished &&
        seen.pins.mapped_generation != state.generation) {
      return fail("a request was published again with the mapping of an earlier publication", queue,
                  tag);
    }
    return true;
  }

  /// The device may still reach memory that it did not unmap, so the memory is given back only
  /// while the device is stopped. A stop after which the memory could not be unmapped either, and
  /// the device was started again, is none. The check sees the state between events: a driver that
  /// stops the device, starts it and drains within one event passes.
  /// Precondition: the request has or had such memory.
  bool check_kept(QueueIndex queue, Tag tag, std::uint64_t stops) {
    Seen& seen = requests_[queue.value * tags_.depth() + tag.value];
    if (seen.pins.kept != 0) {
      if (!seen.kept.has_value()) {
        seen.kept = Kept{.event = history_.event(), .stops = {}};
        ++kept_count_;
      }
      if (!is_stopped_) seen.kept->stops = stops;
      if (history_.event() - seen.kept->event <= max_events_kept) return true;
      return fail(
          "memory that could not be unmapped stays mapped: the driver does not stop the"
          " device",
          queue, tag);
    }
    const Kept before = *std::exchange(seen.kept, std::nullopt);
    --kept_count_;
    if (is_stopped_ || before.stops != stops) return true;
    return fail("memory that could not be unmapped was given back, and the device was not stopped",
                queue, tag);
  }

  bool check_iommu() {
    if (iommu_->false_stops() != 0) {
      return fail("the driver declared the device stopped while it was running");
    }
    const IommuFaultCounts faults = iommu_->fault_counts();
    if (faults.not_forbidden != 0) {
      if (!finding_.what.empty()) return false;
      const auto log = iommu_->faults();
      for (const IommuFault& fault : log) {
        if (fault.is_forbidden) continue;
        fail(std::string{"the IOMMU refused an access of a correct device: "} +
             to_string(fault.kind) + ", " + to_string(fault.direction));
        // No command: the access is one to a ring.
        if (fault.cookie != 0) finding_.cookie = fault.cookie;
        if (fault.owner != 0) {
          finding_.details.push_back("the memory is or was mapped for " +
                                     cookie_text(tags_.layout(), fault.owner));
        }
        return false;
      }
      return fail("the IOMMU refused an access of a correct device");
    }
    if (iommu_->bad_unmaps() != 0) return fail("the driver unmapped memory that was not mapped");
    return true;
  }

  [[nodiscard]] static std::vector<Seen> seen_of(const TagSet<R>& tags) {
    std::vector<Seen> requests(std::size_t{tags.queue_count()} * tags.depth());
    auto seen = requests.begin();
    for (QueueIndex queue; queue.value != tags.queue_count(); ++queue.value) {
      for (Tag tag; tag.value != tags.depth(); ++tag.value, ++seen) {
        seen->header = &tags.header(queue, tag);
      }
    }
    return requests;
  }
  [[nodiscard]] static std::vector<Look> looks_of(const std::vector<Seen>& requests) {
    std::vector<Look> looks;
    for (const Seen& seen : requests) {
      looks.push_back(
          {&blkown::detail::HeaderAccess::word(const_cast<RequestHeader&>(*seen.header))});
    }
    return looks;
  }
  [[nodiscard]] std::vector<Line> lines_of(const TagSet<R>& tags) const {
    std::vector<Line> lines;
    for (QueueIndex queue; queue.value != tags.queue_count(); ++queue.value) {
      const std::size_t first = std::size_t{queue.value} * tags.depth();
      const auto& bitmap =
          blkown::detail::HeaderAccess::state(*requests_[first].header).bitmaps[queue.value];
      for (Tag tag; tag.value != tags.depth(); ++tag.value) {
        const std::uint32_t index = bitmap.line_of(tag);
        if (!lines.empty() && lines.back().queue == queue && lines.back().index == index) continue;
        lines.push_back({.bitmap = &bitmap,
                         .index = index,
                         .queue = queue,
                         .first_tag = tag.value,
                         .first_request = first + tag.value});
      }
    }
    return lines;
  }

  [[gnu::cold, gnu::noinline]] bool fail(std::string what) {
    if (finding_.what.empty()) finding_.what = std::move(what);
    return false;
  }
  [[gnu::cold, gnu::noinline]] bool fail(std::string what, QueueIndex queue, Tag tag) {
    if (finding_.what.empty()) {
      finding_ = {.what = std::move(what),
                  .has_request = true,
                  .queue = queue,
                  .tag = tag,
                  .state = tags_.state_of(queue, tag),
                  .holders = holders_of(tags_.header(queue, tag))};
    }
    return false;
  }

  TagSet<R>& tags_;
  dma::Device<Iommu>* device_ = nullptr;
  Iommu* iommu_ = nullptr;
  History& history_;
  std::vector<Seen> requests_;  // by queue and tag
  std::vector<Look> looks_;     // by queue and tag
  std::vector<Line> lines_;
  std::uint64_t attachments_ = 0;     // of `lists_`
  std::vector<Listed> lists_;         // in the device's order
  std::vector<std::size_t> changed_;  // the requests whose mappings note_mappings() counts again
  std::vector<std::uint64_t>
      due_;                     // by queue and tag, a bit for each: changed since the latest check
  bool is_stopped_ = false;     // the device, after the present event
  std::size_t kept_count_ = 0;  // of requests with `kept`
  std::optional<std::uint64_t> mapping_calls_;  // of the IOMMU, at the latest check
  bool has_publication_ = false;                // a generation has changed since note_mappings()
  bool is_well_ = false;                        // all requests were, at the latest check
  Finding finding_;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
