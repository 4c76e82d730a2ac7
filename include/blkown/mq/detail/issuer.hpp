// SPDX-License-Identifier: BSL-1.0
//
// Issuer: the outgoing half of a context's side of a disk: from bios to requests to the driver.

#ifndef BLKOWN_MQ_DETAIL_ISSUER_HPP
#define BLKOWN_MQ_DETAIL_ISSUER_HPP

#include <blkown/config.hpp>
#include <blkown/detail/handle_base.hpp>
#include <blkown/ended.hpp>
#include <blkown/idle.hpp>
#include <blkown/mq/bio.hpp>
#include <blkown/mq/counters.hpp>
#include <blkown/mq/detail/admission.hpp>
#include <blkown/mq/detail/flush_sequence.hpp>
#include <blkown/mq/detail/fwd.hpp>
#include <blkown/mq/detail/hw_queues.hpp>
#include <blkown/mq/detail/lane.hpp>
#include <blkown/mq/detail/lane_tags.hpp>
#include <blkown/mq/detail/lanes.hpp>
#include <blkown/mq/detail/medium_state.hpp>
#include <blkown/mq/detail/notes.hpp>
#include <blkown/mq/detail/rare_state.hpp>
#include <blkown/mq/detail/split.hpp>
#include <blkown/mq/detail/waiting_bios.hpp>
#include <blkown/mq/disk_config.hpp>
#include <blkown/mq/driver.hpp>
#include <blkown/mq/idle_list.hpp>
#include <blkown/mq/limits.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/mq/payload.hpp>
#include <blkown/mq/segments.hpp>
#include <blkown/mq/tag_pool.hpp>
#include <blkown/mq/trace.hpp>
#include <blkown/place.hpp>
#include <blkown/request.hpp>
#include <blkown/segment.hpp>
#include <blkown/status.hpp>
#include <blkown/tag.hpp>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// Splits bios, allocates tags and calls the driver. Bios and requests that cannot be issued yet
/// wait in the lanes. Belongs to its context.
template <class D>
class Issuer {
 public:
  using R = Request<D>;

  /// Bios that end are appended to `ended_bios`.
  Issuer(Disk<D>& disk, SubmitQueue<D>& submitter, Lanes<D>& lanes, ContextCounters& counters,
         BioList& ended_bios, Notes& notes)
      : disk_{disk},
        submitter_{submitter},
        lanes_{lanes},
        counters_{counters},
        ended_bios_{ended_bios},
        notes_{notes},
        limits_{effective_limits(disk.config(), disk.config().limits),
                disk.config().logical_block_bytes},
        flags_of_several_{several_requests(disk.config())},
        kept_flags_{kept_flags(disk.config())},
        holds_{unused | removed | (disk.config().blocking ? one_blocking : 0)} {}

  /// The limits of the requests that this context issues.
  [[nodiscard]] const QueueLimits& limits() const noexcept { return limits_.limits(); }

  /// The number of requests that hold a tag.
  [[nodiscard]] Word in_flight() const noexcept { return in_flight_; }
  /// The number of those requests that the driver has: they do not wait in a lane.
  [[nodiscard]] Word with_driver() const noexcept { return in_flight_ - waiting_requests_; }

  // --- bios -------------------------------------------------------------------------------------

  /// Whether the bio is split or has a flush step.
  [[nodiscard]] bool needs_several_requests(Bio& bio) const noexcept {
    if (sequence(bio).has_flush_step()) return true;
    if (!has_range(bio.op())) return false;
    const std::uint64_t part_bytes = next_part(rest_of(bio), limits_).length_bytes;
    // A bio that no request can hold ends with Status::invalid.
    return part_bytes != 0 && part_bytes != bio.length_bytes();
  }

  /// Issues a bio, or makes it wait. A bio with the flag nowait needs only one request.
  /// Precondition: the bio was admitted (admission.hpp), and its flush sequence is not empty; no
  /// hook is running.
  void submit(Bio& bio) noexcept {
    sequence(bio).begin();
    Lane<D>& lane = lanes_.of(bio);
    const bool can_issue = lane.waiting.empty() && is_open(lane);
    const bool is_issued = can_issue && issue(lane, bio, false);
    // Before commit(), whose hooks may submit later bios.
    if (!is_issued) keep_waiting(lane, bio, can_issue);
    commit(lane);
  }
  /// What issue_whole() has done.
  enum class Whole : std::uint8_t {
    issued,
    others_wait,  ///< Nothing: the bio would be issued if its lane were open and no bio waited.
    not_issued,   ///< Nothing.
  };
  /// Issues a bio that is admitted and becomes one request without a flush step, if nothing holds
  /// it up. Else changes nothing. The caller then uses wait_whole() or submit_by_steps(). What the
  /// functions there would do with such a bio is done here, without the steps in between.
  /// Precondition: the bio is not in flight.
  [[nodiscard, gnu::always_inline]] Whole issue_whole(Bio& bio) noexcept {
    const Segment* const memory = BioAccess::only_segment(bio);
    if (holds_ != 0 || disk_.trace_sink().function != nullptr || memory == nullptr ||
        !is_whole(bio)) [[unlikely]] {
      return Whole::not_issued;
    }
    Lane<D>& lane = lanes_.of_plain(bio);
    if (!lane.waiting.empty() || lane.is_held_up()) [[unlikely]]
      return Whole::others_wait;
    R* request;
    if (!lane.tags.take_undisputed(request)) [[unlikely]]
      return Whole::not_issued;
    BioAccess::begin_whole(bio);
    counters_.submitted_bios.add();
    auto idle = blkown::detail::HandleAccess::make<Idle>(*request, Place::current());
    fill_whole(lane, state_of(RequestTraits<R>::data(*request)), bio, memory);
    send_whole(lane, std::move(idle), {.is_last = true, .commits = true});
    return Whole::issued;
  }
  /// Makes a bio wait for which issue_whole() has just returned others_wait, if another bio waits.
  /// Else returns false, and changes nothing. Does for such a bio what submit_by_steps() does,
  /// without the steps in between.
  [[nodiscard, gnu::always_inline]] bool wait_whole(Bio& bio) noexcept {
    if (bio.flags().nowait) return false;
    Lane<D>& lane = lanes_.of_plain(bio);
    if (lane.waiting.empty()) return false;
    BioAccess::begin_checked(bio);
    counters_.submitted_bios.add();
    lane.waiting.push_back(bio);
    has_waiting_ = true;
    // A resume that is pending shows the bio, too.
    if (!notes_.resume_pending) show(lane, lane.waiting.shows(WaitReason::no_tag));
    return true;
  }
  /// Makes a bio wait for resume().
  /// Precondition: the bio was admitted, and its flush sequence is not empty.
  void defer(Bio& bio) noexcept {
    sequence(bio).begin();
    Lane<D>& lane = lanes_.of(bio);
    lane.waiting.push_back(bio);
    lane.has_nowait = lane.has_nowait || bio.flags().nowait;
    has_waiting_ = true;
    trace_waiting(lane, bio);
  }

