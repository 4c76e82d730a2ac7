// SPDX-License-Identifier: BSL-1.0
//
// Oracle: judges the driver's lookups of the completions that a simulated controller posts.
//
// The controller reports its events to the Oracle (CommandObserver). The harness reports every
// lookup of the driver (note_lookup). The Oracle compares the two:
//   - Every entry that the driver takes from a ring must be looked up once, with the queue of the
//     ring (unaccounted).
//   - A lookup that succeeds must name a command that the controller has, has done, or has refused
//     with a false completion. Any other success is a wrong claim.
//   - A lookup of a genuine completion must succeed.
//   - A driver cannot tell a well forged completion from a genuine one. If the driver accepts a
//     false completion, the Oracle tells the controller to disown the command, so that the
//     controller's later accesses to the memory do not count as the driver's errors.
//   - An entry that the driver could see, and whose interrupt has come, must not stay in its ring
//     (left_entry). A driver may take it a little later than within the interrupt.
// When the controller stops, the Oracle forgets every command.

#ifndef BLKOWN_SIM_HARNESS_ORACLE_HPP
#define BLKOWN_SIM_HARNESS_ORACLE_HPP

#include <algorithm>
#include <array>
#include <blkown/config.hpp>
#include <blkown/detail/user_list.hpp>
#include <blkown/sim/device/command.hpp>
#include <blkown/sim/device/command_id.hpp>
#include <blkown/sim/device/controller_observer.hpp>
#include <blkown/sim/device/message_device.hpp>
#include <blkown/sim/device/nvme/command.hpp>
#include <blkown/sim/device/nvme/controller.hpp>
#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

namespace detail {

/// Matches the entries that a driver took from its completion rings with the driver's lookups, in
/// any order.
class CompletionAccount {
 public:
  void take(const CommandId& id) { enter(taken_, looked_up_, id); }
  void look_up(const CommandId& id) { enter(looked_up_, taken_, id); }
  /// The number of entries without a lookup and of lookups without an entry.
  [[nodiscard]] std::size_t open() const noexcept { return taken_.size() + looked_up_.size(); }
  [[nodiscard]] std::size_t lookups_without_entry() const noexcept { return looked_up_.size(); }
  [[nodiscard]] std::span<const CommandId> taken() const noexcept { return taken_; }
  [[nodiscard]] std::span<const CommandId> looked_up() const noexcept { return looked_up_; }
  /// Whether one of the latest matches had this id.
  [[nodiscard]] bool was_matched(const CommandId& id) const noexcept {
    return std::ranges::find(matched_, id) != matched_.end();
  }
  void clear() noexcept {
    taken_.clear();
    looked_up_.clear();
    matched_.fill({});
  }
  void forget(std::uint32_t queue) {
    const auto is_of_queue = [&](const CommandId& id) { return id.queue == queue; };
    std::erase_if(taken_, is_of_queue);
    std::erase_if(looked_up_, is_of_queue);
  }

 private:
  void enter(std::vector<CommandId>& side, std::vector<CommandId>& other, const CommandId& id) {
    const auto match = std::ranges::find(other, id);
    if (match != other.end()) {
      other.erase(match);
      matched_[match_count_++ % matched_.size()] = id;
    } else {
      side.push_back(id);
    }
  }

  std::vector<CommandId> taken_;
  std::vector<CommandId> looked_up_;
  std::array<CommandId, 32> matched_{};  // the latest, a ring
  std::size_t match_count_ = 0;
};

}  // namespace detail

/// The Oracle's judgement of one lookup.
enum class LookupTruth : std::uint8_t {
  fits,             ///< Right, or wrong in a way that the driver cannot see.
  wrong_claim,      ///< The driver accepted a completion of a command that does not exist.
  refused_genuine,  ///< The driver refused the completion of a command that is done.
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(LookupTruth truth) noexcept {
  switch (truth) {
    case LookupTruth::fits: return "fits";
    case LookupTruth::wrong_claim: return "wrong_claim";
    case LookupTruth::refused_genuine: return "refused_genuine";
  }
  return "unknown truth";
}

/// What the Oracle says of a lookup by the driver. `Entry`: a command of the device.
template <class Entry>
struct LookupVerdictOf {
  LookupTruth truth = LookupTruth::fits;
  /// The commands that the driver takes for done because it accepted a false completion.
  std::vector<Entry> false_completions;
  /// The command that has failed for good, if the driver now knows that.
  std::optional<Entry> failed_for_good{};
};

/// The judge of the driver of one Device: an NvmeController or a MessageDevice. An
/// Oracle's memory grows with the number of commands until the controller stops. An Oracle is
/// therefore for runs of bounded length, in which every lookup is noted.
///
/// Context: the one that runs the controller and the driver; not thread-safe.
template <class Device>
class OracleOf final : public CommandObserver<typename Device::Entry> {
  using Entry = typename Device::Entry;

