// SPDX-License-Identifier: BSL-1.0
//
// SubmitQueue: one context's side of a disk. Bios come in, requests go out, ended requests return.
//
// Parties: the context's own thread; other contexts, other threads and interrupts, which end or
// complete this context's requests; Controls, which posts the steps of control operations.
//
//   Entry     every call on the context opens an Entry. Entries nest. The outermost one settles.
//   settle    takes back ended requests (frees the tag, ends the part of the bio), calls end
//             callbacks, and resumes waiting bios and requests, until nothing is left or the budget
//             is used up.
//   own ends  a request that ends on the context is appended to ended_. If no Entry is open, work_
//             is posted.
//   complete  a Claim that the context passes to HwQueue::complete_local is appended to completed_.
//             The first one lists work_, unless the disk is polled: then poll() calls the driver's
//             hook before it returns. A Claim behind one in remote_completed_ follows it there.
//   others    push the request on remote_ended_ or remote_completed_. The push to an empty stack
//             posts the stack's work. Interrupts of the context do the same.
//   run       the function of work_: calls the hook for completed_, and settles. That of a stack's
//             work takes the stack first.
//
// Guarantees: each bio ends once, on this context. A request that ends anywhere is freed here, so
// tags and lists need no locks. Requests from other threads are taken in the order of their pushes.
// A Claim in completed_ was passed before each one in remote_completed_, and is completed before.
// A callback never runs inside another callback or a handle's destructor, and nothing recurses: a
// bio that a callback submits is left to the settle() that called it.
//
// Only the work of a stack of other threads takes that stack. A thread that has pushed to an empty
// stack may be stopped before its post. The requests stay in the stack until then, and so the disk,
// which the post uses, cannot be removed. Another thread's push touches nothing afterwards.
//
// The outermost Entry and run() end with ControlPart::acknowledge(), after which the disk, and this
// object, may be destroyed.

#ifndef BLKOWN_MQ_DETAIL_SUBMIT_QUEUE_HPP
#define BLKOWN_MQ_DETAIL_SUBMIT_QUEUE_HPP

#include <blkown/check.hpp>
#include <blkown/claim.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/handle_base.hpp>
#include <blkown/detail/poison.hpp>
#include <blkown/detail/ring.hpp>
#include <blkown/detail/user_list.hpp>
#include <blkown/ended.hpp>
#include <blkown/idle.hpp>
#include <blkown/mq/bio.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/counters.hpp>
#include <blkown/mq/detail/admission.hpp>
#include <blkown/mq/detail/control_part.hpp>
#include <blkown/mq/detail/flush_sequence.hpp>
#include <blkown/mq/detail/fwd.hpp>
#include <blkown/mq/detail/hw_queues.hpp>
#include <blkown/mq/detail/issuer.hpp>
#include <blkown/mq/detail/lanes.hpp>
#include <blkown/mq/detail/notes.hpp>
#include <blkown/mq/detail/relaxed.hpp>
#include <blkown/mq/detail/request_stack.hpp>
#include <blkown/mq/detail/timeout_scan.hpp>
#include <blkown/mq/disk_config.hpp>
#include <blkown/mq/driver.hpp>
#include <blkown/mq/hw_queue.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/mq/payload.hpp>
#include <blkown/mq/timer.hpp>
#include <blkown/mq/trace.hpp>
#include <blkown/place.hpp>
#include <blkown/request.hpp>
#include <blkown/status.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// One context's side of a disk. The members belong to the context, except the two stacks of other
/// threads, the kick flag and the works, which other threads and interrupts of the context use.
/// Source: blk-mq's software queue.
template <class D>
class SubmitQueue {
 public:
  using R = Request<D>;