  /// Accounts for the end of one of the bio's requests.
  void end_part(Bio& bio, Status status) noexcept {
    BioState& state = BioAccess::state(bio);
    if (status != Status::ok) state.fail(status);
    --state.parts;
    end_step(bio);
  }

  /// Issues waiting requests and bios as far as possible. Returns false if none waits.
  bool resume() noexcept {
    if (!std::exchange(has_waiting_, false)) [[likely]]
      return false;
    resume_lanes();
    return true;
  }

  /// Whether resume() or fail_waiting() may have something to do. True also while a hold may have
  /// deferred bios.
  [[nodiscard]] bool may_resume() const noexcept { return has_waiting_ || holds_ != 0; }

  /// Fails all waiting bios and requests. Returns false if none waits. Only a removal calls it, and
  /// behind a removal nothing reads with_driver().
  [[gnu::cold, gnu::noinline]] bool fail_waiting(Status status) noexcept {
    bool is_any = false;
    lanes_.for_each([&](Lane<D>& lane) {
      is_any = is_any || lane.has_waiting() || !lane.held.empty();
      while (Bio* const bio = lane.waiting.pop_front()) break_off(*bio, status);
      for (auto* list : {&lane.urgent, &lane.requeued, &lane.held}) {
        while (auto ended = list->pop_front()) std::move(*ended).into_idle().fail(status);
      }
      lane.begin_resume();
      show(lane, false);
      // The line gives no turn to a lane that cannot use a tag.
      lane.tags.leave_line(pool(), *lane.hw);
    });
    return is_any;
  }

  // --- requests ---------------------------------------------------------------------------------

  /// Takes back a request that is to be issued again. Takes the bare request, so that the caller's
  /// handle need not be in memory.
  [[gnu::noinline]] void take_requeued(R& request) noexcept {
    auto ended = blkown::detail::HandleAccess::make_ended(request);
    PayloadState<D>& state = state_of(ended.data());
    Lane<D>& lane = lanes_.of(ended.data());
    state.whole_lane = nullptr;
    const bool was_refused = state.was_refused;
    state.was_refused = false;
    if (was_refused) lane.end_return();
    state.end_remap(rare_of(ended));
    if (was_refused && !state.marks.was_accepted && state.bio != nullptr &&
        state.bio->flags().nowait) {
      return std::move(ended).into_idle().fail(Status::again);
    }
    state.marks.was_accepted = state.marks.was_accepted || !was_refused;
    counters_.requeued_requests.add();
    has_waiting_ = true;
    ++waiting_requests_;
    if (state.has_rest) [[unlikely]]
      end_wait_for_rest(lane, state);
    state.set_written_sector(state.sector);  // not the result of the next issue
    trace(TraceStep::requeued, ended.data(), ended.tag(), Status::ok);
    if (was_refused || disk_.config().auto_kick) {
      lane.push_requeued(std::move(ended));
    } else {
      lane.push_held(std::move(ended));
    }
  }

  /// Whether the request's end is the end of its bio, and nothing but end_whole() is to be done.
  /// Precondition: the request has ended, and is not to be queued again.
  [[nodiscard, gnu::always_inline]] static bool can_end_whole(
      const PayloadState<D>& state) noexcept {
    return state.whole_lane != nullptr && state.whole_lane->tags.can_stash();
  }
  /// Frees the tag of a request, and returns its bio, which has ended.
  /// Precondition: can_end_whole().
  [[gnu::always_inline]] Bio& end_whole(R& request, Status status) noexcept {
    PayloadState<D>& state = state_of(RequestTraits<R>::data(request));
    end_of_whole(state, status).stash(request);
    return *state.bio;
  }
  /// Whether the request's end is the end of its bio, and its lane uses the tag again.
  /// Precondition: as can_end_whole().
  [[nodiscard, gnu::always_inline]] static bool can_end_in_turn(
      const PayloadState<D>& state) noexcept {
    const Lane<D>* const lane = state.whole_lane;
    return lane != nullptr && !lane->waiting.empty() && lane->tags.has_more_in_turn();
  }
  /// Keeps the tag of a request for a bio that waits, and returns its bio, which has ended.
  /// Precondition: can_end_in_turn().
  [[gnu::always_inline]] Bio& end_in_turn(R& request, Status status) noexcept {
    PayloadState<D>& state = state_of(RequestTraits<R>::data(request));
    end_of_whole(state, status).keep(request);
    return *state.bio;
  }
  /// Frees the tag of a request that has ended.
  void free(Ended<R>&& ended) noexcept {
    Lane<D>& lane = lanes_.of(ended.data());
    lane.clear_busy();
    --in_flight_;
    if (lanes_.has_exceptions()) [[unlikely]]
      return free_among_exceptions(lane, *blkown::detail::HandleAccess::take(ended));
    lane.tags.free(std::move(ended), pool(), *lane.hw, !lane.waiting.empty());
  }

