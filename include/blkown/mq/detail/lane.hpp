// SPDX-License-Identifier: BSL-1.0
//
// A context's way to one hardware queue: its tags, and what waits there.

#ifndef BLKOWN_MQ_DETAIL_LANE_HPP
#define BLKOWN_MQ_DETAIL_LANE_HPP

#include <blkown/config.hpp>
#include <blkown/ended.hpp>
#include <blkown/mq/bio.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/hw_queue.hpp>
#include <blkown/mq/idle_list.hpp>
#include <blkown/mq/payload.hpp>
#include <blkown/mq/tag_pool.hpp>
#include <optional>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// One context's. Without a hardware queue it is not in use.
template <class D>
struct Lane {
  using R = Request<D>;

  Lane(Context& context, Work& wake, Work& company) : waiter{context, wake, company} {}

  HwQueue<D>* hw = nullptr;
  BioList waiting;        ///< In order: the first may be issued in part.
  EndedList<R> requeued;  ///< To be issued again, before what waits.
  EndedList<R> held;      ///< To be issued again after a kick.
  IdleList<R> batch;      ///< Collected for queue_rqs.
  unsigned batched = 0;
  bool is_uncommitted = false;  ///< The driver was told that more follows.
  bool is_busy = false;         ///< The driver said so; until an I/O ends, or a moment has passed.

  [[nodiscard]] bool is_held_up() const noexcept { return is_busy || hw->is_stopped(); }

  void attach(TagPool<D>& pool, HwQueue<D>& queue) {
    hw = &queue;
    cache.emplace(pool.tags().tag_cache(queue.tag_queue()));
  }
  /// Before the first tag is asked for, and on the lane's own context: others tell it of themselves
  /// from now on.
  void enter(TagPool<D>& pool) {
    if (hw == nullptr) return;
    pool.line(hw->tag_queue()).enter(waiter);
    has_entered = true;
  }
  void detach(TagPool<D>& pool) {
    if (hw == nullptr) return;
    leave_line(pool);
    cache->flush();
    if (std::exchange(has_entered, false)) {
      pool.line(hw->tag_queue()).exit(waiter);
      // One that has come meanwhile, and found this one alone, may wait for what it had.
      pass_on(pool);
    }
    cache.reset();
    hw = nullptr;
  }

  /// A tag in its turn; none if the bio has to wait, and then this lane's context is woken when
  /// its turn has come.
  [[nodiscard]] std::optional<Idle<R>> allocate(TagPool<D>& pool) {
    auto& line = pool.line(hw->tag_queue());
    bool had_turn = false;
    if (line.is_occupied()) [[unlikely]]
      had_turn = line.take_turn(waiter);
    if (had_turn || !line.is_occupied()) {
      if (auto idle = allocate_now(pool)) [[likely]] {
        // Several tags may have come free at once, and woken one waiter.
        if (had_turn) [[unlikely]]
          pass_on(pool);
        return idle;
      }
    }
    is_in_line = true;
    if (!line.join(pool.tags(), hw->tag_queue(), waiter, had_turn)) return std::nullopt;
    // The first in line tries once more: what was freed before it joined woke nobody.
    auto idle = allocate_now(pool);
    if (idle.has_value()) {
      leave_line(pool);
      // Nor did it wake those who have joined behind this one since.
      if (pool.line(hw->tag_queue()).is_occupied()) pass_on(pool);
    }
    return idle;
  }
  [[nodiscard]] std::optional<Idle<R>> allocate_now(TagPool<D>& pool) {
    return pool.tags().allocate(hw->tag_queue(), *cache);
  }

  void free(Ended<R>&& ended, TagPool<D>& pool) {
    std::move(ended).release(*cache);
    has_freed = true;
    if (pool.line(hw->tag_queue()).is_occupied()) [[unlikely]]
      pass_on(pool);
  }

  void leave_line(TagPool<D>& pool) {
    if (!std::exchange(is_in_line, false)) return;
    // A turn that came in the meantime is the next one's.
    if (pool.line(hw->tag_queue()).leave(waiter)) pass_on(pool);
  }

  [[nodiscard]] bool has_company(TagPool<D>& pool) const noexcept {
    return hw != nullptr && pool.line(hw->tag_queue()).is_shared();
  }

  /// Nobody else reaches what is in the stash of a context that does nothing; so it goes back, if
  /// there is anybody else.
  void go_idle(TagPool<D>& pool) {
    if (!has_company(pool)) return;
    if (!std::exchange(has_freed, false) && cache->size() == 0) return;
    cache->flush();
    pass_on(pool);
  }

 private:
  /// The first in line has its turn, if there is a tag.
  void pass_on(TagPool<D>& pool) {
    pool.line(hw->tag_queue()).wake_first(pool.tags(), hw->tag_queue());
  }

  std::optional<TagCache> cache;
  TagWaiter waiter;
  bool has_entered = false;
  bool is_in_line = false;
  bool has_freed = false;
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