 public:
  /// Observes the controller, which outlives the Oracle.
  /// Precondition: the controller is stopped.
  explicit OracleOf(Device& controller)
      : controller_{controller},
        posted_(controller.queue_count()),
        taken_(controller.queue_count()),
        user_{&controller.users(), "a sim::Oracle"} {
    controller.set_observer(this);
  }
  ~OracleOf() override { controller_.set_observer(nullptr); }

  /// The number of entries that the driver took from a ring without a lookup, and of lookups
  /// without such an entry.
  [[nodiscard]] std::size_t unaccounted() const noexcept { return account_.open(); }

  /// Whether the driver took a genuine entry from a ring and has not looked it up.
  [[nodiscard]] bool has_ignored() const noexcept {
    return std::ranges::any_of(taken_, [](const std::deque<Posted>& entries) {
      return std::ranges::any_of(entries, &Posted::is_genuine);
    });
  }
  /// The number of lookups for which the driver took no entry from a ring.
  [[nodiscard]] std::size_t lookups_without_entry() const noexcept {
    return account_.lookups_without_entry();
  }

  /// Whether the driver has looked up an entry that is still in its ring.
  [[nodiscard]] bool has_kept_entry() const noexcept {
    return std::ranges::any_of(posted_, [](const std::deque<Posted>& entries) {
      return std::ranges::any_of(
          entries, [](const Posted& entry) { return entry.is_looked_up && !entry.is_foreign; });
    });
  }
  /// The driver gets an interrupt of the queue now.
  void note_interrupt(std::uint32_t queue, std::uint64_t now_ns) {
    for (Posted& entry : posted_[queue]) {
      if (!entry.announced_ns.has_value()) entry.announced_ns = now_ns;
    }
  }
  /// The cookie of an entry of the queue that the driver could see, and has left in the ring since
  /// an interrupt at this time or before.
  [[nodiscard]] std::optional<std::uint64_t> left_entry(std::uint32_t queue,
                                                        std::uint64_t time_ns) const noexcept {
    const std::deque<Posted>& entries = posted_[queue];
    if (entries.empty() || entries.front().is_hidden ||
        entries.front().announced_ns.value_or(UINT64_MAX) > time_ns) {
      return std::nullopt;
    }
    return entries.front().cookie;
  }
  /// The earliest announcement among the first entries of all rings, at most `now_ns`, the present
  /// time: that of an entry without an interrupt may come now. The entries behind a first one were
  /// announced no earlier.
  [[nodiscard]] std::uint64_t first_announced_ns(std::uint64_t now_ns) const noexcept {
    std::uint64_t first_ns = now_ns;
    for (const std::deque<Posted>& entries : posted_) {
      if (entries.empty()) continue;
      first_ns = std::min(first_ns, entries.front().announced_ns.value_or(now_ns));
    }
    return first_ns;
  }
  /// Called for each command that the device fetches or takes.
  struct FetchSink {
    void (*function)(void* argument, std::uint32_t queue, const Entry& entry) = nullptr;
    void* argument = nullptr;
  };
  /// Sets the sink of fetched commands.
  void set_fetch_sink(FetchSink sink) noexcept { fetch_sink_ = sink; }
  /// Whether the driver has written a value to a doorbell that is no index of the queue's ring.
  [[nodiscard]] bool has_misused_doorbell() const noexcept { return has_misused_doorbell_; }

  /// How often the controller has stopped.
  [[nodiscard]] std::uint64_t stops() const noexcept { return stops_; }