  /// Allocates a private request. Returns none if no tag is free, or if the disk is frozen: its
  /// queues may be about to change.
  [[nodiscard]] std::optional<Idle<R>> allocate_private(QueueType type, Op op, bool reserved) {
    if (freezes_ != 0) return std::nullopt;
    Lane<D>& lane = lanes_.of(type);
    auto idle = reserved ? pool().tags().allocate_reserved(lane.hw->tag_queue())
                         : lane.tags.allocate_now(pool(), *lane.hw);
    if (!idle.has_value()) return std::nullopt;
    adopt(lane, *idle, nullptr);
    rare_of(*idle).set_private_end({});
    state_of(idle->data()).is_reserved = reserved;
    state_of(idle->data()).set_range(op, {}, 0, 0, {});
    trace(TraceStep::allocated, idle->data(), idle->tag(), Status::ok);
    return idle;
  }
  /// Issues a private request, or makes it wait.
  void execute(Idle<R>&& idle) noexcept {
    Lane<D>& lane = lanes_.of(idle.data());
    const bool is_held_back =
        freezes_ != 0 || (quiesces_ != 0 && !state_of(idle.data()).is_urgent());
    // Private requests have numbers of their own: they come before bios.
    state_of(idle.data()).sequence = ++private_sequence_;
    const bool is_in_hook = deferrals() % one_blocking >= one_hook;
    if (is_in_hook || is_held_back || lane.is_held_up()) return give_back(lane, std::move(idle));
    send(lane, std::move(idle), true);
  }

  /// Makes held requests be issued again.
  [[gnu::cold, gnu::noinline]] void kick() noexcept {
    has_waiting_ = true;
    lanes_.kick();
  }

  // --- hooks ------------------------------------------------------------------------------------

  /// While an InHook exists, a hook of the driver is running: nothing is issued, so that hooks do
  /// not recurse. The outermost Entry issues the I/O that the hook submits.
  class InHook {
   public:
    explicit InHook(Issuer& issuer) noexcept : InHook{issuer, one_hook} {}
    InHook(const InHook&) = delete;
    InHook& operator=(const InHook&) = delete;
    ~InHook() { issuer_.holds_ -= hold_; }

   protected:
    InHook(Issuer& issuer, std::uint64_t hold) noexcept : issuer_{issuer}, hold_{hold} {
      issuer_.holds_ += hold;
    }

   private:
    Issuer& issuer_;
    std::uint64_t hold_;
  };
  /// A hook that completes requests, and rejects none.
  class InReapingHook : InHook {
   public:
    explicit InReapingHook(Issuer& issuer) noexcept : InHook{issuer, one_reaping_hook} {}
  };

  /// A plug collects bios.
  void plug() noexcept { holds_ += one_plug; }
  /// Returns whether no plug is left.
  [[nodiscard]] bool unplug() noexcept {
    holds_ -= one_plug;
    return !is_plugged();
  }
  [[nodiscard]] bool is_plugged() const noexcept { return holds_ % one_hook != 0; }
  /// Whether bios are deferred: by a plug, by a hook that is running, or because the driver is
  /// blocking and only the context's work calls it.
  [[nodiscard]] bool is_deferring() const noexcept { return deferrals() != 0; }
  /// Whether an end has to wait for what is running: a hook that may still reject a request, which
  /// it would have found busy before the end.
  [[nodiscard]] bool defers_ends() const noexcept { return (deferrals() & ~reaping_hooks) != 0; }
  /// Whether bios are deferred only until the outermost Entry or the context's work resumes.
  [[nodiscard]] bool resumes_by_itself() const noexcept { return deferrals() >= one_hook; }

  // --- control ----------------------------------------------------------------------------------

  void freeze() noexcept {
    set_freezes(freezes_ + 1);
    show_waiting();
  }
  void thaw() noexcept { set_freezes(freezes_ - 1); }
  void quiesce() noexcept {
    set_quiesces(quiesces_ + 1);
    show_waiting();
  }
  void unquiesce() noexcept { set_quiesces(quiesces_ - 1); }

  /// Whether the disk is removed, or not usable yet.
  [[nodiscard]] bool is_removed() const noexcept { return (holds_ & removed) != 0; }
  void set_removed(bool value) noexcept { set_hold(removed, value); }
  /// Whether the lanes have entered the lines for tags.
  [[nodiscard]] bool is_in_use() const noexcept { return (holds_ & unused) == 0; }
  void set_in_use() noexcept { set_hold(unused, false); }

  /// Precondition: the driver has no request.
  void map(const QueueMap<D>& queues) noexcept {
    has_waiting_ = true;
    lanes_.map(queues);
    show_waiting();
  }

  /// Brings new limits into force, and fits what waits to them.
  /// Effects: a request that no longer keeps the limits is cut, and its rest is issued with its tag
  /// after the range before the cut has ended. A request and a bio that cannot keep the limits end
  /// with the status that an admission would give. What a bio has issued nothing of follows the
  /// limits when it is issued.
  /// Precondition: check_limits() accepts the limits; frozen; the driver has no request.
  [[gnu::cold, gnu::noinline]] void take_limits(const QueueLimits& limits) noexcept {
    limits_ = SplitLimits{limits, limits_.block_bytes()};
    lanes_.for_each([&](Lane<D>& lane) {
      // A reserved request (lane.urgent) has no range.
      fit_requests(lane.requeued);
      fit_requests(lane.held);
      refuse_impossible_bios(lane);
    });
  }

  void trace(TraceStep step, const Payload<D>& payload, Tag tag, Status status) const noexcept {
    const TraceSink& sink = disk_.trace_sink();
    if (sink.function == nullptr) [[likely]]
      return;
    tell(sink, {.step = step,
                .op = payload.op(),
                .status = status,
                .context = submitter_.context().index(),
                .queue = payload.hw_queue().index(),
                .tag = tag,
                .sector = payload.sector(),
                .length_bytes = payload.length_bytes(),
                .value = 0,
                .reason = LookupReason::none});
  }

 private:
  static constexpr unsigned max_batched = 32;
  // The parts of holds_.
  static constexpr std::uint64_t one_plug = 1;
  static constexpr std::uint64_t one_hook = std::uint64_t{1} << 16;
  static constexpr std::uint64_t one_reaping_hook = std::uint64_t{1} << 24;
  static constexpr std::uint64_t one_blocking = std::uint64_t{1} << 31;
  static constexpr std::uint32_t reaping_hooks = one_blocking - one_reaping_hook;
  static constexpr std::uint64_t frozen = std::uint64_t{1} << 32;
  static constexpr std::uint64_t quiesced = std::uint64_t{1} << 33;
  static constexpr std::uint64_t removed = std::uint64_t{1} << 34;
  static constexpr std::uint64_t unused = std::uint64_t{1} << 35;
  static constexpr bool can_move_data = std::is_nothrow_swappable_v<typename D::RequestData>;

