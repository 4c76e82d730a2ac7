// SPDX-License-Identifier: BSL-1.0
//
// ControlPart: one context's part in freeze, quiesce, set_queue_count, set_limits and remove.
//
//   take_part    the post of a step (controls.hpp) has arrived. The part changes the issuer's
//                state. An answer is due. take_side_part does the same for the side track.
//   acknowledge  called whenever the context leaves the disk's code. It answers when the step is
//                done. After a freeze, that is when the driver has no request, no bio waits for its
//                callback, and nothing waits to be resumed; requeued requests wait in their lanes.
//                After a removal, no request may wait either.
//   removed      from the remove step on, new bios are refused and waiting bios fail. When the
//                requests have ended, the lanes give back all tags, and alarms and hooks are taken
//                out of the context. The leave step is answered when no work of this context's side
//                is queued.
//
// After the answer to the last step of a removal, the disk may be destroyed at any moment.

#ifndef BLKOWN_MQ_DETAIL_CONTROL_PART_HPP
#define BLKOWN_MQ_DETAIL_CONTROL_PART_HPP

#include <blkown/config.hpp>
#include <blkown/mq/control.hpp>
#include <blkown/mq/detail/fwd.hpp>
#include <blkown/mq/detail/hw_queues.hpp>
#include <blkown/mq/detail/issuer.hpp>
#include <blkown/mq/detail/notes.hpp>
#include <blkown/mq/limits.hpp>
#include <cstdint>
#include <optional>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// One context's part in the control operations of a disk. Belongs to its context.
template <class D>
class ControlPart {
 public:
  ControlPart(Disk<D>& disk, SubmitQueue<D>& queue, Issuer<D>& issuer, Notes& notes)
      : disk_{disk}, queue_{queue}, issuer_{issuer}, notes_{notes} {}

  /// Whether the disk is removed, or not usable yet.
  [[nodiscard]] bool is_removed() const noexcept { return issuer_.is_removed(); }
  /// Makes the disk usable on this context.
  void open() noexcept { issuer_.set_removed(false); }

  /// Sets the map that the next thaw brings into force.
  /// Precondition: every context has answered the freeze.
  void set_next_map(const QueueMap<D>& queues) noexcept { next_map_ = queues; }

  /// Does this context's part of the present step.
  void take_part() noexcept {
    notes_.control_steps |= answer;
    switch (disk_.controls().step()) {
      case Control::Step::freeze:
        issuer_.freeze();
        notes_.control_steps |= drain;
        break;
      case Control::Step::thaw:
        if (next_map_.has_value()) issuer_.map(*std::exchange(next_map_, std::nullopt));
        if (const QueueLimits* const limits = disk_.controls().new_limits()) {
          issuer_.take_limits(*limits);
        }
        issuer_.thaw();
        break;
      case Control::Step::remove:
        issuer_.set_removed(true);
        notes_.control_steps |= drain;
        break;
      default: break;
    }
  }
  /// Does this context's part of the present step of the side track.
  void take_side_part() noexcept {
    notes_.control_steps |= answer_side;
    const Control::Step step = disk_.controls().side_step();
    if (step == Control::Step::quiesce) issuer_.quiesce();
    if (step == Control::Step::unquiesce) issuer_.unquiesce();
  }

  /// Answers each step that is done and has no answer yet. The caller must not touch the disk
  /// afterwards.
  void acknowledge() noexcept {
    if (notes_.control_steps != 0) [[unlikely]]
      answer_what_is_done();
  }

 private:
  // The answers that are due: to the main track, at once or after a drain, and to the side track.
  static constexpr std::uint8_t answer = 1;
  static constexpr std::uint8_t drain = 2;
  static constexpr std::uint8_t answer_side = 4;

  /// Whether the step of the main track has no answer yet, and is done.
  [[nodiscard]] bool is_main_done() noexcept {
    if ((notes_.control_steps & answer) == 0) return false;
    if ((notes_.control_steps & drain) != 0 && !queue_.is_drained(is_removed())) return false;
    if (!is_removed()) return true;
    queue_.withdraw();
    // A queued work calls acknowledge() again when the work has run.
    return disk_.controls().step() != Control::Step::leave || !queue_.is_work_queued();
  }
  [[gnu::noinline]] void answer_what_is_done() noexcept {
    const bool is_side_due = (notes_.control_steps & answer_side) != 0;
    const bool is_main_due = is_main_done();
    notes_.control_steps &= is_main_due ? 0 : answer | drain;
    // An arrival may call end callbacks, which may enter the disk and run the context. The disk
    // exists until the second arrival, because a removal waits for both.
    Controls<D>& controls = disk_.controls();
    if (is_side_due) controls.arrive_side();
    if (is_main_due) controls.arrive();
  }

  Disk<D>& disk_;
  SubmitQueue<D>& queue_;
  Issuer<D>& issuer_;
  Notes& notes_;
  std::optional<QueueMap<D>> next_map_;
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
