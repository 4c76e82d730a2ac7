// SPDX-License-Identifier: BSL-1.0
//
// LaneTags: the tags that one context draws for one hardware queue.

#ifndef BLKOWN_MQ_DETAIL_LANE_TAGS_HPP
#define BLKOWN_MQ_DETAIL_LANE_TAGS_HPP

#include <blkown/config.hpp>
#include <blkown/ended.hpp>
#include <blkown/idle.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/detail/tag_line.hpp>
#include <blkown/mq/hw_queue.hpp>
#include <blkown/mq/payload.hpp>
#include <blkown/mq/tag_pool.hpp>
#include <blkown/tag_cache.hpp>
#include <cstdint>
#include <optional>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// A stash of free tags, and a place in the line for tags when there are none. Belongs to its
/// context. Each function takes the disk's pool and the lane's hardware queue.
template <class D>
class LaneTags {
 public:
  using R = Request<D>;

  LaneTags(Context& context, Work& turn, Work& tags_shared) : waiter_{context, turn, tags_shared} {}

  void attach(TagPool<D>& pool, const HwQueue<D>& hw) {
    cache_.emplace(pool.tags().tag_cache(hw.tag_queue()));
  }
  /// Registers the lane with the line for its tags. Other lanes post works to this context from now
  /// on.
  /// Precondition: no tag was asked for since attach().
  /// Context: the lane's own.
  void enter(TagPool<D>& pool, const HwQueue<D>& hw) {
    pool.line(hw.tag_queue()).enter(waiter_);
    use_ = Use::draws;
  }
  void detach(TagPool<D>& pool, const HwQueue<D>& hw) {
    leave_line(pool, hw);
    cache_->flush();
    if (std::exchange(use_, Use::none) == Use::draws) {
      pool.line(hw.tag_queue()).exit(waiter_);
      // A lane that entered while this lane was alone may wait for the tags that were flushed.
      wake_next(pool, hw);
    }
    cache_.reset();
  }

  /// Allocates a tag in turn. If no tag is available to this lane, returns none and joins the line;
  /// the context is woken when the turn has come.
  [[nodiscard]] std::optional<Idle<R>> allocate(TagPool<D>& pool, const HwQueue<D>& hw) {
    auto& line = pool.line(hw.tag_queue());
    bool had_turn = false;
    if (line.is_occupied()) [[unlikely]]
      had_turn = line.take_turn(waiter_);
    if (had_turn || !line.is_occupied()) {
      if (auto idle = allocate_now(pool, hw)) [[likely]] {
        // A context that frees several tags at once may have woken only this lane.
        if (had_turn) [[unlikely]]
          wake_next(pool, hw);
        return idle;
      }
    }
    use_ = Use::waits;
    if (!line.join(pool.tags(), hw.tag_queue(), waiter_, had_turn)) return std::nullopt;
    // The first in line tries once more: a tag that was freed before it joined woke no lane.
    auto idle = allocate_now(pool, hw);
    if (idle.has_value()) {
      leave_line(pool, hw);
      // The tag also woke none of the lanes that have joined behind this one.
      if (line.is_occupied()) wake_next(pool, hw);
    }
    return idle;
  }
  /// Allocates a tag without regard to the line.
  [[nodiscard]] std::optional<Idle<R>> allocate_now(TagPool<D>& pool, const HwQueue<D>& hw) {
    return pool.tags().allocate(hw.tag_queue(), *cache_);
  }

  void free(Ended<R>&& ended, TagPool<D>& pool, const HwQueue<D>& hw) {
    std::move(ended).release(*cache_);
    has_freed_ = true;
    if (pool.line(hw.tag_queue()).is_occupied()) [[unlikely]]
      wake_next(pool, hw);
  }

  /// Leaves the line, if the lane is in it. An unused turn goes to the next lane.
  void leave_line(TagPool<D>& pool, const HwQueue<D>& hw) {
    if (use_ != Use::waits) return;
    use_ = Use::draws;
    if (pool.line(hw.tag_queue()).leave(waiter_)) wake_next(pool, hw);
  }

  /// Gives back the stashed tags if other lanes draw from the same queue. Other lanes cannot reach
  /// the stash of a context that runs nothing.
  void go_idle(TagPool<D>& pool, const HwQueue<D>& hw) {
    if (!pool.line(hw.tag_queue()).is_shared()) return;
    if (!std::exchange(has_freed_, false) && cache_->size() == 0) return;
    cache_->flush();
    wake_next(pool, hw);
  }

 private:
  enum class Use : std::uint8_t { none, draws, waits };  // outside, entered, entered and in line

  void wake_next(TagPool<D>& pool, const HwQueue<D>& hw) {
    pool.line(hw.tag_queue()).wake_first(pool.tags(), hw.tag_queue());
  }

  std::optional<TagCache> cache_;
  TagWaiter waiter_;
  Use use_ = Use::none;
  bool has_freed_ = false;  // since the last go_idle()
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