  /// An entry without its lookup, or a lookup without its entry.
  struct Unaccounted {
    std::uint32_t queue = 0;  ///< The device's number.
    std::uint64_t cookie = 0;
    std::string what;  ///< What the driver has done: "was looked up twice".
  };
  /// Says of the first one what the driver has done.
  /// Precondition: unaccounted() is not 0.
  [[nodiscard]] Unaccounted first_unaccounted() const {
    const auto taken = account_.taken();
    const auto looked_up = account_.looked_up();
    if (looked_up.empty()) return of(taken.front(), "was taken, and was not looked up");
    const detail::CommandId& id = looked_up.front();
    const auto its_entry = std::ranges::find(taken, id.cookie, &detail::CommandId::cookie);
    if (its_entry != taken.end()) {
      return of(*its_entry, "was looked up on " + text_of_queue(id.queue));
    }
    if (std::ranges::any_of(posted_[id.queue], [&](const Posted& one) {
          return one.is_looked_up && !one.is_foreign && one.cookie == id.cookie;
        })) {
      return of(id,
                "was looked up, but the completion queue's doorbell was not rung for the entry");
    }
    if (account_.was_matched(id)) return of(id, "was looked up twice");
    if (!taken.empty() && taken.front().queue == id.queue) {
      char text[64];
      std::snprintf(text, sizeof text, "was looked up with another cookie, 0x%" PRIx64, id.cookie);
      return of(taken.front(), text);
    }
    return of(id, "was looked up, but no entry had that cookie");
  }

  /// Judges one lookup of the driver.
  /// Effects: the controller disowns a command whose false completion was accepted.
  [[nodiscard]] LookupVerdictOf<Entry> note_lookup(std::uint32_t queue, std::uint64_t cookie,
                                                   bool was_accepted) {
    account_.look_up({queue, cookie});
    const std::optional<bool> entry = look_up_entry(queue, cookie);
    const bool is_genuine = entry.value_or(false);
    const auto done = std::ranges::find_if(
        done_, [&](const Done& one) { return is_same_command(one, queue, cookie); });
    const bool is_done = done != done_.end();
    if (!was_accepted) {
      if (!is_done || !is_genuine) return {};
      done_.erase(done);
      return {.truth = LookupTruth::refused_genuine, .false_completions = {}};
    }
    // A command that the controller still has comes first: an earlier command may have had the same
    // cookie.
    LookupVerdictOf<Entry> verdict{.truth = LookupTruth::fits,
                                   .false_completions = controller_.disown(queue, cookie)};
    if (!verdict.false_completions.empty()) return verdict;
    if (is_done) {
      if (!is_genuine) verdict.false_completions.push_back(done->entry);
      if (is_genuine && done->has_failed_for_good) verdict.failed_for_good = done->entry;
      done_.erase(done);
      return verdict;
    }
    // A false completion may name a command whose doorbell was not rung yet.
    if constexpr (requires { controller_.disown_unrung(queue, cookie); }) {
      if (entry.has_value()) {
        verdict.false_completions = controller_.disown_unrung(queue, cookie);
        if (!verdict.false_completions.empty()) return verdict;
      }
    }
    if (refused_.has_value() && is_same_command(*refused_, queue, cookie)) {
      verdict.false_completions.push_back(refused_->entry);
    } else {
      verdict.truth = LookupTruth::wrong_claim;
    }
    return verdict;
  }

 private:
  struct Done {
    std::uint32_t queue = 0;
    Entry entry;
    bool has_failed_for_good = false;
  };
  struct Posted {
    std::uint64_t cookie = 0;
    bool is_genuine = false;
    bool is_looked_up = false;
    bool is_foreign = false;  // names another submission queue: not to be looked up
    bool is_hidden = false;   // has the phase of the previous round
    std::optional<std::uint64_t> announced_ns{};  // the interrupt that the driver got
  };

  // --- CommandObserver --------------------------------------------------------------------------