  /// The flags with which a bio may need a flush step.
  [[nodiscard]] static std::uint32_t several_requests(const DiskConfig& config) noexcept {
    return bits_of({.fua = config.write_cache && !config.fua, .preflush = config.write_cache});
  }
  /// The flags of FlushSequence::data_flags() for a read or a write.
  [[nodiscard]] static std::uint32_t kept_flags(const DiskConfig& config) noexcept {
    return bits_of({.fua = config.fua, .polled = true, .nowait = true});
  }

  /// Accounts for the end of a whole bio. Returns the tags to which the request's goes.
  [[gnu::always_inline]] LaneTags<D>& end_of_whole(PayloadState<D>& state, Status status) noexcept {
    Lane<D>& lane = *state.whole_lane;
    lane.clear_busy();
    --in_flight_;
    BioAccess::state(*state.bio).status = status;
    return lane.tags;
  }
  void set_busy(Lane<D>& lane) noexcept {
    lane.set_busy();
    notes_.may_be_busy = true;
  }
  [[nodiscard]] std::uint32_t deferrals() const noexcept {
    return static_cast<std::uint32_t>(holds_);
  }
  void set_hold(std::uint64_t hold, bool value) noexcept {
    holds_ = value ? holds_ | hold : holds_ & ~hold;
  }
  void set_freezes(unsigned count) noexcept {
    freezes_ = count;
    set_hold(frozen, count != 0);
  }
  void set_quiesces(unsigned count) noexcept {
    quiesces_ = count;
    set_hold(quiesced, count != 0);
  }

  /// Whether the bio is a read or a write that the disk admits, has no flush step, and is one
  /// request wherever its memory lies: what refusal(), has_flush_step() and next_part() decide. A
  /// bio that needs a longer look is not whole.
  [[nodiscard, gnu::always_inline]] bool is_whole(const Bio& bio) const noexcept {
    const MediumState& medium = disk_.medium();
    return bio.op() <= Op::write && (bits_of(bio.flags()) & flags_of_several_) == 0 &&
           // 0 is above every maximum here.
           bio.length_bytes() - 1 < limits_.max_plain_bytes() && !medium.is_restricted() &&
           is_inside(bio, limits_.block_mask(), medium.capacity_sectors());
  }
  /// Makes a request of a whole bio. As adopt() and set_range().
  [[gnu::always_inline]] void fill_whole(Lane<D>& lane, PayloadState<D>& state, Bio& bio,
                                         const Segment* memory) noexcept {
    const std::uint64_t length_bytes = bio.length_bytes();
    state.bio = &bio;
    state.submitter = &submitter_;
    state.hw_queue = lane.hw;
    state.whole_lane = &lane;
    state.sector = bio.sector();
    state.length_bytes = length_bytes;
    state.memory = {std::span{memory, 1}, {}, limits_.cut()};
    state.sequence = counters_.started_requests.add();
    ++in_flight_;
    state.is_seen.set(false);
    state.op = bio.op();
    state.flags = flags_of(bits_of(bio.flags()) & kept_flags_);
    state.marks = {};
  }
  struct WholeSend {
    bool is_last;
    bool commits;  // nothing follows that commits: a rejection does
  };
  /// Sends the request of a whole bio. As send(), and with `commits` as commit(), too.
  [[gnu::always_inline]] void send_whole(Lane<D>& lane, Idle<R>&& idle, WholeSend how) noexcept {
    holds_ += one_hook;
    Dispatch<D> answer =
        disk_.driver().queue_rq(*lane.hw, disk_.queue_data(), std::move(idle), how.is_last);
    holds_ -= one_hook;
    lane.is_uncommitted = !how.is_last;
    if (!answer.is_accepted()) [[unlikely]]
      take_rejection_of_whole(lane, answer, how.commits);
  }
  [[gnu::cold, gnu::noinline]] void take_rejection_of_whole(Lane<D>& lane, Dispatch<D>& answer,
                                                            bool commits) noexcept {
    R& request = *answer.rejected_request();
    take_rejection(lane, RequestTraits<R>::data(request), blkown::detail::header_of(request).tag(),
                   answer);
    if (commits) commit(lane);
  }

  [[nodiscard]] TagPool<D>& pool() noexcept { return disk_.pool(); }
  template <class Handle>
  [[nodiscard]] RareState<D>& rare_of(const Handle& handle) noexcept {
    return pool().rare_states().of(handle.queue(), handle.tag());
  }
  [[nodiscard]] FlushSequence sequence(Bio& bio) const noexcept { return {bio, disk_.config()}; }

  [[nodiscard]] bool is_open(const Lane<D>& lane) const noexcept {
    return freezes_ == 0 && quiesces_ == 0 && !lane.is_held_up();
  }

  [[gnu::noinline]] void resume_lanes() noexcept {
    lanes_.for_each([&](Lane<D>& lane) {
      resume(lane);
      has_waiting_ = has_waiting_ || lane.has_waiting();
    });
  }
  void resume(Lane<D>& lane) noexcept {
    lane.begin_resume();
    bool lacks_tag = false;
    while (freezes_ == 0 && !lane.is_held_up() && !lacks_tag) {
      if (auto ended = pop_requeued(lane)) {
        lacks_tag = !reissue(lane, *std::move(ended));
        continue;
      }
      if (!may_issue_bios(lane)) break;
      const Waiting left = issue_whole_ones(lane);
      lacks_tag = left == Waiting::lacks_tag;
      if (left != Waiting::is_not_whole) break;
      Bio* const bio = lane.waiting.pop_front();
      if (!is_turn_over(lane, *bio) && issue(lane, *bio, !lane.waiting.empty())) {
        lane.parts_of_turn = 0;
        continue;
      }
      if (is_turn_over(lane, *bio)) {
        lane.parts_of_turn = 0;
        lane.waiting.push_back(*bio);
        continue;
      }
      lane.waiting.push_front(*bio);
      lacks_tag = true;
    }
    if (lane.has_nowait) [[unlikely]]
      fail_nowait(lane);
    commit(lane);
    // A lane that cannot use a tag must not keep a place in the line.
    if (!lacks_tag || !is_open(lane) || !lane.has_waiting()) {
      lane.tags.leave_line(pool(), *lane.hw);
    } else {
      lane.tags.wait_with(pool(), in_flight_);
    }
    lane.end_resume();
    show(lane, lacks_tag);
  }

