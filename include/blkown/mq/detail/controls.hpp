// SPDX-License-Identifier: BSL-1.0
//
// Controls: carries out the control operations of a disk.
//
// Parties: callers on any thread, which start operations; every context of the disk, with its
// ControlPart; Controls, which runs on the thread that starts an operation or ends a step.
//
// Two operations may be in progress: one on the main track and one on the side track.
//
//   start    appends the operation to the queue. Its first step begins when take_next() allows it.
//   step     an operation is a sequence of steps:
//              freeze, thaw                   main: one step of that name
//              queue_count                    main: freeze; the queues change; thaw
//              limits                         main: freeze; the limits change; thaw copies them
//              remove                         main: remove, pass, leave; the queues are closed
//              quiesce, unquiesce             side: one step of that name
//              operations behind a removal    side: pass; quiesce and unquiesce keep their steps
//              a thaw or unquiesce too many   pass, after a report
//              limits that are refused        pass
//   tell     a step begins with a post to every context.
//   arrive   a context arrives when its ControlPart has done the step. For freeze and remove,
//            that includes the end of its requests. The last context to arrive begins the next step
//            or ends the operation.
//   pass by  an operation begins when those started before it have ended, with one exception. While
//            the main track waits for requests, the side track carries out quiesces and unquiesces
//            ahead of the operations that wait. A driver that recovers its requests needs them.
//            While a removal waits, the side track carries out everything except removals.
//
// `pass` exists because a context that handed over another context's last request may still be
// inside that call. When every context has run once more, all such calls have returned. The gates
// for kicks and for uses through DiskRefs are closed before `pass`; `pass` is repeated while a call
// is inside, or while the side track is in use. `leave` then waits until no work of this disk is
// queued on any context.
//
// Operations that are started after a removal has begun end with Status::offline. Those that are
// still queued when the removal has waited for its requests end in order, before the removal's
// callback. Operations that are started after the removal end within start().
//
// Guarantees: when a step is done, every context has seen it, without a lock or a fence on the path
// of an I/O. The removal's callback is called last, and may destroy the disk. An operation does not
// end while a context is not run, or while the driver has a request that the operation waits for.
// No operation waits for a later operation. A quiesce and an unquiesce wait for no request.

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
#include <utility>

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
    control.disk_name_ = disk_.config().name;
    control.next_ = nullptr;
    switch (append(control)) {
      case Appended::begins: return begin(control);
      case Appended::behind: return;
      case Appended::refused: return end(control, Status::offline);
    }
  }

  /// The present step of the main track.
  /// Context: the disk's contexts, between the post of the step and their arrival.
  [[nodiscard]] Control::Step step() const noexcept { return main_.step; }
  /// The present step of the side track.
  /// Context: as step().
  [[nodiscard]] Control::Step side_step() const noexcept { return side_.step; }

  /// The limits that the present thaw brings into force. Null if the limits do not change.
  /// Context: as step().
  [[nodiscard]] const QueueLimits* new_limits() const noexcept {
    return main_.control->kind_ == Control::Kind::limits ? &limits_ : nullptr;
  }

  /// The limits that are in force, or that the operation in progress brings into force.
  /// Context: any; the call locks a mutex.
  [[nodiscard]] QueueLimits limits() const {
    const std::lock_guard lock{mutex_};
    return limits_;
  }

  /// Records that one context has done the present step of the main track. The disk may be
  /// destroyed when the call returns.
  void arrive() {
    if (main_.countdown.arrive()) finish_step();
  }
  /// Records that one context has done the present step of the side track. As arrive().
  void arrive_side() {
    if (side_.countdown.arrive()) finish_side();
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

  /// An operation in progress.
  struct Track {
    Control* control =
        nullptr;  // guarded by the mutex; steady between begin() and the last arrival
    Control::Step step = Control::Step::thaw;
    Countdown countdown;
  };

  /// The place of an operation among those that have not ended. Refused: the disk is removed.
  enum class Appended : std::uint8_t { begins, behind, refused };
  [[nodiscard]] Appended append(Control& control) {
    const std::lock_guard lock{mutex_};
    if (removed_) return Appended::refused;
    last_ = (first_ == nullptr ? first_ : last_->next_) = &control;
    // Every operation before it that may begin has begun, so this is the only candidate.
    if (take_next() == nullptr) return Appended::behind;
    // Marked before the contexts are told: the disk may be destroyed once a removal is told. No
    // operation that the caller starts later can be told before this one.
    waits_ = waits_ || main_waits(control);
    return Appended::begins;
  }

  [[nodiscard]] static bool is_quiesce(const Control& control) noexcept {
    return control.kind_ == Control::Kind::quiesce || control.kind_ == Control::Kind::unquiesce;
  }
  [[nodiscard]] bool is_removing() const noexcept {
    return main_.control != nullptr && main_.control->kind_ == Control::Kind::remove;
  }
  /// Whether an operation that begins is on the main track, and waits for requests first.
  [[nodiscard]] bool main_waits(const Control& control) const noexcept {
    return main_.control == &control && control.kind_ != Control::Kind::thaw;
  }
  /// Whether an operation may be carried out while the main track waits for requests.
  [[nodiscard]] bool passes_by(const Control& control) const noexcept {
    return is_quiesce(control) || (is_removing() && control.kind_ != Control::Kind::remove);
  }

  /// Moves the next operation that may begin from the queue to its track. Null if none may begin.
  /// Precondition: the caller holds the mutex.
  [[nodiscard]] Control* take_next() noexcept {
    if (side_.control != nullptr || (main_.control != nullptr && !waits_)) return nullptr;
    Control* before = nullptr;
    Control* next = first_;
    while (main_.control != nullptr && next != nullptr && !passes_by(*next)) {
      before = next;
      next = next->next_;
    }
    if (next == nullptr) return nullptr;
    (before == nullptr ? first_ : before->next_) = next->next_;
    if (last_ == next) last_ = before;
    if (is_removing()) next->status_ = Status::offline;
    (main_.control != nullptr || is_quiesce(*next) ? side_ : main_).control = next;
    return next;
  }

  /// Begins the operation that take_next() has returned, and what may pass it by.
  /// Context: a context of the disk. Until it returns, no step ends, so the disk exists.
  void begin_next(Control* next) {
    while (next != nullptr) {
      begin(*next);
      const std::lock_guard lock{mutex_};
      waits_ = waits_ || main_waits(*next);
      next = take_next();
    }
  }

  void begin(Control& control) {
    switch (control.kind_) {
      case Control::Kind::quiesce: ++quiesces_; return tell_side(Control::Step::quiesce);
      case Control::Kind::unquiesce:
        return tell_side(undo(control, quiesces_, Control::Step::unquiesce));
      default: break;
    }
    if (control.status_ == Status::offline) return tell_side(Control::Step::pass);
    switch (control.kind_) {
      case Control::Kind::freeze: ++freezes_; return tell(Control::Step::freeze);
      case Control::Kind::thaw: return tell(undo(control, freezes_, Control::Step::thaw));
      case Control::Kind::limits: return begin_limits(control);
      case Control::Kind::remove: return tell(Control::Step::remove);
      default: return tell(Control::Step::freeze);
    }
  }

  void begin_limits(Control& control) {
    control.error_ = check_limits(disk_.config(), control.limits_);
    if (control.error_.has_value()) control.status_ = Status::invalid;
    tell(control.error_.has_value() ? Control::Step::pass : Control::Step::freeze);
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

  /// The step of a thaw or an unquiesce. A call too many is reported, and has no effect.
  [[nodiscard]] Control::Step undo(const Control& control, std::uint32_t& count,
                                   Control::Step step) {
    if (count != 0) {
      --count;
      return step;
    }
    report_unbalanced(control, step);
    return Control::Step::pass;
  }
  [[gnu::cold, gnu::noinline]] void report_unbalanced(const Control& control,
                                                      Control::Step step) const {
    const bool is_thaw = step == Control::Step::thaw;
    blkown::detail::report(
        Report::unbalanced_control,
        Incident::of(is_thaw ? "mq::Disk::thaw" : "mq::Disk::unquiesce", control.place_)
            .with(is_thaw ? "disk '{subject}' was thawed while it is not frozen"
                          : "disk '{subject}' was unquiesced while it is not quiesced",
                  is_thaw ? "call thaw() once for each freeze()"
                          : "call unquiesce() once for each quiesce()")
            .about(disk_.config().name));
  }

  void tell(Control::Step step) {
    main_.step = step;
    main_.countdown.begin(disk_.context_count());
    disk_.tell_contexts();
  }
  void tell_side(Control::Step step) {
    side_.step = step;
    side_.countdown.begin(disk_.context_count());
    disk_.tell_contexts_aside();
  }

  void finish_step() {
    Control& control = *main_.control;
    const bool is_side_free = stop_waiting();
    if (control.kind_ == Control::Kind::remove) return finish_removal_step(control, is_side_free);
    if (control.kind_ == Control::Kind::queue_count && main_.step == Control::Step::freeze) {
      control.status_ = disk_.change_queue_count(control.queue_count_, control.place_);
      return tell(Control::Step::thaw);
    }
    if (control.kind_ == Control::Kind::limits && main_.step == Control::Step::freeze) {
      change_limits(control.limits_);
      return tell(Control::Step::thaw);
    }
    finish(main_);
  }
  void finish_side() { finish(side_); }

  /// Ends the operation of a track.
  void finish(Track& track) {
    Control& control = *track.control;
    Control* next = nullptr;
    {
      const std::lock_guard lock{mutex_};
      track.control = nullptr;
      next = take_next();
    }
    begin_next(next);
    end(control, control.status_);
  }

  /// The main track no longer waits for requests, so nothing more passes it by. Returns whether the
  /// side track is not in use.
  [[nodiscard]] bool stop_waiting() {
    const std::lock_guard lock{mutex_};
    waits_ = false;
    return side_.control == nullptr;
  }

  void finish_removal_step(Control& removal, bool is_side_free) {
    if (main_.step == Control::Step::remove) {
      disk_.close_gates();
      return tell(Control::Step::pass);
    }
    if (main_.step == Control::Step::pass) {
      const bool can_leave = is_side_free && disk_.are_gates_empty();
      return tell(can_leave ? Control::Step::leave : Control::Step::pass);
    }
    disk_.finish_removal();
    end_removal(removal);
  }

  /// Ends the removal, after the operations behind it. The disk may be destroyed when the call
  /// returns.
  void end_removal(Control& removal) {
    Control* behind = nullptr;
    {
      const std::lock_guard lock{mutex_};
      removed_ = true;
      behind = std::exchange(first_, nullptr);
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
  // Guarded by the mutex.
  Control* first_ = nullptr;  // the operations that have not begun
  Control* last_ = nullptr;
  bool waits_ = false;  // the main track's step may wait for requests
  bool removed_ = false;
  QueueLimits limits_;  // written while no context reads it
  Track main_;
  Track side_;
  // Used by the thread that begins an operation of the track.
  std::uint32_t freezes_ = 0;
  std::uint32_t quiesces_ = 0;
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
