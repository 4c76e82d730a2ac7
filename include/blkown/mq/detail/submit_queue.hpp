// SPDX-License-Identifier: BSL-1.0
//
// One context's side of a disk: bios come in, requests go out, ended requests come back.

#ifndef BLKOWN_MQ_DETAIL_SUBMIT_QUEUE_HPP
#define BLKOWN_MQ_DETAIL_SUBMIT_QUEUE_HPP

#include <blkown/claim.hpp>
#include <blkown/config.hpp>
#include <blkown/ended.hpp>
#include <blkown/mq/bio.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/control.hpp>
#include <blkown/mq/counters.hpp>
#include <blkown/mq/detail/admission.hpp>
#include <blkown/mq/detail/hw_queues.hpp>
#include <blkown/mq/detail/issuer.hpp>
#include <blkown/mq/detail/relaxed.hpp>
#include <blkown/mq/detail/request_stack.hpp>
#include <blkown/mq/detail/timeout_scan.hpp>
#include <blkown/mq/payload.hpp>
#include <blkown/mq/timer.hpp>
#include <optional>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// blk-mq's software queue. Everything in it belongs to its context, but for what others reach it
/// by: the two stacks, on which they put what they have ended or completed, the flag of a kick, and
/// the works that they post.
///
/// All that happens on the context happens inside an Entry: submit and the like leave the rest
/// (ended requests, end callbacks, what waits) to settle(), which the outermost Entry calls. So
/// nothing is called back from inside something else, and nothing recurses.
template <class D>
class SubmitQueue {
 public:
  using R = Request<D>;
  using Access = PayloadAccess<D>;

  SubmitQueue(Disk<D>& disk, Context& context)
      : disk_{disk},
        context_{context},
        work_{[](void* self, Work&) { static_cast<SubmitQueue*>(self)->run(); }, this},
        control_work_{[](void* self, Work&) { static_cast<SubmitQueue*>(self)->take_part(); },
                      this},
        company_work_{[](void* self, Work&) { static_cast<SubmitQueue*>(self)->take_company(); },
                      this},
        idle_hook_{[](void* self, IdleHook&) { static_cast<SubmitQueue*>(self)->go_idle(); }, this},
        retry_alarm_{[](void* self, Alarm&) { static_cast<SubmitQueue*>(self)->retry(); }, this},
        issuer_{disk, *this, context, work_, company_work_, counters_, ended_bios_},
        timeouts_{disk, *this, issuer_, counters_} {}
  SubmitQueue(const SubmitQueue&) = delete;
  SubmitQueue& operator=(const SubmitQueue&) = delete;

  [[nodiscard]] Context& context() const noexcept { return context_; }
  [[nodiscard]] const ContextCounters& counters() const noexcept { return counters_; }

  // --- this context -----------------------------------------------------------------------------

  /// Being on the context and in the middle of something.
  class Entry {
   public:
    Entry(SubmitQueue& queue, const char* operation, const Place& where)
        : scope_{check(queue, operation, where)},
          queue_{queue},
          is_outermost_{!std::exchange(queue.is_entered_, true)} {}
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    ~Entry() {
      if (is_outermost_) queue_.leave();
    }

   private:
    [[nodiscard]] static Context& check(SubmitQueue& queue, const char* operation,
                                        const Place& where) {
      const Context* const here = Context::current();
      if (here != nullptr && here != &queue.context_) [[unlikely]] {
        Incident incident;
        incident.operation = operation;
        incident.place = where;
        blkown::detail::violate(Violation::wrong_context, incident);
      }
      return queue.context_;
    }

    Context::Scope scope_;
    SubmitQueue& queue_;
    bool is_outermost_;
  };

  // Precondition of those that follow: inside an Entry.

  void submit(Bio& bio, Place where) noexcept {
    begin_use();
    BioAccess::begin(bio, where);
    counters_.submitted_bios.add();
    const Status refused = is_gone_ ? Status::offline : refusal(bio, disk_.config());
    if (refused != Status::ok) [[unlikely]] {
      BioAccess::fail(bio, refused);
      return ended_bios_.push_back(bio);
    }
    if (bio.op() == Op::flush && !disk_.config().write_cache) {
      return ended_bios_.push_back(bio);  // what was written is durable already
    }
    issuer_.begin(bio);
    issuer_.submit(bio, plugs_ != 0);
    if (disk_.config().blocking) is_to_resume_ = true;
  }

  void plug() noexcept { ++plugs_; }
  void unplug() noexcept {
    if (--plugs_ == 0) is_to_resume_ = true;
  }

  [[nodiscard]] std::optional<Idle<R>> allocate_private(QueueType type, Op op, bool reserved) {
    if (is_gone_) return std::nullopt;
    begin_use();
    return issuer_.allocate_private(type, op, reserved);
  }
  void execute_private(Idle<R>&& idle) noexcept {
    timeouts_.allow(Access::timeout_ms(idle.data()));
    issuer_.execute(std::move(idle));
  }