  /// Makes the lane's waiting bios visible to Disk::print_in_flight. Called where a bio begins to
  /// wait and after the lane was resumed, and not for each bio: bios that a Plug or a hook defers
  /// are visible once they were not issued.
  void show(Lane<D>& lane, bool lacks_tag) noexcept {
    if (lane.waiting.needs_show()) show_waiting(lane, lacks_tag);
  }
  [[gnu::noinline]] void show_waiting(Lane<D>& lane, bool lacks_tag) const noexcept {
    WaitReason reason = lacks_tag ? WaitReason::no_tag : WaitReason::order;
    if (lane.is_busy()) reason = WaitReason::busy;
    if (lane.hw->is_stopped()) reason = WaitReason::stopped;
    if (quiesces_ != 0) reason = WaitReason::quiesced;
    if (freezes_ != 0) reason = WaitReason::frozen;
    lane.waiting.show(lane.hw->index(), reason);
  }
  void show_waiting() noexcept {
    lanes_.for_each([&](Lane<D>& lane) { show(lane, false); });
  }

  /// Whether requests without a reserved tag may be issued, as far as resume() has not tested it.
  [[nodiscard]] bool may_issue_bios(const Lane<D>& lane) const noexcept {
    return quiesces_ == 0 && !lane.awaits_rest;
  }
  /// Takes the next request that may be issued again. While quiesced, only reserved ones may be.
  [[nodiscard]] std::optional<Ended<R>> pop_requeued(Lane<D>& lane) noexcept {
    auto ended = lane.urgent.pop_front();
    if (!ended.has_value() && may_issue_bios(lane)) ended = lane.requeued.pop_front();
    if (ended.has_value()) --waiting_requests_;
    return ended;
  }

  /// Issues a request again. Returns false, and keeps the request, if the request moved to this
  /// lane from another hardware queue and no tag of this lane's queue is free.
  [[nodiscard]] bool reissue(Lane<D>& lane, Ended<R>&& ended) noexcept {
    if (ended.queue() != lane.hw->tag_queue()) [[unlikely]]
      return reissue_moved(lane, std::move(ended));
    send_again(lane, std::move(ended).into_idle());
    return true;
  }
  void send_again(Lane<D>& lane, Idle<R>&& idle) noexcept {
    const PayloadState<D>& state = state_of(idle.data());
    if (state.has_rest && disk_.config().zoned && is_write(state.op)) [[unlikely]]
      lane.awaits_rest = true;
    send(lane, std::move(idle), !lane.has_waiting());
  }
  [[gnu::cold, gnu::noinline]] bool reissue_moved(Lane<D>& lane, Ended<R>&& ended) noexcept {
    Payload<D>& from = ended.data();
    if (!can_move_data && from.is_private()) {
      std::move(ended).into_idle().fail(Status::aborted);
      return true;
    }
    const bool is_urgent = state_of(from).is_urgent();
    EndedList<R>& list = is_urgent ? lane.urgent : lane.requeued;
    auto idle = is_urgent ? pool().tags().allocate_reserved(lane.hw->tag_queue())
                          : lane.tags.allocate(pool(), *lane.hw);
    if (idle.has_value()) {
      exchange(from, rare_of(ended), idle->data(), rare_of(*idle));
      lanes_.free_moved(std::move(ended));
      trace(TraceStep::allocated, idle->data(), idle->tag(), Status::ok);
      send_again(lane, *std::move(idle));
      return true;
    }
    if (auto other = exchange_tags(lane, list, std::move(ended))) {
      send_again(lane, std::move(*other).into_idle());
      return true;
    }
    ++waiting_requests_;
    // No line leads to reserved tags: the lane asks again after a delay.
    if (is_urgent) set_busy(lane);
    return false;
  }

  /// Finds a request of the list that has a tag of the lane's queue. The two requests exchange
  /// their I/Os: the found one is returned and carries the moved one's, and the moved one takes the
  /// other's place in the list. Otherwise requests in the list could hold all tags that the first
  /// request waits for. Returns none, and puts the moved request first, if the list has none.
  [[nodiscard]] std::optional<Ended<R>> exchange_tags(Lane<D>& lane, EndedList<R>& list,
                                                      Ended<R>&& moved) noexcept {
    EndedList<R> passed;
    std::optional<Ended<R>> found;
    while (!found.has_value() && !list.empty()) {
      auto other = list.pop_front();
      const bool is_fit =
          other->queue() == lane.hw->tag_queue() && (can_move_data || !other->data().is_private());
      if (is_fit) {
        found.emplace(*std::move(other));
      } else {
        passed.push_back(*std::move(other));
      }
    }
    if (!found.has_value()) {
      list.push_back(std::move(moved));
      list.append(std::move(passed));
      return found;
    }
    exchange(moved.data(), rare_of(moved), found->data(), rare_of(*found));
    passed.push_back(std::move(moved));
    passed.append(std::move(list));
    list.append(std::move(passed));
    return found;
  }
  /// Frees a tag while requests have rests, or tags of another queue than their lane's. Takes the
  /// bare request, so that the handle in free() need not be in memory.
  [[gnu::cold, gnu::noinline]] void free_among_exceptions(Lane<D>& lane, R& request) noexcept {
    auto ended = blkown::detail::HandleAccess::make_ended(request);
    if (state_of(ended.data()).has_rest) {
      if (begin_rest(lane, ended)) return keep(lane, request, std::move(ended));
    }
    if (ended.queue() != lane.hw->tag_queue()) return lanes_.free_moved(std::move(ended));
    lane.tags.free(std::move(ended), pool(), *lane.hw, !lane.waiting.empty());
  }
  // --- new limits: what waits is fitted to them -------------------------------------------------