  SubmitQueue(Disk<D>& disk, Context& context)
      : disk_{disk},
        context_{context},
        work_{[](void* self, Work&) { static_cast<SubmitQueue*>(self)->run(); }, this},
        control_work_{[](void* self, Work&) { static_cast<SubmitQueue*>(self)->take_part(); },
                      this},
        side_control_work_{
            [](void* self, Work&) { static_cast<SubmitQueue*>(self)->take_side_part(); }, this},
        tags_shared_work_{
            [](void* self, Work&) { static_cast<SubmitQueue*>(self)->note_shared_tags(); }, this},
        retry_alarm_{[](void* self, Alarm&) { static_cast<SubmitQueue*>(self)->retry(); }, this},
        lanes_{context, disk.pool(), disk.tag_shares(), work_, tags_shared_work_},
        issuer_{disk, *this, lanes_, counters_, ended_bios_, notes_},
        timeouts_{disk, *this, lanes_, issuer_},
        control_{disk, *this, issuer_, notes_},
        settles_at_once_{disk.config().completion == CompletionMode::immediate &&
                         !disk.config().blocking},
        user_{&context.users(), "disk", disk.config().name, &entered_},
        remote_ended_work_{
            [](void* self, Work&) { static_cast<SubmitQueue*>(self)->take_remote_ended(); }, this},
        remote_completed_work_{
            [](void* self, Work&) { static_cast<SubmitQueue*>(self)->take_remote_completed(); },
            this} {
    static_assert(alignof(SubmitQueue) % blkown::detail::line_pair_bytes == 0,
                  "two contexts never share a pair of lines");
    static_assert(sizeof(remote_ended_) + sizeof(remote_ended_work_) <= cache_line_bytes,
                  "another thread writes one line to hand a request over");
  }
  SubmitQueue(const SubmitQueue&) = delete;
  SubmitQueue& operator=(const SubmitQueue&) = delete;

  [[nodiscard]] Context& context() const noexcept { return context_; }
  [[nodiscard]] ContextCounters& counters() noexcept { return counters_; }

  // --- this context -----------------------------------------------------------------------------

  /// While an Entry exists, its thread runs the context inside the disk's code.
  /// Violation: wrong_context, if the thread runs another context, or none and the context has a
  /// thread of its own.
  class Entry {
   public:
    Entry(SubmitQueue& queue, const char* operation, const Place& where)
        : scope_{check(queue, operation, where)}, queue_{queue}, is_outermost_{queue.enter()} {}
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    ~Entry() {
      if (is_outermost_) queue_.leave();
    }

   private:
    [[nodiscard]] static Context& check(SubmitQueue& queue, const char* operation,
                                        const Place& where) {
      const Context* const here = Context::current();
      // A LoopRuntime's caller need not run the context to use it.
      if (here != &queue.context_ && (here != nullptr || queue.context_.has_own_thread()))
          [[unlikely]]
        queue.violate_entered(operation, where);
      return queue.context_;
    }

    Context::Scope scope_;
    SubmitQueue& queue_;
    bool is_outermost_;
  };

  // Precondition of the functions up to unplug(): inside an Entry.

  /// The whole of Disk::submit: with an Entry of its own.
  [[gnu::noinline]] void submit(Bio& bio, Place where) noexcept {
    if (Context::current() != &context_) [[unlikely]]
      return submit_elsewhere(bio, where);
    const bool is_outermost = enter();
    submit_entered(bio, where);
    if (is_outermost) leave();
  }
  [[gnu::noinline]] void submit_elsewhere(Bio& bio, Place where) noexcept {
    const Entry entry{*this, "mq::Disk::submit", where};
    submit_entered(bio, where);
  }
  [[gnu::always_inline]] void submit_entered(Bio& bio, const Place& where) noexcept {
    if (bio.is_in_flight()) [[unlikely]]
      violate_submitted(bio, where);
    const typename Issuer<D>::Whole done = issuer_.issue_whole(bio);
    if (done == Issuer<D>::Whole::issued) [[likely]]
      return;
    if (done == Issuer<D>::Whole::others_wait) return submit_behind_others(bio);
    submit_by_steps(bio);
  }