  [[nodiscard]] unsigned poll() noexcept {
    if constexpr (names_poll<D>) {
      HwQueue<D>* const hw = issuer_.lanes().of(QueueType::poll).hw;
      if (hw != nullptr && hw->type() == QueueType::poll) {
        const unsigned count = disk_.driver().poll(*hw);
        take_remote();  // what the driver gave to HwQueue::complete ends here, too
        return count;
      }
    }
    return 0;
  }

  /// Takes up its place among the disk's contexts. Before any I/O; nothing else runs yet.
  void attach(const QueueMap<D>& queues) {
    issuer_.map(queues);
    timeouts_.allow(disk_.config().timeout_ms);
    is_gone_ = false;
  }

  // --- any context ------------------------------------------------------------------------------

  /// Where the EndSink brings this context's requests, whatever handle ended them.
  void take_ended(Ended<R>&& ended) noexcept {
    if (Context::current() == &context_) {
      ended_.push_back(std::move(ended));
      if (!is_entered_) context_.post_local(work_);
      return;
    }
    R* const request = blkown::detail::HandleAccess::take(ended);
    if (remote_ended_.push(*request)) context_.post(work_);
  }

  /// Where HwQueue::complete brings them.
  void take_completed(Claim<R>&& claim) noexcept {
    Access::claim_origin(claim.data()) = blkown::detail::HandleAccess::origin(claim);
    R* const request = blkown::detail::HandleAccess::take(claim);
    if (remote_completed_.push(*request)) context_.post(work_);
  }

  /// Something has changed for what waits. `requeues`: held back requests are let go, too.
  void kick(bool requeues) noexcept {
    if (requeues) is_kicked_.set(true);
    context_.post(work_);
  }

  void begin_control() noexcept { context_.post(control_work_); }

  /// Where the types' bios go after the next thaw. Precondition: frozen, and nothing is out.
  void remap(const QueueMap<D>& queues) noexcept {
    next_map_ = queues;
    is_to_remap_ = true;
  }

 private:
  void go_idle() noexcept { issuer_.lanes().go_idle(disk_.pool()); }

  /// Before the context's first I/O. Not with the disk, which may be made on any thread.
  void begin_use() noexcept {
    if (issuer_.lanes().are_in_use() || is_gone_) [[likely]]
      return;
    issuer_.lanes().begin_use(disk_.pool());
    look_for_company();
  }

  /// Another lane has come to where one of this context's was alone.
  void take_company() noexcept {
    look_for_company();
    acknowledge();
  }

  /// Where a lane is not alone with its tags, they go back when the context is idle.
  void look_for_company() noexcept {
    if (is_hooked_ || is_gone_ || !issuer_.lanes().has_company(disk_.pool())) return;
    is_hooked_ = true;
    context_.add_idle_hook(idle_hook_);
  }

  /// The end of the outermost Entry. Its last line may have been the end of the disk.
  void leave() noexcept {
    if (has_come_up()) {
      const DiskConfig& config = disk_.config();
      if (config.completion == CompletionMode::immediate) return settle(!config.blocking);
      context_.post_local(work_);
    }
    be_outside();
  }

  /// The context's work for the disk: what came from elsewhere, and what waits.
  void run() noexcept {
    is_entered_ = true;
    if (is_kicked_.is_set()) [[unlikely]] {
      is_kicked_.set(false);  // before the list is looked at: a kick that comes now is not lost
      issuer_.kick();
    }
    is_to_resume_ = true;
    if (!remote_ended_.empty() || !remote_completed_.empty()) take_remote();
    settle(true);
  }

  /// Something is to be done here and now. What comes from elsewhere is the work's, which whoever
  /// brought it has posted.
  [[nodiscard]] bool has_come_up() const noexcept {
    return !ended_.empty() || !ended_bios_.empty() || is_to_resume_;
  }

  /// Does what has come up, until nothing has, or other work of the context has waited long enough;
  /// the end of an Entry or of the work. Not inlined into both: then less would be inlined here.
  [[gnu::noinline]] void settle(bool may_issue) noexcept {
    for (unsigned budget = 512; budget != 0; --budget) {
      for (; budget != 0 && !ended_.empty(); --budget) take_back(*ended_.pop_front());
      for (; budget != 0 && !ended_bios_.empty(); --budget) {
        counters_.ended_bios.add();
        BioAccess::finish(*ended_bios_.pop_front());
      }
      if (budget == 0) break;
      if (!ended_.empty()) continue;
      if (!may_issue || !std::exchange(is_to_resume_, false) || !resume()) break;
    }
    if (has_come_up()) context_.post_local(work_);
    be_outside();
  }

  /// Its last line may have been the end of the disk.
  void be_outside() noexcept {
    watch();
    is_entered_ = false;
    if (is_to_acknowledge_) acknowledge();
  }

  /// Issues what waits, or fails it if the disk is gone. False if nothing does.
  bool resume() noexcept {
    if (!is_gone_) [[likely]]
      return issuer_.resume();
    return issuer_.fail_waiting(Status::offline);
  }

