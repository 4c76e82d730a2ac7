// SPDX-License-Identifier: BSL-1.0
//
// Lanes: one context's ways to a disk's hardware queues.

#ifndef BLKOWN_MQ_DETAIL_LANES_HPP
#define BLKOWN_MQ_DETAIL_LANES_HPP

#include <array>
#include <blkown/config.hpp>
#include <blkown/ended.hpp>
#include <blkown/mq/bio.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/detail/hw_queues.hpp>
#include <blkown/mq/detail/lane.hpp>
#include <blkown/mq/detail/lane_tags.hpp>
#include <blkown/mq/detail/rare_state.hpp>
#include <blkown/mq/detail/tag_share.hpp>
#include <blkown/mq/driver.hpp>
#include <blkown/mq/hw_queue.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/mq/payload.hpp>
#include <blkown/mq/tag_pool.hpp>
#include <blkown/tag.hpp>
#include <cstdint>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// One lane for each hardware queue that the context uses. Queue types that map to the same
/// hardware queue share a lane. Belongs to its context.
template <class D>
class Lanes {
 public:
  using R = Request<D>;

  /// `shares` is null if no other disk can use the pool.
  Lanes(Context& context, TagPool<D>& pool, TagShares* shares, Work& turn, Work& tags_shared)
      : context_{context},
        pool_{pool},
        shares_{shares},
        recheck_{context, turn},
        lanes_{Lane<D>{context, turn, tags_shared, recheck_},
               Lane<D>{context, turn, tags_shared, recheck_},
               Lane<D>{context, turn, tags_shared, recheck_}},
        table_{lanes_.data(), lanes_.data(), lanes_.data(), lanes_.data()},
        idle_hook_{[](void* self, IdleHook&) { static_cast<Lanes*>(self)->go_idle(); }, this} {}
  Lanes(const Lanes&) = delete;
  Lanes& operator=(const Lanes&) = delete;

  [[nodiscard]] Lane<D>& of(QueueType type) noexcept { return *table_[place_in_table(type)]; }
  /// The lane of a read or a write.
  [[nodiscard, gnu::always_inline]] Lane<D>& of_plain(const Bio& bio) noexcept {
    return *table_[static_cast<unsigned>(bio.op()) + (bio.flags().polled ? 2U : 0U)];
  }
  [[nodiscard]] Lane<D>& of(const Bio& bio) noexcept {
    if (bio.flags().polled) return of(QueueType::poll);
    return of(bio.op() == Op::read ? QueueType::read : QueueType::normal);
  }
  [[nodiscard]] Lane<D>& of(const Payload<D>& payload) noexcept {
    const HwQueue<D>* const hw = &payload.hw_queue();
    Lane<D>* lane = lanes_.data();
    while (lane->hw != hw) ++lane;
    return *lane;
  }

  /// Calls `visit(Lane<D>&)` for each lane with a hardware queue.
  template <class Visit>
  void for_each(Visit visit) {
    for (Lane<D>& lane : lanes_) {
      if (lane.hw != nullptr) visit(lane);
    }
  }

  /// Calls `visit(const WaitingRow&)` for each lane with waiting bios.
  /// Context: any.
  template <class Visit>
  void for_each_waiting(Visit visit) const {
    for (const Lane<D>& lane : lanes_) {
      if (const auto row = lane.waiting.row()) visit(*row);
    }
  }

  /// Maps the queue types to hardware queues. Waiting bios and requests move with their type.
  /// Precondition: the driver has no request.
  void map(const QueueMap<D>& queues) noexcept {
    BioList waiting;
    EndedList<R> urgent, requeued, held;
    for (Lane<D>& lane : lanes_) {
      BioList own = lane.waiting.take();
      waiting.append(own);
      lane.waiting.show({}, {});
      urgent.append(std::move(lane.urgent));
      requeued.append(std::move(lane.requeued));
      held.append(std::move(lane.held));
      lane.detach(pool_);
    }
    for (unsigned type = 0; type != queue_type_count; ++type) {
      unsigned same = 0;
      while (queues[same] != queues[type]) ++same;
      table_[place_in_table(static_cast<QueueType>(type))] = &lanes_[same];
      if (same == type) lanes_[type].attach(pool_, *queues[type], shares_);
    }
    table_[3] = table_[2];
    if (in_use_) begin_use();
    while (Bio* const bio = waiting.pop_front()) of(*bio).waiting.push_back(*bio);
    exceptions_ = 0;
    rebind(urgent, &Lane<D>::push_requeued);
    rebind(requeued, &Lane<D>::push_requeued);
    rebind(held, &Lane<D>::push_held);
  }
  /// Whether a request's end may need more than its tag to be freed: the tag belongs to another
  /// queue than the lane's (such a request gets a tag of its lane when it is issued), or the
  /// request has a rest.
  [[nodiscard]] bool has_exceptions() const noexcept { return exceptions_ != 0; }
  /// Changes the rest of a request.
  void set_rest(PayloadState<D>& state, RareState<D>& rare, std::uint64_t bytes) noexcept {
    exceptions_ -= state.has_rest ? 1 : 0;
    state.set_rest(rare, bytes);
    exceptions_ += state.has_rest ? 1 : 0;
  }
  /// Frees the tag of a moved request.
  [[gnu::cold, gnu::noinline]] void free_moved(Ended<R>&& ended) noexcept {
    --exceptions_;
    const QueueIndex queue = ended.queue();
    const bool is_counted = shares_ != nullptr && !pool_.is_reserved(ended.tag());
    std::move(ended).release();
    auto& line = pool_.line(queue);
    if (is_counted) shares_->use(context_.index(), queue).put(context_, line.is_divided());
    line.wake_first(pool_.tags(), queue);
  }