  /// Fits each request of a list to the limits. A request that cannot be fitted ends.
  void fit_requests(EndedList<R>& list) noexcept {
    EndedList<R> unfitted = std::move(list);
    while (auto ended = unfitted.pop_front()) {
      const Status refused = fit(*ended);
      if (refused == Status::ok) {
        list.push_back(*std::move(ended));
        continue;
      }
      --waiting_requests_;
      std::move(*ended).into_idle().fail(refused);
    }
  }
  /// Fits a request that the driver does not have to the limits: the request keeps the longest
  /// range that it may have, and the remainder becomes its rest. Returns the status of a request
  /// that may have no range.
  [[nodiscard]] Status fit(Ended<R>& ended) noexcept {
    PayloadState<D>& state = state_of(ended.data());
    if (state.bio == nullptr) return Status::ok;
    Bio& bio = *state.bio;
    if (!has_range(state.op)) {
      const bool is_preflush = BioAccess::state(bio).step == FlushStep::preflush;
      return is_preflush ? refusal_after_change(bio, limits()) : Status::ok;
    }
    const Status refused = refusal_after_change(bio, limits());
    if (refused != Status::ok) return refused;
    RareState<D>& rare = rare_of(ended);
    const std::uint64_t length_bytes = state.length_bytes + state.rest_bytes(rare);
    const bool is_data = has_data(state.op);
    SegmentCursor begin;
    if (is_data) {
      begin = advanced(bio.segments(), begin, (state.sector - bio.sector()) << sector_shift);
    }
    const Part part = next_part({.op = state.op,
                                 .segments = bio.segments(),
                                 .begin = begin,
                                 .length_bytes = length_bytes,
                                 .sector = state.sector},
                                limits_);
    if (part.length_bytes == 0) return Status::invalid;
    state.set_range(state.op, state.flags, state.sector, part.length_bytes,
                    {bio.segments(), begin, limits_.cut()});
    lanes_.set_rest(state, rare, length_bytes - part.length_bytes);
    return Status::ok;
  }
  /// Ends the waiting bios whose data the limits refuse.
  void refuse_impossible_bios(Lane<D>& lane) noexcept {
    BioList waiting = lane.waiting.take();
    while (Bio* const bio = waiting.pop_front()) {
      const Status refused = refusal_of_waiting(*bio);
      if (refused == Status::ok) {
        lane.waiting.push_back(*bio);
      } else {
        break_off(*bio, refused);
      }
    }
  }
  [[nodiscard]] Status refusal_of_waiting(Bio& bio) const noexcept {
    if (BioAccess::state(bio).step == FlushStep::postflush) return Status::ok;
    const Status refused = refusal_after_change(bio, limits());
    if (refused != Status::ok) return refused;
    return bio.flags().nowait && needs_several_requests(bio) ? Status::again : Status::ok;
  }

  /// The range of a request has ended, and the request has a rest. Makes the rest the range.
  /// Returns false if the I/O ends here: the range failed, or the limits allow none of the rest.
  [[nodiscard]] bool begin_rest(Lane<D>& lane, Ended<R>& ended) noexcept {
    PayloadState<D>& state = state_of(ended.data());
    RareState<D>& rare = rare_of(ended);
    const std::uint64_t rest_bytes = state.rest_bytes(rare);
    end_wait_for_rest(lane, state);
    lanes_.set_rest(state, rare, 0);
    if (ended.status() != Status::ok) return false;
    state.end_remap(rare);
    state.sector += state.length_bytes >> sector_shift;
    state.length_bytes = rest_bytes;
    const Status refused = fit(ended);
    BioAccess::state(*state.bio).fail(refused);  // ok changes nothing
    return refused == Status::ok;
  }
  /// Makes a request whose rest begins wait to be issued again, in its place. For the bio and the
  /// counters it is another request.
  void keep(Lane<D>& lane, R& request, Ended<R>&& ended) noexcept {
    PayloadState<D>& state = state_of(ended.data());
    ++in_flight_;
    ++waiting_requests_;
    ++BioAccess::state(*state.bio).parts;
    counters_.started_requests.add();
    has_waiting_ = true;
    blkown::detail::set_outcome(request, Status::ok, true);
    trace(TraceStep::allocated, ended.data(), ended.tag(), Status::ok);
    lane.push_requeued(std::move(ended));
  }
  /// The driver has given back a request with a rest.
  void end_wait_for_rest(Lane<D>& lane, const PayloadState<D>& state) noexcept {
    if (!is_write(state.op)) return;
    lane.awaits_rest = false;
    has_waiting_ = true;  // resume() ends the lane's hold, also if the rest is not issued
  }

  /// Exchanges the I/Os of two requests that the driver does not have.
  static void exchange(Payload<D>& a, RareState<D>& rare_a, Payload<D>& b,
                       RareState<D>& rare_b) noexcept {
    const bool is_private = a.is_private() || b.is_private();
    PayloadState<D> kept;
    kept.take_over(state_of(a));
    state_of(a).take_over(state_of(b));
    state_of(b).take_over(kept);
    std::swap(rare_a, rare_b);
    if constexpr (can_move_data) {
      using std::swap;
      if (is_private) swap(a.driver_data, b.driver_data);
    }
  }

  /// Ends the lane's waiting bios that have the flag nowait. None of them has a request.
  void fail_nowait(Lane<D>& lane) noexcept {
    lane.has_nowait = false;
    BioList waiting = lane.waiting.take();
    while (Bio* const bio = waiting.pop_front()) {
      if (bio->flags().nowait) {
        break_off(*bio, Status::again);
      } else {
        lane.waiting.push_back(*bio);
      }
    }
  }

  /// The part of the bio's data that is not issued yet.
  [[nodiscard]] static Rest rest_of(Bio& bio) noexcept {
    const BioProgress& progress = BioAccess::progress(bio);
    return {.op = bio.op(),
            .segments = bio.segments(),
            .begin = progress.cursor,
            .length_bytes = bio.length_bytes() - progress.done_bytes,
            .sector = bio.sector() + (progress.done_bytes >> sector_shift)};
  }

