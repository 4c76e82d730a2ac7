// SPDX-License-Identifier: BSL-1.0
//
// Operations on a disk as a whole, which every context has to take part in.

#ifndef BLKOWN_MQ_CONTROL_HPP
#define BLKOWN_MQ_CONTROL_HPP

#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/mq/detail/fwd.hpp>
#include <blkown/mq/detail/relaxed.hpp>
#include <blkown/mq/on_end.hpp>
#include <blkown/status.hpp>
#include <mutex>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// One operation on a disk that every context takes part in (freeze, quiesce, remove and so on).
/// The caller's object, as a bio is: it stays where it is until `on_end` was called, on one of the
/// disk's contexts; `on_end` may destroy it or start it again. Operations of one disk are carried
/// out one after the other, in the order in which they were started.
class Control {
 public:
  explicit Control(OnEnd<Control> on_end) noexcept : on_end_{on_end} {}
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;
  ~Control() {
    if (is_running()) violate("destruction of mq::Control", Place{});
  }

  /// How it went; Status::ok unless a driver's init_hctx refused.
  [[nodiscard]] Status status() const noexcept { return status_; }
  /// From start to done.
  [[nodiscard]] bool is_running() const noexcept { return is_running_.is_set(); }

 private:
  template <class D>
  friend class Disk;
  template <class D>
  friend class detail::Controls;
  template <class D>
  friend class detail::SubmitQueue;

  enum class Kind : std::uint8_t { freeze, thaw, quiesce, unquiesce, queue_count, remove };
  /// What a context is asked to do.
  enum class Step : std::uint8_t { freeze, thaw, quiesce, unquiesce, remove, pass, leave };

  [[noreturn]] static void violate(const char* operation, const Place& place) {
    Incident incident;
    incident.operation = operation;
    incident.place = place;
    blkown::detail::violate(Violation::object_in_use, incident);
  }

  OnEnd<Control> on_end_;
  Control* next_ = nullptr;
  std::uint32_t queue_count_ = 0;
  Kind kind_ = Kind::freeze;
  Status status_ = Status::ok;
  detail::RelaxedFlag is_running_;
};

namespace detail {

/// Carries out a disk's operations, one after the other: each step is told to every context, and
/// the last context to have done its part goes on with the next step. So no lock and no fence is on
/// the way of an I/O, and when a step is over, every context has seen it.
template <class D>
class Controls {
 public:
  explicit Controls(Disk<D>& disk) : disk_{disk} {}

  /// Any context.
  void start(Control& control, Control::Kind kind, std::uint32_t queue_count, const Place& where) {
    if (control.is_running()) control.violate("start of mq::Control", where);
    control.is_running_.set(true);
    control.kind_ = kind;
    control.queue_count_ = queue_count;
    control.status_ = Status::ok;
    control.next_ = nullptr;
    {
      const std::lock_guard lock{mutex_};
      if (first_ != nullptr) {
        last_ = last_->next_ = &control;
        return;
      }
      first_ = last_ = &control;
    }
    begin();
  }

  /// What the contexts are asked to do at present.
  [[nodiscard]] Control::Step step() const noexcept { return step_; }

  /// A context has done it. The disk may be gone when this returns.
  void arrive() {
    if (countdown_.arrive()) finish_step();
  }

  [[nodiscard]] bool is_idle() {
    const std::lock_guard lock{mutex_};
    return first_ == nullptr;
  }

 private:
  void begin() {
    switch (first_->kind_) {
      case Control::Kind::freeze:
      case Control::Kind::queue_count: return tell(Control::Step::freeze);
      case Control::Kind::thaw: return tell(Control::Step::thaw);
      case Control::Kind::quiesce: return tell(Control::Step::quiesce);
      case Control::Kind::unquiesce: return tell(Control::Step::unquiesce);
      case Control::Kind::remove: return tell(Control::Step::remove);
    }
  }

  void tell(Control::Step step) {
    step_ = step;
    countdown_.begin(disk_.context_count());
    disk_.tell_contexts();
  }

  void finish_step() {
    Control& control = *first_;
    if (control.kind_ == Control::Kind::queue_count && step_ == Control::Step::freeze) {
      control.status_ = disk_.change_queue_count(control.queue_count_);
      return tell(Control::Step::thaw);
    }
    if (control.kind_ == Control::Kind::remove) {
      // A context that has just handed over the last request may still be about to say so. When
      // every context has passed by once more, all have; and then none has work left to run here.
      if (step_ == Control::Step::remove) return tell(Control::Step::pass);
      if (step_ == Control::Step::pass) return tell(Control::Step::leave);
      disk_.finish_removal();
    }
    bool is_more = false;
    {
      const std::lock_guard lock{mutex_};
      first_ = control.next_;
      is_more = first_ != nullptr;
    }
    if (is_more) begin();
    control.is_running_.set(false);
    control.on_end_(control);
  }

  Disk<D>& disk_;
  std::mutex mutex_;
  Control* first_ = nullptr;
  Control* last_ = nullptr;
  Control::Step step_ = Control::Step::thaw;
  Countdown countdown_;
};

}  // namespace detail

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