  [[gnu::noinline]] void submit_behind_others(Bio& bio) noexcept {
    if (!issuer_.wait_whole(bio)) submit_by_steps(bio);
  }
  [[gnu::noinline]] void submit_by_steps(Bio& bio) noexcept {
    begin_use();
    const DiskConfig& config = disk_.config();
    BioAccess::begin_checked(bio);
    counters_.submitted_bios.add();
    const Status refused = control_.is_removed()
                               ? Status::offline
                               : refusal(bio, config, issuer_.limits(), disk_.medium());
    if (refused != Status::ok) [[unlikely]] {
      BioAccess::state(bio).fail(refused);
      return ended_bios_.push_back(bio);
    }
    if (FlushSequence{bio, config}.is_empty()) return ended_bios_.push_back(bio);
    if (bio.flags().nowait && issuer_.needs_several_requests(bio)) [[unlikely]] {
      BioAccess::state(bio).fail(Status::again);
      return ended_bios_.push_back(bio);
    }
    if (issuer_.is_deferring()) {
      notes_.resume_pending = notes_.resume_pending || issuer_.resumes_by_itself();
      return issuer_.defer(bio);
    }
    issuer_.submit(bio);
  }

  [[nodiscard]] std::optional<Idle<R>> allocate_private(QueueType type, Op op, bool reserved) {
    if (control_.is_removed()) return std::nullopt;
    begin_use();
    return issuer_.allocate_private(type, op, reserved);
  }
  void execute_private(Idle<R>&& idle, std::uint32_t timeout_ms) noexcept {
    if (control_.is_removed()) [[unlikely]]
      return std::move(idle).fail(Status::offline);
    timeouts_.allow(timeout_ms);
    issuer_.execute(std::move(idle));
  }

  [[nodiscard]] unsigned poll() noexcept {
    if constexpr (names_poll<D>) {
      HwQueue<D>* const hw = lanes_.of(QueueType::poll).hw;
      if (hw != nullptr && hw->type() == QueueType::poll) {
        const unsigned count = call_poll(*hw);
        // So that Claims that the hook gave to HwQueue::complete_local end here. Not those that
        // follow a Claim in remote_completed_, which only the stack's work takes.
        complete_own();
        return count;
      }
    }
    return 0;
  }

  void plug() noexcept {  // needs no Entry
    issuer_.plug();
    has_plug_.set(true);
  }
  void unplug() noexcept {
    if (!issuer_.unplug()) return;
    has_plug_.set(false);
    // A removed disk has nothing to resume, and its user may destroy it next.
    if (!control_.is_removed()) notes_.resume_pending = true;
  }

  // --- for the disk, before any I/O or while it is frozen ---------------------------------------

  /// Makes the disk usable on this context.
  void attach(const QueueMap<D>& queues) {
    issuer_.map(queues);
    timeouts_.allow(disk_.config().timeout_ms.value_or(0));
    control_.open();
  }
  /// Sets the map for the time after the next thaw.
  /// Precondition: frozen, no request in flight.
  void remap(const QueueMap<D>& queues) noexcept { control_.set_next_map(queues); }

  // --- any context ------------------------------------------------------------------------------

  /// Takes back an ended request. The EndSink calls this function, on the thread that dropped the
  /// last handle.
  [[gnu::always_inline]] void take_ended(R& request) noexcept {
    if (Context::current() != &context_) [[unlikely]]
      return take_ended_elsewhere(request);
    // Outside of an Entry, the work is queued as long as something is to be resumed.
    const bool is_posted = entered_ || notes_.resume_pending;
    // Not where an end has to wait, and in the order of the ends.
    if (issuer_.defers_ends() || !ended_.empty()) {
      append_ended(request);
    } else if (can_end_whole(request)) [[likely]] {
      ended_bios_.push_back(end_whole(request));
    } else {
      return take_ended_in_full(request);
    }
    if (!is_posted) [[unlikely]]
      post_work();
  }