  /// What came from elsewhere: seldom, where each context completes its own, so out of line. If
  /// more comes while this goes on, the work has been posted anew.
  [[gnu::noinline]] void take_remote() noexcept {
    if (R* const last = remote_ended_.take_all()) {
      blkown::detail::HandleAccess::append(ended_, *last);
    }
    if (R* const last = remote_completed_.take_all()) {
      R* next = RequestStack<R>::behind(*last);
      for (R* request = nullptr; request != last;) {
        request = std::exchange(next, RequestStack<R>::behind(*next));
        complete(*request);
      }
    }
  }

  void take_back(Ended<R>&& ended) noexcept {
    is_to_resume_ = true;
    if (ended.is_requeue()) return issuer_.take_requeued(std::move(ended));
    const Status status = ended.status();
    Payload<D>& payload = ended.data();
    counters_.ended_by_status[static_cast<std::size_t>(status)].add();
    issuer_.trace(TraceStep::ended, payload, ended.tag(), status);
    Bio* const bio = Access::bio(payload);
    if (bio == nullptr) Access::end_private(payload, status);
    if (payload.op() == Op::zone_append)
      BioAccess::set_sector(*bio, Access::written_sector(payload));
    issuer_.free(std::move(ended));
    if (bio != nullptr) issuer_.end_part(*bio, status);
  }

  void complete(R& request) noexcept {
    Payload<D>& payload = RequestTraits<R>::data(request);
    auto claim = blkown::detail::HandleAccess::make_claim(request, Access::claim_origin(payload));
    if constexpr (names_complete<D>) {
      disk_.driver().complete(payload.hw_queue(), std::move(claim));
    } else {
      std::move(claim).end_ok();
    }
  }

  /// Sees to it that what is out is looked after, and a busy driver asked again.
  void watch() noexcept {
    if (issuer_.out() == 0) return;
    timeouts_.watch();
    if (!is_retrying_ && issuer_.lanes().is_any_busy()) {
      is_retrying_ = true;
      retry_alarm_.arm(context_, std::uint64_t{disk_.config().busy_delay_ms} * ns_per_ms);
    }
  }

  void retry() noexcept {
    is_retrying_ = false;
    const Entry entry{*this, "mq::SubmitQueue::retry", Place{}};
    issuer_.lanes().try_again();
    is_to_resume_ = true;
  }

  /// This context's part in an operation on the disk.
  void take_part() noexcept {
    const Entry entry{*this, "mq::SubmitQueue::take_part", Place{}};
    is_to_acknowledge_ = true;
    is_to_drain_ = false;
    switch (disk_.controls().step()) {
      case Control::Step::freeze:
        issuer_.freeze();
        is_to_drain_ = true;
        break;
      case Control::Step::thaw:
        if (std::exchange(is_to_remap_, false)) {
          issuer_.map(next_map_);
          look_for_company();
        }
        issuer_.thaw();
        break;
      case Control::Step::quiesce: issuer_.set_quiesced(true); break;
      case Control::Step::unquiesce: issuer_.set_quiesced(false); break;
      case Control::Step::remove:
        is_gone_ = true;
        is_to_drain_ = true;
        break;
      case Control::Step::pass:
      case Control::Step::leave: break;
    }
    is_to_resume_ = true;
  }

  /// Says that this context has done its part of an operation, as soon as it has. The very last
  /// thing an Entry does: the disk may be gone when it returns.
  void acknowledge() noexcept {
    if (!is_to_acknowledge_) [[likely]]
      return;
    if (is_to_drain_ && (issuer_.out() != 0 || !ended_bios_.empty() || is_to_resume_)) return;
    if (is_gone_) {
      issuer_.lanes().detach(disk_.pool());
      timeouts_.stop();
      retry_alarm_.cancel();
      if (std::exchange(is_hooked_, false)) context_.remove_idle_hook(idle_hook_);
      // Where one is queued still, it will be back here.
      const bool is_queued = work_.is_queued() || company_work_.is_queued();
      if (disk_.controls().step() == Control::Step::leave && is_queued) return;
    }
    is_to_acknowledge_ = false;
    disk_.controls().arrive();
  }

  static constexpr std::uint64_t ns_per_ms = 1'000'000;

  Disk<D>& disk_;
  Context& context_;
  Work work_;
  Work control_work_;
  Work company_work_;
  IdleHook idle_hook_;
  Alarm retry_alarm_;
  EndedList<R> ended_;
  BioList ended_bios_;
  Issuer<D> issuer_;
  TimeoutScan<D> timeouts_;
  QueueMap<D> next_map_{};
  unsigned plugs_ = 0;
  bool is_entered_ = false;
  bool is_to_resume_ = false;
  bool is_retrying_ = false;
  bool is_to_remap_ = false;
  bool is_to_acknowledge_ = false;
  bool is_to_drain_ = false;
  bool is_gone_ = true;
  bool is_hooked_ = false;
  ContextCounters counters_;
  alignas(cache_line_bytes) RequestStack<R> remote_ended_;
  RequestStack<R> remote_completed_;
  RelaxedFlag is_kicked_;
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
