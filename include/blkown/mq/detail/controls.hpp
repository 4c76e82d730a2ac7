// SPDX-License-Identifier: BSL-1.0
//
// Controls: carries out the control operations of a disk.
//
// Parties: callers on any thread, which start operations; every context of the disk, with its
// ControlPart; Controls, which runs on the thread that starts an operation or ends a step.
//
//   start    appends the operation to the queue. If the queue was empty, its first step begins.
//   step     an operation is a sequence of steps:
//              freeze, thaw, quiesce, unquiesce  one step of that name
//              queue_count                       freeze; then the queues change; thaw
//              limits                            freeze; then the limits change; thaw: each
//                                                context copies them
//              remove                            remove, pass, leave; then the queues are closed
//              a thaw or unquiesce too many      pass, after a report
//              limits that are refused           pass
//   tell     a step begins with a post to every context.
//   arrive   a context arrives when its ControlPart has done the step. For freeze and remove,
//            that includes the end of its requests. The last context to arrive begins the next step
//            or ends the operation.
//
// `pass` exists because a context that handed over another context's last request may still be
// inside that call. When every context has run once more, all such calls have returned. The gate
// for kicks is closed before `pass`; `pass` is repeated while a kick is inside. `leave` then waits
// until no work of this disk is queued on any context.
//
// After a removal, operations end with Status::offline: operations that are queued behind the
// removal end in order, before the removal's callback. Operations that are started later end within
// start().
//
// Guarantees: when a step is done, every context has seen it, without a lock or a fence on the path
// of an I/O. The removal's callback is called last, and may destroy the disk. An operation does not
// end while a context is not run, or while the driver has a request that the operation waits for.
// No operation waits for a later operation.

#ifndef BLKOWN_MQ_DETAIL_CONTROLS_HPP
#define BLKOWN_MQ_DETAIL_CONTROLS_HPP

#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/mq/control.hpp>
#include <blkown/mq/detail/countdown.hpp>
#include <blkown/mq/detail/fwd.hpp>
#include <blkown/mq/disk_config.hpp>
#include <blkown/mq/limits.hpp>
#include <blkown/place.hpp>
#include <blkown/status.hpp>
#include <cstdint>
#include <mutex>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// The control operations of one disk.
template <class D>
class Controls {
 public:
  explicit Controls(Disk<D>& disk)
      : disk_{disk}, limits_{effective_limits(disk.config(), disk.config().limits)} {}

  /// Starts an operation.
  /// Violation: object_in_use, if the Control is running.
  /// Context: any; the call locks a mutex.
  void start(Control& control, Control::Kind kind, std::uint32_t queue_count,
             const QueueLimits& limits, const Place& where) {
    if (control.is_running()) violate_started(where);
    control.is_running_.set(true);
    control.kind_ = kind;
    control.queue_count_ = queue_count;
    control.limits_ = limits;
    control.error_.reset();
    control.status_ = Status::ok;
    control.place_ = where;
    control.next_ = nullptr;
    switch (append(control)) {
      case Appended::first: return begin();
      case Appended::behind: return;
      case Appended::refused: return end(control, Status::offline);
    }
  }

  /// The present step.
  /// Context: the disk's contexts, between the post of the step and their arrival.
  [[nodiscard]] Control::Step step() const noexcept { return step_; }

  /// The limits that the present thaw brings into force. Null if the limits do not change.
  /// Context: as step().
  [[nodiscard]] const QueueLimits* new_limits() const noexcept {
    return first_->kind_ == Control::Kind::limits ? &limits_ : nullptr;
  }

  /// The limits that are in force, or that the operation in progress brings into force.
  /// Context: any; the call locks a mutex.
  [[nodiscard]] QueueLimits limits() const {
    const std::lock_guard lock{mutex_};
    return limits_;
  }

  /// Records that one context has done the present step. The disk may be destroyed when the call
  /// returns.
  void arrive() {
    if (countdown_.arrive()) finish_step();
  }

 private:
  [[noreturn, gnu::cold, gnu::noinline]] void violate_started(const Place& where) const {
    blkown::detail::violate(
        Violation::object_in_use,
        Incident::of("start of mq::Control", where)
            .with("a Control of disk '{subject}' was started while its operation is running",
                  "wait until its end callback is called, or use another Control")
            .about(disk_.config().name));
  }

  /// The place of an operation among those that have not ended. Refused: the disk is removed.
  enum class Appended : std::uint8_t { first, behind, refused };
  [[nodiscard]] Appended append(Control& control) {
    const std::lock_guard lock{mutex_};
    if (removed_) return Appended::refused;
    if (first_ != nullptr) {
      last_ = last_->next_ = &control;
      return Appended::behind;
    }
    first_ = last_ = &control;
    return Appended::first;
  }