  /// Whether the next bio gets its turn before the bio's next part. Writes of a zoned disk keep
  /// their order.
  [[nodiscard]] bool is_turn_over(const Lane<D>& lane, Bio& bio) const noexcept {
    if (lane.parts_of_turn < max_batched || lane.waiting.empty()) return false;
    return BioAccess::progress(bio).done_bytes != 0 &&
           !(disk_.config().zoned && is_write(bio.op()));
  }

  /// Counts a part that is not the bio's last. Returns whether the bio's turn goes on. Not inlined,
  /// because most bios have one part.
  [[nodiscard, gnu::noinline]] bool continues_turn(Lane<D>& lane, Bio& bio,
                                                   std::uint64_t part_bytes) const noexcept {
    const bool is_first = BioAccess::progress(bio).done_bytes == part_bytes;
    lane.parts_of_turn = is_first ? 1 : lane.parts_of_turn + 1;
    return !is_turn_over(lane, bio);
  }

  /// Makes a bio wait that submit() has not issued. `is_first`: no earlier bio waits, and those
  /// that wait were submitted by hooks during issue().
  [[gnu::noinline]] void keep_waiting(Lane<D>& lane, Bio& bio, bool is_first) noexcept {
    has_waiting_ = true;
    if (bio.flags().nowait) {
      if (lane.waiting.empty()) lane.tags.leave_line(pool(), *lane.hw);
      return break_off(bio, Status::again);
    }
    if (is_first) {
      lane.waiting.push_front(bio);
    } else {
      lane.waiting.push_back(bio);
    }
    show(lane, is_first || lane.waiting.shows(WaitReason::no_tag));
    trace_waiting(lane, bio);
  }

  /// The lane's first bio that issue_whole_ones() has not issued.
  enum class Waiting : std::uint8_t {
    none_or_held_up,  ///< None, or the lane is held up.
    lacks_tag,        ///< It has to wait for a tag.
    is_not_whole,     ///< It needs the steps of issue().
  };
  /// Issues the first waiting bios that are one request each, without the steps that issue() takes
  /// for others. Returns why it ends.
  /// Precondition: is_open(lane); no request waits to be issued again.
  [[nodiscard, gnu::always_inline]] Waiting issue_whole_ones(Lane<D>& lane) noexcept {
    const bool is_traced = disk_.trace_sink().function != nullptr;
    while (Bio* const bio = lane.waiting.front()) {
      if (lane.tags.has_to_wait()) return Waiting::lacks_tag;
      const Segment* const memory = BioAccess::only_segment(*bio);
      if (is_traced || memory == nullptr || !is_whole(*bio) ||
          BioAccess::progress(*bio).done_bytes != 0) [[unlikely]] {
        return Waiting::is_not_whole;
      }
      static_cast<void>(lane.waiting.pop_front());
      const bool is_last = lane.waiting.empty();
      R* const request = lane.tags.allocate_bare(pool(), *lane.hw, lane.waiting.count());
      if (request == nullptr) {
        lane.waiting.push_front(*bio);
        return Waiting::lacks_tag;
      }
      BioAccess::begin_whole(*bio);
      auto idle = blkown::detail::HandleAccess::make<Idle>(*request, Place::current());
      fill_whole(lane, state_of(RequestTraits<R>::data(*request)), *bio, memory);
      if (!collect(lane, idle, is_last)) {
        send_whole(lane, std::move(idle), {.is_last = is_last, .commits = false});
      }
      if (lane.is_held_up()) break;
    }
    return Waiting::none_or_held_up;
  }

  /// Issues the rest of the bio's present step. Returns false if a part is left, because the lane
  /// was closed, no tag is free, or the bio's turn is over. `is_more_behind`: another bio follows
  /// at once.
  /// Precondition: is_open(lane).
  [[nodiscard]] bool issue(Lane<D>& lane, Bio& bio, bool is_more_behind) noexcept {
    BioState& state = BioAccess::state(bio);
    const bool is_data = sequence(bio).is_in_data();
    do {
      const Rest rest = is_data ? rest_of(bio) : Rest{Op::flush, {}, {}, 0, 0};
      Part part{};
      if (has_range(rest.op)) {
        part = next_part(rest, limits_);
        if (part.length_bytes == 0) [[unlikely]] {
          break_off(bio, Status::invalid);
          return true;
        }
      }
      std::optional<Idle<R>> idle =
          lane.tags.allocate(pool(), *lane.hw, is_more_behind ? lane.waiting.count() : 0);
      if (!idle.has_value()) return false;
      adopt(lane, *idle, &bio);
      ++state.parts;
      state_of(idle->data())
          .set_range(rest.op, is_data ? sequence(bio).data_flags() : IoFlags{}, rest.sector,
                     part.length_bytes, {rest.segments, rest.begin, limits_.cut()});
      state_of(idle->data()).set_written_sector(rest.sector);  // unless the driver sets another
      trace(TraceStep::allocated, idle->data(), idle->tag(), Status::ok);
      const bool is_last = part.length_bytes == rest.length_bytes;
      if (is_data) {
        BioAccess::progress(bio).done_bytes += part.length_bytes;
        BioAccess::progress(bio).cursor = part.end;
      }
      if (is_last) state.all_issued = true;
      send_or_collect(lane, *std::move(idle), is_last && !is_more_behind);
      if (is_last) return true;
      if (!continues_turn(lane, bio, part.length_bytes)) return false;
    } while (is_open(lane));
    return false;
  }

  /// Fails the bio: no further request of the bio is issued, and the bio ends when its requests
  /// have ended.
  void break_off(Bio& bio, Status status) noexcept {
    BioState& state = BioAccess::state(bio);
    state.fail(status);
    state.all_issued = true;
    end_step(bio);
  }

  /// If the bio's step is complete, begins the next one or ends the bio.
  void end_step(Bio& bio) noexcept {
    FlushSequence steps = sequence(bio);
    if (!steps.is_step_complete()) return;
    if (!steps.advance()) return ended_bios_.push_back(bio);
    // Deferred to resume(), because the caller may be in the middle of a list of ended requests.
    lanes_.of(bio).waiting.push_front(bio);
    has_waiting_ = true;
  }