  /// The request of a Claim that is passed on.
  [[nodiscard]] static R& bare_completed(Claim<R>&& claim) noexcept {
    state_of(claim.data()).claim_origin = blkown::detail::HandleAccess::origin(claim);
    return *blkown::detail::HandleAccess::take(claim);
  }
  /// Takes over one or several requests of bare_completed(). The context will call the driver's
  /// complete(), in the order of the calls.
  template <class Requests>
  [[gnu::noinline]] void take_completed(Requests&& requests) noexcept {
    if (remote_completed_.push(requests)) context_.post(remote_completed_work_);
  }
  /// The same for one request without an atomic operation. Returns false, and does nothing, on
  /// another thread, or behind a Claim that take_completed() has taken over. Ends the request of a
  /// driver that has no hook.
  /// Context: any thread, but no interrupt.
  [[nodiscard, gnu::always_inline]] bool take_completed_local(R& request) noexcept {
    if constexpr (!names_complete<D>) {
      make_claim(request).end_ok();
      return true;
    }
    if (Context::current() != &context_ || !remote_completed_.empty()) [[unlikely]]
      return false;
    if (completed_.empty() && !is_polling_) context_.post_local(work_);
    completed_.push_back(request);
    return true;
  }

  /// Makes the context issue its waiting bios again. With `requeues`, held requests are issued too.
  void kick(bool requeues) noexcept {
    if (requeues) is_kicked_.raise();
    context_.post(work_);
  }

  /// Makes the context do its part of the present control step.
  void begin_control() noexcept { context_.post(control_work_); }
  /// As begin_control(), for the side track.
  void begin_side_control() noexcept { context_.post(side_control_work_); }

  /// Calls `visit(const WaitingRow&)` for each hardware queue that bios of the context wait for.
  template <class Visit>
  void for_each_waiting(Visit visit) const {
    lanes_.for_each_waiting(visit);
  }
  /// Whether a Plug of the context exists.
  [[nodiscard]] bool has_plug() const noexcept { return has_plug_.is_set(); }

  // --- for ControlPart --------------------------------------------------------------------------

  /// Whether the driver has no request of this context, and nothing is left to do. For a removal,
  /// no request may wait to be issued again either.
  [[nodiscard]] bool is_drained(bool for_removal) const noexcept {
    const Word left = for_removal ? issuer_.in_flight() : issuer_.with_driver();
    return left == 0 && ended_bios_.empty() && !notes_.resume_pending;
  }
  /// Gives back all tags, and takes alarms and hooks out of the context.
  void withdraw() noexcept {
    lanes_.detach();
    timeouts_.stop();
    retry_alarm_.cancel();
  }
  [[nodiscard]] bool is_work_queued() const noexcept {
    return work_.is_queued() || tags_shared_work_.is_queued() || remote_ended_work_.is_queued() ||
           remote_completed_work_.is_queued();
  }

  // --- for the disk -----------------------------------------------------------------------------

  /// Whether a call, a hook or a callback of the disk is running on this context. Only for this
  /// context, or while nothing uses the disk.
  [[nodiscard]] bool is_entered() const noexcept { return entered_; }
  [[nodiscard]] bool is_plugged() const noexcept { return issuer_.is_plugged(); }
  /// From here to end_hooks() the disk calls hooks outside of an Entry.
  /// Context: this context, outside of an Entry.
  [[gnu::cold]] void begin_hooks() noexcept { entered_ = true; }
  [[gnu::cold]] void end_hooks() noexcept {
    entered_ = false;
    context_.post_local(work_);  // for what the hooks have submitted
  }

 private:
  static constexpr std::uint64_t ns_per_ms = 1'000'000;
  // Bounds one settle(), so that other works of the context are not starved.
  static constexpr unsigned settle_budget = 512;

  [[noreturn, gnu::cold, gnu::noinline]] void violate_entered(const char* operation,
                                                              const Place& where) const {
    blkown::detail::violate(
        Violation::wrong_context,
        Incident::of(operation, where)
            .with("disk '{subject}' was used for a context that the thread does not run",
                  "post the call to that context, or call ThreadRuntime::run_on()")
            .about(disk_.config().name));
  }

  [[noreturn, gnu::cold, gnu::noinline]] void violate_submitted(Bio& bio,
                                                                const Place& where) const {
    BioAccess::begin(bio, disk_.config().name, where);
    __builtin_unreachable();
  }