  void command_fetched(std::uint32_t queue, const Entry& entry) override {
    if (fetch_sink_.function != nullptr) fetch_sink_.function(fetch_sink_.argument, queue, entry);
  }
  void command_refused(std::uint32_t queue, const Entry& entry) override {
    refused_ = Done{.queue = queue, .entry = entry};
  }
  void command_failed_for_good(std::uint32_t, const Entry&) override { fails_for_good_ = true; }
  void command_done(std::uint32_t queue, const Entry& entry) override {
    done_.push_back({queue, entry, std::exchange(fails_for_good_, false)});
  }
  void entry_posted(std::uint32_t queue, std::uint64_t cookie, bool is_genuine) override {
    posted_[queue].push_back(
        {.cookie = cookie, .is_genuine = is_genuine, .is_looked_up = false, .is_foreign = false});
  }
  void entry_hidden(std::uint32_t queue) override { posted_[queue].back().is_hidden = true; }
  void foreign_entry_posted(std::uint32_t queue) override {
    posted_[queue].push_back({.is_looked_up = true, .is_foreign = true});
  }
  void entry_taken(std::uint32_t queue) override {
    const Posted& entry = posted_[queue].front();
    if (entry.is_foreign) return posted_[queue].pop_front();
    account_.take({queue, entry.cookie});
    // A message is taken before its lookup, an entry of a ring after it.
    if (!entry.is_looked_up) taken_[queue].push_back(entry);
    posted_[queue].pop_front();
  }
  void doorbell_misused(std::uint32_t) override { has_misused_doorbell_ = true; }
  void stopped() override {
    ++stops_;
    for (auto& entries : posted_) entries.clear();
    for (auto& entries : taken_) entries.clear();
    account_.clear();
    done_.clear();
    refused_.reset();
  }
  void queue_stopped(std::uint32_t queue) override {
    posted_[queue].clear();
    taken_[queue].clear();
    account_.forget(queue);
    std::erase_if(done_, [&](const Done& one) { return one.queue == queue; });
    if (refused_.has_value() && refused_->queue == queue) refused_.reset();
  }

  [[nodiscard]] static Unaccounted of(const detail::CommandId& id, std::string what) {
    return {.queue = id.queue, .cookie = id.cookie, .what = std::move(what)};
  }
  /// A queue as the driver counts its queues: an NvmeController's queue 0 is the admin queue.
  [[nodiscard]] static std::string text_of_queue(std::uint32_t queue) {
    if constexpr (std::is_same_v<Device, NvmeController>) {
      if (queue == 0) return "the admin queue";
      --queue;
    }
    return "queue " + std::to_string(queue);
  }

  // --- lookups ----------------------------------------------------------------------------------

  /// Marks the oldest entry of this cookie that was not looked up yet. Returns whether that entry
  /// is genuine. None: there is no such entry.
  [[nodiscard]] std::optional<bool> look_up_entry(std::uint32_t queue, std::uint64_t cookie) {
    std::deque<Posted>& taken = taken_[queue];
    const auto match = std::ranges::find(taken, cookie, &Posted::cookie);
    if (match != taken.end()) {
      const bool is_genuine = match->is_genuine;
      taken.erase(match);
      return is_genuine;
    }
    for (Posted& posted : posted_[queue]) {
      if (posted.cookie != cookie || posted.is_looked_up) continue;
      posted.is_looked_up = true;
      return posted.is_genuine;
    }
    return std::nullopt;
  }
  [[nodiscard]] bool is_same_command(const Done& one, std::uint32_t queue,
                                     std::uint64_t cookie) const noexcept {
    return detail::is_same_command(controller_.config().layout,
                                   {one.queue, detail::cookie_of(one.entry)}, {queue, cookie});
  }

  Device& controller_;
  std::vector<std::deque<Posted>> posted_;  // the entries in each completion ring
  std::vector<std::deque<Posted>> taken_;   // taken from the ring, and not looked up yet
  detail::CompletionAccount account_;
  std::vector<Done> done_;  // done, and their completions not looked up yet
  FetchSink fetch_sink_;
  bool fails_for_good_ = false;  // the command that is done next
  std::optional<Done> refused_;  // the latest command with a false completion
  std::uint64_t stops_ = 0;
  bool has_misused_doorbell_ = false;
  blkown::detail::User user_;  // of the controller
};

/// The judge of the driver of an NvmeController. A queue is the completion queue of that
/// identifier, the admin queue included, and a cookie is a command identifier.
using NvmeOracle = OracleOf<NvmeController>;

/// The judge of the driver of a MessageDevice. A queue is a connection.
using MessageOracle = OracleOf<MessageDevice>;

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