  void begin() {
    switch (first_->kind_) {
      case Control::Kind::freeze: ++freezes_; return tell(Control::Step::freeze);
      case Control::Kind::queue_count: return tell(Control::Step::freeze);
      case Control::Kind::limits: return begin_limits();
      case Control::Kind::thaw: return undo(freezes_, Control::Step::thaw);
      case Control::Kind::quiesce: ++quiesces_; return tell(Control::Step::quiesce);
      case Control::Kind::unquiesce: return undo(quiesces_, Control::Step::unquiesce);
      case Control::Kind::remove: return tell(Control::Step::remove);
    }
  }

  void begin_limits() {
    first_->error_ = check_limits(disk_.config(), first_->limits_);
    if (first_->error_.has_value()) first_->status_ = Status::invalid;
    tell(first_->error_.has_value() ? Control::Step::pass : Control::Step::freeze);
  }
  /// Precondition: every context has answered a freeze, and none has begun the thaw.
  void change_limits(const QueueLimits& limits) {
    {
      const std::lock_guard lock{mutex_};
      limits_ = effective_limits(disk_.config(), limits);
    }
    // Before the thaw. A context that has not copied the limits yet takes its own mask.
    disk_.set_aligned_memory(limits.dma_alignment_mask != 0);
  }

  /// Begins a thaw or an unquiesce. A call too many is reported, and has no effect.
  void undo(std::uint32_t& count, Control::Step step) {
    if (count != 0) {
      --count;
      return tell(step);
    }
    report_unbalanced(step);
    tell(Control::Step::pass);
  }
  [[gnu::cold, gnu::noinline]] void report_unbalanced(Control::Step step) const {
    const bool is_thaw = step == Control::Step::thaw;
    blkown::detail::report(
        Report::unbalanced_control,
        Incident::of(is_thaw ? "mq::Disk::thaw" : "mq::Disk::unquiesce", first_->place_)
            .with(is_thaw ? "disk '{subject}' was thawed while it is not frozen"
                          : "disk '{subject}' was unquiesced while it is not quiesced",
                  is_thaw ? "call thaw() once for each freeze()"
                          : "call unquiesce() once for each quiesce()")
            .about(disk_.config().name));
  }

  void tell(Control::Step step) {
    step_ = step;
    countdown_.begin(disk_.context_count());
    disk_.tell_contexts();
  }

  void finish_step() {
    Control& control = *first_;
    if (control.kind_ == Control::Kind::queue_count && step_ == Control::Step::freeze) {
      control.status_ = disk_.change_queue_count(control.queue_count_, control.place_);
      return tell(Control::Step::thaw);
    }
    if (control.kind_ == Control::Kind::limits && step_ == Control::Step::freeze) {
      change_limits(control.limits_);
      return tell(Control::Step::thaw);
    }
    if (control.kind_ == Control::Kind::remove) {
      if (step_ == Control::Step::remove) {
        disk_.kicks().close();
        return tell(Control::Step::pass);
      }
      if (step_ == Control::Step::pass) {
        return tell(disk_.kicks().is_empty() ? Control::Step::leave : Control::Step::pass);
      }
      disk_.finish_removal();
      return end_removal(control);
    }
    bool is_more = false;
    {
      const std::lock_guard lock{mutex_};
      first_ = control.next_;
      is_more = first_ != nullptr;
    }
    if (is_more) begin();
    end(control, control.status_);
  }

  /// Ends the removal, after the operations behind it. The disk may be destroyed when the call
  /// returns.
  void end_removal(Control& removal) {
    Control* behind = nullptr;
    {
      const std::lock_guard lock{mutex_};
      removed_ = true;
      behind = removal.next_;
      first_ = nullptr;
    }
    while (behind != nullptr) {
      Control& control = *behind;
      behind = control.next_;  // the callback may destroy the Control
      end(control, Status::offline);
    }
    end(removal, Status::ok);
  }

  static void end(Control& control, Status status) {
    control.status_ = status;
    control.is_running_.set(false);
    control.on_end_(control);
  }

  Disk<D>& disk_;
  mutable std::mutex mutex_;
  Control* first_ = nullptr;
  Control* last_ = nullptr;
  bool removed_ = false;  // guarded by the mutex
  QueueLimits limits_;    // written under the mutex, while no context reads it
  // Used by the thread that begins or ends a step.
  std::uint32_t freezes_ = 0;
  std::uint32_t quiesces_ = 0;
  Control::Step step_ = Control::Step::thaw;
  Countdown countdown_;
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