  /// Enters the lines for tags before the context's first I/O. Not done when the disk is made,
  /// which may happen on any thread.
  void begin_use() noexcept {
    if (issuer_.is_in_use() || control_.is_removed()) [[likely]]
      return;
    lanes_.begin_use();
    issuer_.set_in_use();
  }

  /// Tells the lanes that another lane draws from tags that one of them had for itself.
  void note_shared_tags() noexcept {
    if (!control_.is_removed()) lanes_.note_shared_tags();
    control_.acknowledge();
  }

  /// Ends the outermost Entry. This object may be destroyed when the call returns.
  [[gnu::always_inline]] void leave() noexcept {
    if (has_to_settle_or_watch()) [[unlikely]]
      return leave_in_full();
    entered_ = false;
  }
  /// Opens an Entry. Returns whether it is the outermost one.
  [[gnu::always_inline]] bool enter() noexcept { return !std::exchange(entered_, true); }
  [[nodiscard, gnu::always_inline]] bool has_to_settle_or_watch() const noexcept {
    return !ended_.empty() || !ended_bios_.empty() || notes_.is_any() || needs_watch();
  }
  [[nodiscard, gnu::always_inline]] bool needs_watch() const noexcept {
    return issuer_.in_flight() != 0 && !timeouts_.is_watching();
  }
  [[gnu::noinline]] void leave_in_full() noexcept {
    if (!settles_at_once_ || !settle_one()) [[unlikely]]
      leave_with_more();
  }
  [[gnu::noinline]] void leave_with_more() noexcept {
    if (is_unsettled()) {
      const DiskConfig& config = disk_.config();
      if (config.completion == CompletionMode::immediate) return settle(!config.blocking);
      context_.post_local(work_);
    }
    end_entry();
  }

  /// The context's work for the disk.
  void run() noexcept {
    enter();
    notes_.resume_pending = true;
    complete_own();
    if (is_kicked_.take()) [[unlikely]]
      kick_what_is_here();
    settle_in_work();
  }
  /// Takes the requests that other threads have ended.
  void take_remote_ended() noexcept {
    enter();
    const bool is_kicked = is_kicked_.take();  // before the requests that the kick is for are taken
    notes_.resume_pending = true;
    blkown::detail::HandleAccess::append(ended_, remote_ended_.take_all());
    if (is_kicked) [[unlikely]]
      kick_held();
    settle_in_work();
  }
  /// Takes the requests that other threads have completed.
  void take_remote_completed() noexcept {
    enter();
    notes_.resume_pending = true;
    complete_all();
    settle_in_work();
  }

  void settle_in_work() noexcept {
    if (!settle_one()) settle(true);
  }

  /// A kick. It may be for a request that is still in the stack: then the stack's work does it.
  [[gnu::cold, gnu::noinline]] void kick_what_is_here() noexcept {
    if (!remote_ended_.empty()) return is_kicked_.raise();
    kick_held();
  }
  /// Makes the lanes issue their held requests. Requests that were requeued before the kick are on
  /// their way, and are held first.
  [[gnu::cold, gnu::noinline]] void kick_held() noexcept {
    while (auto ended = ended_.pop_front()) {
      take_back_in_full(*blkown::detail::HandleAccess::take(*ended));
    }
    issuer_.kick();
  }

  /// Whether settle() has something to do. Claims that wait for the hook do not count: the work has
  /// been posted for them.
  [[nodiscard]] bool is_unsettled() const noexcept {
    return !ended_.empty() || !ended_bios_.empty() || notes_.resume_pending;
  }

  /// The first step of settle(), and the end of the Entry where nothing else is to be done: a
  /// context that has one I/O in flight pays for no more. Returns false if something is left to
  /// settle() or end_entry().
  [[nodiscard, gnu::always_inline]] bool settle_one() noexcept {
    if (!ended_.empty()) {
      take_back(*ended_.pop_front());
    } else if (Bio* const bio = ended_bios_.pop_front()) {
      finish(*bio);
    } else {
      return false;
    }
    if (!ended_.empty() || !ended_bios_.empty() || notes_.is_any_but_resume() ||
        issuer_.may_resume() || needs_watch()) [[unlikely]] {
      return false;
    }
    notes_.resume_pending = false;
    entered_ = false;
    return true;
  }