  /// Registers the lanes with the lines for their tags, before a lane asks for its first tag.
  /// Context: the lanes' own.
  void begin_use() noexcept {
    in_use_ = true;
    for (Lane<D>& lane : lanes_) lane.enter(pool_);
    note_shared_tags();
  }
  [[nodiscard]] bool are_in_use() const noexcept { return in_use_; }
  /// From now on, if other lanes draw from the same tags, stashes are small, and stashed tags go
  /// back when the context is idle. The context of a lane that is alone has a large stash and keeps
  /// it.
  void note_shared_tags() noexcept {
    for_each([&](Lane<D>& lane) {
      if (lane.are_tags_shared(pool_)) lane.tags.share_stash(pool_, *lane.hw);
    });
    if (hooked_ || !are_tags_shared()) return;
    hooked_ = true;
    context_.add_idle_hook(idle_hook_);
  }
  /// Gives back all tags and leaves the lines.
  void detach() noexcept {
    for (Lane<D>& lane : lanes_) lane.detach(pool_);
    recheck_.cancel();
    if (std::exchange(hooked_, false)) context_.remove_idle_hook(idle_hook_);
  }

  /// Moves the held requests to those that are issued again.
  void kick() noexcept {
    for (Lane<D>& lane : lanes_) {
      while (auto ended = lane.held.pop_front()) lane.push_requeued(*std::move(ended));
    }
  }
  /// Lets a driver that was busy be called again.
  void clear_busy() noexcept {
    for (Lane<D>& lane : lanes_) lane.clear_busy();
  }
  [[nodiscard]] bool is_any_busy() const noexcept {
    return lanes_[0].is_busy() || lanes_[1].is_busy() || lanes_[2].is_busy();
  }

 private:
  [[nodiscard]] static unsigned place_in_table(QueueType type) noexcept {
    if (type == QueueType::poll) return 2;
    return type == QueueType::read ? 0 : 1;
  }
  [[nodiscard]] bool are_tags_shared() const noexcept {
    bool shared = false;
    for (const Lane<D>& lane : lanes_) shared = shared || lane.are_tags_shared(pool_);
    return shared;
  }
  /// Distributes waiting requests to one of the lists of the lanes.
  void rebind(EndedList<R>& requests, void (Lane<D>::*push)(Ended<R>&&) noexcept) noexcept {
    while (auto ended = requests.pop_front()) {
      PayloadState<D>& state = state_of(ended->data());
      Lane<D>& lane = of(state.hw_queue->type());
      state.hw_queue = lane.hw;
      if (ended->queue() != lane.hw->tag_queue()) ++exceptions_;
      if (state.has_rest) ++exceptions_;
      (lane.*push)(*std::move(ended));
    }
  }
  void go_idle() noexcept {
    for_each([&](Lane<D>& lane) { lane.tags.go_idle(pool_, *lane.hw); });
  }

  Context& context_;
  TagPool<D>& pool_;
  TagShares* const shares_;
  ShareRecheck recheck_;
  std::array<Lane<D>, queue_type_count> lanes_;
  // The lanes of reads, writes, polled reads and polled writes.
  std::array<Lane<D>*, 4> table_;
  static_assert(static_cast<unsigned>(Op::read) == 0 && static_cast<unsigned>(Op::write) == 1);
  IdleHook idle_hook_;
  Word exceptions_ = 0;  // the number of such requests
  bool in_use_ = false;
  bool hooked_ = false;
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