  [[gnu::always_inline]] void send_or_collect(Lane<D>& lane, Idle<R>&& idle,
                                              bool is_last) noexcept {
    state_of(idle.data()).is_seen.set(false);
    if (!collect(lane, idle, is_last)) send(lane, std::move(idle), is_last);
  }
  /// Adds a request to the batch for queue_rqs. Returns false, and leaves the request, if the
  /// driver gets it by itself.
  [[nodiscard, gnu::always_inline]] bool collect(Lane<D>& lane, BLKOWN_HELD Idle<R>& idle,
                                                 bool is_last) noexcept {
    if constexpr (names_queue_rqs<D>) {
      if (!is_last || lane.batched != 0) {
        lane.batch.push_back(std::move(idle));
        lane.is_uncommitted = true;
        if (++lane.batched == max_batched || is_last) commit(lane);
        return true;
      }
    }
    return false;
  }

  /// Tells the driver that no more requests follow.
  void commit(Lane<D>& lane) noexcept {
    if (!std::exchange(lane.is_uncommitted, false)) return;
    if constexpr (names_queue_rqs<D>) {
      if (lane.batched != 0) {
        lane.batched = 0;
        IdleList<R> batch = std::move(lane.batch);
        if (disk_.trace_sink().function != nullptr) [[unlikely]]
          trace_batch(batch);
        {
          const InHook hook{*this};
          disk_.driver().queue_rqs(*lane.hw, disk_.queue_data(), batch);
        }
        send_rest(lane, batch);
        if (!std::exchange(lane.is_uncommitted, false)) return;
      }
    }
    if constexpr (names_commit_rqs<D>) {
      const InHook hook{*this};
      disk_.driver().commit_rqs(*lane.hw, disk_.queue_data());
    }
  }

  [[gnu::cold, gnu::noinline]] void trace_batch(IdleList<R>& batch) const noexcept {
    IdleList<R> traced;
    while (auto idle = batch.pop_front()) {
      trace(TraceStep::issued, idle->data(), idle->tag(), Status::ok);
      traced.push_back(*std::move(idle));
    }
    batch = std::move(traced);
  }
  /// Issues the requests that queue_rqs has left. Nothing is sent past a refused request, nor to a
  /// queue that the driver has stopped.
  void send_rest(Lane<D>& lane, IdleList<R>& batch) noexcept {
    while (auto left = batch.pop_front()) {
      if (lane.is_held_up()) {
        give_back(lane, *std::move(left));
      } else {
        send(lane, *std::move(left), batch.empty());
      }
    }
  }
  /// Requeues a request that was not sent.
  [[gnu::cold, gnu::noinline]] void give_back(Lane<D>& lane, Idle<R>&& idle) noexcept {
    lane.await_return();
    state_of(idle.data()).was_refused = true;
    std::move(idle).requeue();
  }

  /// Calls queue_rq.
  void send(Lane<D>& lane, Idle<R>&& idle, bool is_last) noexcept {
    Payload<D>& payload = idle.data();
    const Tag tag = idle.tag();
    state_of(payload).is_seen.set(false);
    trace(TraceStep::issued, payload, tag, Status::ok);
    Dispatch<D> answer = call_queue_rq(lane, std::move(idle), is_last);
    lane.is_uncommitted = !is_last;
    if (answer.is_accepted()) [[likely]]
      return;
    take_rejection(lane, payload, tag, answer);
  }
  [[gnu::cold, gnu::noinline]] void take_rejection(Lane<D>& lane, Payload<D>& payload, Tag tag,
                                                   Dispatch<D>& answer) noexcept {
    trace(TraceStep::rejected, payload, tag, answer.status());
    // The request goes the long way back, which frees its tag after the bios behind were issued.
    state_of(payload).whole_lane = nullptr;
    // The driver may still expect a last request: a rejected one does not count.
    lane.is_uncommitted = true;
    if (is_busy(answer.status())) {
      set_busy(lane);
      lane.await_return();
      state_of(payload).was_refused = true;
    }
    static_cast<void>(answer.settle());
  }

  [[nodiscard]] Dispatch<D> call_queue_rq(Lane<D>& lane, Idle<R>&& idle, bool is_last) noexcept {
    const InHook hook{*this};
    return disk_.driver().queue_rq(*lane.hw, disk_.queue_data(), std::move(idle), is_last);
  }

  void trace_waiting(const Lane<D>& lane, const Bio& bio) const noexcept {
    tell(disk_.trace_sink(), waiting_event(bio, submitter_.context().index(), lane.hw->index()));
  }

  void adopt(Lane<D>& lane, Idle<R>& idle, Bio* bio) noexcept {
    PayloadState<D>& payload = state_of(idle.data());
    payload.bio = bio;
    payload.submitter = &submitter_;
    payload.hw_queue = lane.hw;
    payload.whole_lane = nullptr;
    payload.marks = {};
    payload.sequence = counters_.started_requests.add();
    ++in_flight_;
  }

  Disk<D>& disk_;
  SubmitQueue<D>& submitter_;
  Lanes<D>& lanes_;
  ContextCounters& counters_;
  BioList& ended_bios_;
  Notes& notes_;
  Word in_flight_ = 0;
  Word waiting_requests_ = 0;  // requeued, in a list of a lane
  unsigned freezes_ = 0;
  unsigned quiesces_ = 0;
  Word private_sequence_ = 0;
  SplitLimits limits_;
  // The flags of a bio that may need several requests, and those that reach a request. What the
  // configuration decides once.
  std::uint32_t flags_of_several_;
  std::uint32_t kept_flags_;
  // The reasons to hold up all bios. One number, because each submit reads it. Low half, the
  // reasons to defer: the plugs, the running hooks, and whether the driver is blocking. High half:
  // frozen, quiesced, removed, unused. freezes_ and quiesces_ change by the set functions only.
  std::uint64_t holds_;
  // Whether a lane may have a bio or a requeued request to issue, a place in a line to give up, or
  // a hold for requeued requests to end.
  bool has_waiting_ = false;
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