  /// Processes ended requests, callbacks and waiting I/O until none is left or the budget is used
  /// up. Not inlined into its two callers, so that its own calls are inlined. This object may be
  /// destroyed when the call returns.
  [[gnu::noinline]] void settle(bool may_issue) noexcept {
    for (unsigned budget = settle_budget; budget != 0; --budget) {
      for (; budget != 0 && !ended_.empty(); --budget) take_back(*ended_.pop_front());
      for (; budget != 0 && !ended_bios_.empty(); --budget) {
        finish(*ended_bios_.pop_front());
      }
      if (budget == 0) break;
      if (!ended_.empty()) continue;
      if (!may_issue || !std::exchange(notes_.resume_pending, false) || !resume()) break;
      if (!ended_.empty()) [[unlikely]]
        take_back_before_callbacks();
    }
    if (is_unsettled()) context_.post_local(work_);
    end_entry();
  }

  /// The end of an outermost Entry or of run(). This object may be destroyed when the call returns.
  void end_entry() noexcept {
    watch();
    entered_ = false;
    control_.acknowledge();
  }

  /// Issues the waiting bios and requests, or fails them if the disk is removed. Returns false if
  /// none waits.
  bool resume() noexcept {
    if (!control_.is_removed()) [[likely]]
      return issuer_.resume();
    return issuer_.fail_waiting(Status::offline);
  }

  [[gnu::noinline]] void post_work() noexcept { context_.post_local(work_); }
  [[gnu::noinline]] void take_ended_elsewhere(R& request) noexcept {
    blkown::detail::poison_idle(request);
    if (remote_ended_.push(request)) context_.post(remote_ended_work_);
  }
  /// Makes settle() take the request back.
  [[gnu::always_inline]] void append_ended(R& request) noexcept {
    notes_.resume_pending = true;
    blkown::detail::poison_idle(request);
    // Without an Ended, so that take_ended() has nothing to destroy.
    blkown::detail::HandleAccess::requests(ended_).push_back(request);
  }
  /// take_ended() for a request that is not ended at once: makes room in a full stash first.
  [[gnu::noinline]] void take_ended_in_full(R& request) noexcept {
    const bool is_posted = entered_ || notes_.resume_pending;
    if (make_room(request)) {
      ended_bios_.push_back(end_whole(request));
    } else {
      append_ended(request);
    }
    if (!is_posted) post_work();
  }
  /// Makes room for the tag in a full stash. Returns whether the request can now be ended as a
  /// whole.
  [[nodiscard, gnu::always_inline]] static bool make_room(R& request) noexcept {
    if (is_requeue(request)) return false;
    Lane<D>* const lane = state_of(RequestTraits<R>::data(request)).whole_lane;
    if (lane != nullptr) lane->tags.make_room();
    return can_end_whole(request);
  }

  [[nodiscard, gnu::always_inline]] static bool is_requeue(R& request) noexcept {
    return blkown::detail::HeaderAccess::requeue(blkown::detail::header_of(request));
  }
  [[nodiscard, gnu::always_inline]] static bool can_end_whole(R& request) noexcept {
    return !is_requeue(request) &&
           Issuer<D>::can_end_whole(state_of(RequestTraits<R>::data(request)));
  }
  /// The end of a request. Returns its bio, which has ended.
  /// Precondition: can_end_whole().
  [[gnu::always_inline]] Bio& end_whole(R& request) noexcept {
    notes_.resume_pending = true;
    const Status status = blkown::detail::HeaderAccess::status(blkown::detail::header_of(request));
    counters_.ended_by_status[static_cast<std::size_t>(status)].add();
    return issuer_.end_whole(request, status);
  }

