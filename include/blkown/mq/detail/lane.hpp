// SPDX-License-Identifier: BSL-1.0
//
// Lane: one context's way to one hardware queue.

#ifndef BLKOWN_MQ_DETAIL_LANE_HPP
#define BLKOWN_MQ_DETAIL_LANE_HPP

#include <blkown/config.hpp>
#include <blkown/ended.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/detail/issue_order.hpp>
#include <blkown/mq/detail/lane_tags.hpp>
#include <blkown/mq/detail/tag_share.hpp>
#include <blkown/mq/detail/waiting_bios.hpp>
#include <blkown/mq/hw_queue.hpp>
#include <blkown/mq/idle_list.hpp>
#include <blkown/mq/payload.hpp>
#include <blkown/mq/tag_pool.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// Bios and requests that wait for one hardware queue, and the tags for them. Belongs to its
/// context. A lane without a hardware queue is not in use.
template <class D>
struct Lane {
  using R = Request<D>;

  Lane(Context& context, Work& turn, Work& tags_shared, ShareRecheck& recheck)
      : tags{context, turn, tags_shared, recheck} {}

  HwQueue<D>* hw = nullptr;
  WaitingBios waiting;  ///< In order. The first bio may be issued in part.
  // In the order of issue_order.hpp.
  EndedList<R> urgent;    ///< Reserved requests to be issued again, also while quiesced.
  EndedList<R> requeued;  ///< To be issued again, before `waiting`.
  EndedList<R> held;      ///< To be issued again after a kick.

  IdleList<R> batch;  ///< Collected for queue_rqs.
  unsigned batched = 0;
  unsigned parts_of_turn = 0;   ///< Of the bio that was issued last, if it has several parts.
  bool has_nowait = false;      ///< A bio in `waiting` may have the flag nowait.
  bool is_uncommitted = false;  ///< The driver expects more requests, or commit_rqs.
  /// The driver has a write of a zoned disk whose rest must be the next write
  /// (Issuer::take_limits).
  bool awaits_rest = false;

 private:
  // The reasons not to issue: two flags, and a number of requests. One word, because each issue
  // reads it. Here, where it fills a gap.
  std::uint32_t holds_ = 0;

 public:
  LaneTags<D> tags;

  /// Whether nothing may be issued on the hardware queue for now.
  [[nodiscard, gnu::always_inline]] bool is_held_up() const noexcept {
    return holds_ != 0 || hw->is_stopped();
  }

  /// The driver has refused a request as busy, until an end or a delay.
  [[nodiscard]] bool is_busy() const noexcept { return (holds_ & busy) != 0; }
  void set_busy() noexcept { holds_ |= busy; }
  void clear_busy() noexcept { holds_ &= ~busy; }

  /// A request that was not sent, or that the driver refused, is on its way back to the lane.
  /// Nothing is issued until the request has arrived, so that nothing passes it.
  void await_return() noexcept { holds_ += one_return; }
  void end_return() noexcept { holds_ -= one_return; }

  /// Requests wait to be issued again. Bios do not pass them: only resume() issues.
  void begin_resume() noexcept { holds_ &= ~backlog; }
  void end_resume() noexcept {
    holds_ |= requeued.empty() && urgent.empty() && !awaits_rest ? 0 : backlog;
  }

  /// Whether a bio or a request waits that needs no kick.
  [[nodiscard]] bool has_waiting() const noexcept {
    return !waiting.empty() || !requeued.empty() || !urgent.empty();
  }
  /// Adds a request to those that are issued again.
  void push_requeued(Ended<R>&& ended) noexcept {
    EndedList<R>& list = state_of(ended.data()).is_urgent() ? urgent : requeued;
    insert_in_order(list, std::move(ended));
    holds_ |= backlog;
  }
  /// Adds a request to those that wait for a kick.
  void push_held(Ended<R>&& ended) noexcept { insert_in_order(held, std::move(ended)); }

  void attach(TagPool<D>& pool, HwQueue<D>& queue, TagShares* shares) {
    hw = &queue;
    tags.attach(pool, queue, shares);
  }
  void enter(TagPool<D>& pool) {
    if (hw != nullptr) tags.enter(pool, *hw);
  }
  void detach(TagPool<D>& pool) {
    if (hw == nullptr) return;
    tags.detach(pool, *hw);
    hw = nullptr;
  }

  /// Whether other lanes draw from the same tags.
  [[nodiscard]] bool are_tags_shared(TagPool<D>& pool) const noexcept {
    return hw != nullptr && pool.line(hw->tag_queue()).is_shared();
  }

 private:
  static constexpr std::uint32_t busy = 1;
  static constexpr std::uint32_t backlog = 2;
  static constexpr std::uint32_t one_return = 4;
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