  /// Takes an ended request back, and calls the end callback of its bio at once if that is all that
  /// is left, and no bio has ended before.
  [[gnu::always_inline]] void take_back(Ended<R>&& ended) noexcept {
    R& request = *blkown::detail::HandleAccess::take(ended);
    if (!can_end_whole(request)) [[unlikely]]
      return take_back_while_tags_are_short(request);
    Bio& bio = end_whole(request);
    if (!ended_bios_.empty()) [[unlikely]]
      return ended_bios_.push_back(bio);
    finish(bio);
  }
  /// Takes back what the driver has ended or given back while resume() called it. So a bio that an
  /// end callback submits does not pass a request of resume() that is to be issued again. Elsewhere
  /// such a bio may pass one, but not on a zoned disk: there no bio is whole, and settle() takes
  /// every request back before it calls the callback of a bio.
  [[gnu::noinline]] void take_back_before_callbacks() noexcept {
    while (auto ended = ended_.pop_front()) {
      R& request = *blkown::detail::HandleAccess::take(*ended);
      if (can_end_whole(request)) {
        ended_bios_.push_back(end_whole(request));
      } else if (Bio* const bio = end_in_turn(request)) {
        ended_bios_.push_back(*bio);
      } else {
        take_back_in_full(request);
      }
    }
  }
  /// Takes the requests that are to be issued again out of ended_.
  void take_back_requeued() noexcept {
    EndedList<R> others;
    while (auto ended = ended_.pop_front()) {
      if (ended->is_requeue()) {
        issuer_.take_requeued(*blkown::detail::HandleAccess::take(*ended));
      } else {
        others.push_back(*std::move(ended));
      }
    }
    ended_ = std::move(others);
  }
  /// take_back() where no tag can be put into the stash as it is.
  [[gnu::noinline]] void take_back_while_tags_are_short(R& request) noexcept {
    Bio* bio = end_in_turn(request);
    if (bio == nullptr) {
      if (!make_room(request)) return take_back_in_full(request);
      bio = &end_whole(request);
    }
    if (!ended_bios_.empty()) [[unlikely]]
      return ended_bios_.push_back(*bio);
    finish(*bio);
  }
  /// As end_whole(), for a lane that uses the tag again in its turn. Null: not for this request.
  [[nodiscard, gnu::always_inline]] Bio* end_in_turn(R& request) noexcept {
    if (is_requeue(request) ||
        !Issuer<D>::can_end_in_turn(state_of(RequestTraits<R>::data(request)))) {
      return nullptr;
    }
    notes_.resume_pending = true;
    const Status status = blkown::detail::HeaderAccess::status(blkown::detail::header_of(request));
    counters_.ended_by_status[static_cast<std::size_t>(status)].add();
    return &issuer_.end_in_turn(request, status);
  }
  [[gnu::always_inline]] void finish(Bio& bio) noexcept {
    counters_.ended_bios.add();
    BioAccess::finish(bio);
  }
  [[gnu::noinline]] void take_back_in_full(R& request) noexcept {
    auto ended = blkown::detail::HandleAccess::make_ended(request);
    notes_.resume_pending = true;
    if (ended.is_requeue()) {
      return issuer_.take_requeued(*blkown::detail::HandleAccess::take(ended));
    }
    const Status status = ended.status();
    Payload<D>& payload = ended.data();
    PayloadState<D>& state = state_of(payload);
    counters_.ended_by_status[static_cast<std::size_t>(status)].add();
    issuer_.trace(TraceStep::ended, payload, ended.tag(), status);
    Bio* const bio = state.bio;
    if (bio == nullptr) {
      state.status = status;
      // The callback may submit bios, which must not pass a request that is to be issued again.
      take_back_requeued();
      disk_.pool().rare_states().of(ended.queue(), ended.tag()).on_private_end(payload);
    }
    issuer_.free(std::move(ended));
    if (bio != nullptr) issuer_.end_part(*bio, status);
  }

  [[nodiscard]] unsigned call_poll(HwQueue<D>& hw) noexcept {
    const typename Issuer<D>::InReapingHook hook{issuer_};
    is_polling_ = true;
    const unsigned count = disk_.driver().poll(hw);
    is_polling_ = false;
    return count;
  }

  /// Calls the driver's complete() for the Claims that the context itself has passed until now.
  [[gnu::always_inline]] void complete_own() noexcept {
    if constexpr (names_complete<D>) {
      if (!completed_.empty()) complete_all_own();
    }
  }
  [[gnu::noinline]] void complete_all_own() noexcept {
    const typename Issuer<D>::InReapingHook hook{issuer_};  // one for all calls
    completed_.take_each([this](R& request) { complete(request); });
  }
  /// Calls the hook for all Claims that were passed until now: those in completed_ were first. The
  /// stack is taken before the hook is called, so that a Claim that the hook passes on waits for
  /// the next run.
  [[gnu::noinline]] void complete_all() noexcept {
    const typename Issuer<D>::InReapingHook hook{issuer_};
    remote_completed_.take_each([this] { complete_own(); },
                                [this](R& request) { complete(request); });
  }
  [[gnu::always_inline]] void complete(R& request) noexcept {
    if constexpr (names_complete<D>) {
      disk_.driver().complete(RequestTraits<R>::data(request).hw_queue(), make_claim(request));
    } else {
      make_claim(request).end_ok();
    }
  }
  [[nodiscard, gnu::always_inline]] static Claim<R> make_claim(R& request) noexcept {
    return blkown::detail::HandleAccess::make_claim(
        request, state_of(RequestTraits<R>::data(request)).claim_origin, Place::current());
  }

  /// Makes sure that requests in flight are scanned for timeouts, and that a busy driver is
  /// retried.
  void watch() noexcept {
    if (issuer_.in_flight() == 0) return;
    timeouts_.watch();
    if (!notes_.may_be_busy) [[likely]]
      return;
    notes_.may_be_busy = lanes_.is_any_busy();
    if (!retry_pending_ && notes_.may_be_busy) {
      retry_pending_ = true;
      retry_alarm_.arm(context_, std::uint64_t{disk_.config().busy_delay_ms} * ns_per_ms);
    }
  }

  void retry() noexcept {
    retry_pending_ = false;
    const Entry entry{*this, "mq::SubmitQueue::retry", Place{}};
    lanes_.clear_busy();
    notes_.resume_pending = true;
  }

  void take_part() noexcept {
    const Entry entry{*this, "mq::SubmitQueue::take_part", Place{}};
    control_.take_part();
    notes_.resume_pending = true;
  }

  void take_side_part() noexcept {
    const Entry entry{*this, "mq::SubmitQueue::take_side_part", Place{}};
    control_.take_side_part();
    notes_.resume_pending = true;
  }

  Disk<D>& disk_;
  Context& context_;
  Work work_;
  Work control_work_;
  Work side_control_work_;
  Work tags_shared_work_;
  Alarm retry_alarm_;
  EndedList<R> ended_;
  BioList ended_bios_;
  Notes notes_;
  Lanes<D> lanes_;
  Issuer<D> issuer_;
  TimeoutScan<D> timeouts_;
  ControlPart<D> control_;
  // A run of the context within an Entry would clear the flag, and call back out of turn: see
  // check_may_wait().
  bool entered_ = false;
  const bool settles_at_once_;  // the outermost Entry settles, and may issue what waits
  RelaxedFlag has_plug_;        // for tables on other threads
  bool retry_pending_ = false;
  bool is_polling_ = false;  // poll() looks at completed_ before it returns
  blkown::detail::Ring<R, blkown::detail::RequestLink<R>> completed_;  // passed by the context
  ContextCounters counters_;
  blkown::detail::User user_;  // of the context
  // What other threads write, in pairs of cache lines of their own.
  alignas(blkown::detail::line_pair_bytes) RequestStack<R> remote_ended_;
  Work remote_ended_work_;
  RequestStack<R> remote_completed_;
  Work remote_completed_work_;
  RaisedFlag is_kicked_;
};

template <class D>
void take_ended(Request<D>& request) noexcept {
  state_of(RequestTraits<Request<D>>::data(request)).submitter->take_ended(request);
}

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
