// SPDX-License-Identifier: BSL-1.0
//
// LaneTags: the tags that one context draws for one hardware queue.

#ifndef BLKOWN_MQ_DETAIL_LANE_TAGS_HPP
#define BLKOWN_MQ_DETAIL_LANE_TAGS_HPP

#include <algorithm>
#include <blkown/config.hpp>
#include <blkown/detail/handle_base.hpp>
#include <blkown/detail/poison.hpp>
#include <blkown/detail/ring.hpp>
#include <blkown/detail/saturating.hpp>
#include <blkown/ended.hpp>
#include <blkown/idle.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/detail/tag_line.hpp>
#include <blkown/mq/detail/tag_share.hpp>
#include <blkown/mq/hw_queue.hpp>
#include <blkown/mq/payload.hpp>
#include <blkown/mq/tag_pool.hpp>
#include <blkown/mq/timer.hpp>
#include <blkown/place.hpp>
#include <blkown/request.hpp>
#include <blkown/tag_cache.hpp>
#include <blkown/tag_set.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// Resumes a context's lanes when another disk may have become idle, so that the share of the
/// lanes' disk may have grown. Belongs to its context.
class ShareRecheck {
 public:
  /// `resume` is posted.
  ShareRecheck(Context& context, Work& resume)
      : context_{context},
        resume_{resume},
        alarm_{[](void* self, Alarm&) { static_cast<ShareRecheck*>(self)->fire(); }, this} {}

  /// Resumes at this time, or earlier.
  void arm(std::uint64_t due_ns) noexcept {
    if (due_ns >= due_ns_) return;
    cancel();
    due_ns_ = due_ns;
    const std::uint64_t now_ns = context_.now_ns();
    alarm_.arm(context_, due_ns > now_ns ? due_ns - now_ns : 0);
  }
  void cancel() noexcept {
    if (std::exchange(due_ns_, blkown::detail::never_ns) != blkown::detail::never_ns)
      alarm_.cancel();
  }

 private:
  void fire() noexcept {
    due_ns_ = blkown::detail::never_ns;
    context_.post_local(resume_);
  }

  Context& context_;
  Work& resume_;
  std::uint64_t due_ns_ = blkown::detail::never_ns;
  Alarm alarm_;
};

/// A stash of free tags, and a place in the line for tags when there are none. Belongs to its
/// context. Each function takes the disk's pool and the lane's hardware queue.
template <class D>
class LaneTags {
 public:
  using R = Request<D>;

  LaneTags(Context& context, Work& turn, Work& tags_shared, ShareRecheck& recheck)
      : waiter_{context, turn, tags_shared}, recheck_{recheck} {}

  /// `shares` is null if no other disk can use the pool.
  void attach(TagPool<D>& pool, const HwQueue<D>& hw, TagShares* shares) {
    cache_.emplace(pool.tags().tag_cache(hw.tag_queue()));
    line_ = &pool.line(hw.tag_queue());
    slots_ = blkown::detail::TagSetAccess::slots(pool.tags(), hw.tag_queue());
    max_turn_tags_ = std::clamp(pool.common_depth() / 2, 1U, turn_bios);
    if (shares == nullptr) return;
    waiter_.share = &shares->of(hw.tag_queue());
    use_of_tags_ = &shares->use(waiter_.context.index(), hw.tag_queue());
  }
  /// Registers the lane with the line for its tags. Other lanes post works to this context from now
  /// on.
  /// Precondition: no tag was asked for since attach().
  /// Context: the lane's own.
  void enter(TagPool<D>& pool, const HwQueue<D>& hw) {
    auto& line = pool.line(hw.tag_queue());
    line.enter(waiter_);
    use_ = Use::draws;
    // If another lane enters after this look, it posts tags_shared, which leads to share_stash().
    if (line.is_shared()) return;
    is_stash_large_ = true;
    cache_.emplace(pool.tags().tag_cache(hw.tag_queue(), pool.common_depth()));
  }
  /// Other lanes draw from the same tags: the lane keeps only its part of them.
  void share_stash(TagPool<D>& pool, const HwQueue<D>& hw) {
    if (!std::exchange(is_stash_large_, false)) return;
    cache_.reset();  // gives the tags back
    cache_.emplace(pool.tags().tag_cache(hw.tag_queue()));
    wake_next(pool, hw);
  }
  void detach(TagPool<D>& pool, const HwQueue<D>& hw) {
    leave_line(pool, hw);  // and gives back what is kept
    cache_->flush();
    if (std::exchange(use_, Use::none) == Use::draws) {
      pool.line(hw.tag_queue()).exit(waiter_);
      // A lane that entered while this lane was alone may wait for the tags that were flushed.
      wake_next(pool, hw);
    }
    cache_.reset();
    is_stash_large_ = false;
  }

  /// Allocates a tag in turn. If no tag is available to this lane, or the disk uses its share,
  /// returns none and joins the line; the context is woken when the turn has come.
  /// `behind`: the bios for which the lane asks again at once.
  [[nodiscard]] std::optional<Idle<R>> allocate(TagPool<D>& pool, const HwQueue<D>& hw,
                                                std::uint32_t behind = 0) {
    if (!line_->has_concerns()) [[likely]] {
      if (auto idle = draw_counted(pool, hw)) [[likely]]
        return idle;
    }
    if (R* const kept = kept_.pop_front())
      return blkown::detail::HandleAccess::make<Idle>(*kept, Place::current());
    return allocate_in_turn(pool, hw, behind);
  }
  /// The same, as a bare request. Null if there is none.
  [[nodiscard, gnu::always_inline]] R* allocate_bare(TagPool<D>& pool, const HwQueue<D>& hw,
                                                     std::uint32_t behind) {
    R* request;
    if (take_undisputed(request)) return request;
    if (R* const kept = kept_.pop_front()) return kept;
    auto idle = allocate_in_turn(pool, hw, behind);
    return idle.has_value() ? blkown::detail::HandleAccess::take(*idle) : nullptr;
  }
  /// Whether allocate() would return none: the lane has its place in the line, and its turn, which
  /// resumes it, has not come.
  [[nodiscard]] bool has_to_wait() const noexcept {
    return use_ == Use::waits && line_->has_concerns() && kept_.empty() &&
           waiter_.share == nullptr && waiter_.turn_tags.read() == 0;
  }
  /// Allocates a tag as allocate() does where no lane waits and the tags are not divided. Else, or
  /// if no tag is free, returns false and changes nothing for other lanes.
  [[nodiscard, gnu::always_inline]] bool take_undisputed(R*& request) noexcept {
    std::uint32_t tag;
    if (line_->has_concerns() || !blkown::detail::TagCacheAccess::take(*cache_, tag)) [[unlikely]]
      return false;
    if (use_of_tags_ != nullptr) [[unlikely]]
      use_of_tags_->take();
    request = &blkown::detail::TagSetAccess::request<R>(slots_, tag);
    return true;
  }
  /// Whether free() would put the tag into the stash, and do nothing else.
  [[nodiscard, gnu::always_inline]] bool can_stash() const noexcept {
    return !line_->has_concerns() && blkown::detail::TagCacheAccess::has_room(*cache_);
  }
  /// Gives the older half of a full stash back, if that is all that can_stash() lacks.
  void make_room() noexcept {
    if (!line_->has_concerns()) blkown::detail::TagCacheAccess::make_room(*cache_);
  }
  /// Frees the tag of a bio's request.
  /// Precondition: can_stash().
  [[gnu::always_inline]] void stash(R& request) noexcept {
    if (use_of_tags_ != nullptr) [[unlikely]]
      use_of_tags_->put_without_clock();
    blkown::detail::poison_idle(request);
    blkown::detail::TagCacheAccess::put(*cache_, blkown::detail::header_of(request).tag());
  }
  /// Whether the lane may use a tag that it frees for one of its bios that wait.
  [[nodiscard, gnu::always_inline]] bool has_more_in_turn() const noexcept {
    return turn_left_ != 0 && line_->has_concerns();
  }
  /// Keeps the tag of an ended request until the resume that follows.
  /// Precondition: has_more_in_turn(), and a bio of the lane waits. The tag is not reserved.
  void keep(R& request) noexcept {
    --turn_left_;
    blkown::detail::poison_idle(request);
    kept_.push_back(request);
  }
  /// Notes that the lane goes to wait for its turn while its context uses this number of tags. If
  /// that is no more than the lane's part, and no lane in line needs a turn, the count of the
  /// lane's turn begins again.
  /// Precondition: the lane is in line, and keeps no tag.
  void wait_with(TagPool<D>& pool, Word used) noexcept {
    if (waiter_.share != nullptr || !line_->is_occupied()) return;
    waiter_.used.set(static_cast<std::uint32_t>(used));
    const bool may_renew = turn_left_ < used && line_->is_within_part(pool.tags(), used);
    if (may_renew && line_->begin_again(waiter_)) turn_left_ = turn_bios;
  }
  /// Allocates a tag without regard to the line. Returns none if no tag is available to this lane,
  /// or the disk uses its share.
  [[nodiscard]] std::optional<Idle<R>> allocate_now(TagPool<D>& pool, const HwQueue<D>& hw) {
    auto& line = pool.line(hw.tag_queue());
    if (!may_use_tag(line, true)) {
      line.expire(pool.tags(), hw.tag_queue(), waiter_.context.now_ns());
      if (!may_use_tag(line, true)) return std::nullopt;
    }
    return draw_counted(pool, hw);
  }

  /// `has_waiting`: bios of the lane wait, and the lane is resumed before it sleeps.
  [[gnu::always_inline]] void free(Ended<R>&& ended, TagPool<D>& pool, const HwQueue<D>& hw,
                                   bool has_waiting) {
    if (line_->has_concerns()) [[unlikely]] {
      if (pool.is_reserved(ended.tag()))
        return free_and_wake(*blkown::detail::HandleAccess::take(ended), pool, hw);
      if (has_waiting && turn_left_ != 0) return keep(*blkown::detail::HandleAccess::take(ended));
      turn_left_ = 0;
      return free_and_wake(*blkown::detail::HandleAccess::take(ended), pool, hw);
    }
    if (use_of_tags_ != nullptr && !pool.is_reserved(ended.tag()))
      use_of_tags_->put(waiter_.context, false);
    std::move(ended).release(*cache_);
  }

  /// Leaves the line, if the lane is in it. An unused turn goes to the next lane, and so do the
  /// tags that the lane has kept.
  void leave_line(TagPool<D>& pool, const HwQueue<D>& hw) {
    turn_left_ = 0;
    if (!kept_.empty()) [[unlikely]]
      give_kept(pool, hw);
    if (use_ != Use::waits) return;
    use_ = Use::draws;
    waiter_.used.set(0);
    if (pool.line(hw.tag_queue()).leave(waiter_)) wake_next(pool, hw);
  }

  /// Gives back the stashed tags if other lanes draw from the same queue. Other lanes cannot reach
  /// the stash of a context that runs nothing.
  void go_idle(TagPool<D>& pool, const HwQueue<D>& hw) {
    using Cache = blkown::detail::TagCacheAccess;
    if ((cache_->size() == 0 && !Cache::has_given(*cache_)) || !line_->is_shared()) return;
    cache_->flush();
    Cache::forget_given(*cache_);
    wake_next(pool, hw);
  }

 private:
  enum class Use : std::uint8_t { none, draws, waits };  // outside, entered, entered and in line
  /// The bios that a lane may issue with the tags of one turn.
  /// Source: the kernel's sbitmap wakes a waiter for each batch of 8 bits that were freed.
  static constexpr std::uint32_t turn_bios = 8;

  void wake_next(TagPool<D>& pool, const HwQueue<D>& hw) {
    pool.line(hw.tag_queue()).wake_first(pool.tags(), hw.tag_queue());
  }

  [[nodiscard]] std::optional<Idle<R>> draw(TagPool<D>& pool, const HwQueue<D>& hw) {
    return pool.tags().allocate(hw.tag_queue(), *cache_);
  }
  [[nodiscard]] std::optional<Idle<R>> draw_counted(TagPool<D>& pool, const HwQueue<D>& hw) {
    auto idle = draw(pool, hw);
    if (idle.has_value() && use_of_tags_ != nullptr) use_of_tags_->take();
    return idle;
  }

  /// Whether the disk is below its share. Makes the disk active. Without `is_turn`, the lanes of
  /// the disk that wait at its share come first.
  [[nodiscard]] bool may_use_tag(TagLine<R>& line, bool is_turn) {
    if (waiter_.share == nullptr || !line.is_divided()) return true;
    TagShare& share = *waiter_.share;
    if (!share.is_active()) line.activate(share, waiter_.context.now_ns());
    const std::uint32_t limit = line.limit();
    if (limit == TagDivision::no_limit) return true;
    return (is_turn || !share.has_line()) && share.used() < limit;
  }

  /// The tags that the lane wants in a turn if this number of bios waits.
  [[nodiscard]] std::uint32_t tags_for(std::uint32_t bios) const noexcept {
    return bios < max_turn_tags_ ? bios : max_turn_tags_;
  }
  /// Draws the tags of a turn behind the first one, and keeps them for the bios behind the first.
  /// Returns their number.
  [[nodiscard]] std::uint32_t draw_more(TagPool<D>& pool, const HwQueue<D>& hw,
                                        std::uint32_t max_count) {
    std::uint32_t count = 0;
    for (; count != max_count; ++count) {
      auto idle = draw(pool, hw);
      if (!idle.has_value()) break;
      R& request = *blkown::detail::HandleAccess::take(*idle);
      blkown::detail::poison_idle(request);
      kept_.push_back(request);
    }
    turn_left_ -= count;
    return count;
  }

  /// allocate_in_turn() of a pool that no other disk can use.
  [[nodiscard]] std::optional<Idle<R>> allocate_in_line(TagPool<D>& pool, const HwQueue<D>& hw,
                                                        std::uint32_t behind) {
    const std::uint32_t turn_tags = waiter_.turn_tags.read();
    const bool has_turn = turn_tags != 0;
    // The lane has its place already. The post of the turn resumes the lane.
    if (use_ == Use::waits && !has_turn) return std::nullopt;
    if (has_turn || !line_->is_occupied()) {
      if (auto idle = draw(pool, hw)) {
        if (!has_turn) return idle;
        turn_left_ = turn_bios - 1;
        behind -= draw_more(pool, hw, turn_tags - 1 < behind ? turn_tags - 1 : behind);
        if (behind == 0) {
          use_ = Use::draws;
          waiter_.used.set(0);
        }
        line_->finish_turn(pool.tags(), hw.tag_queue(), waiter_, tags_for(behind));
        return idle;
      }
    }
    return join(pool, hw, has_turn, tags_for(behind + 1));
  }
  [[nodiscard, gnu::noinline]] std::optional<Idle<R>> allocate_in_turn(TagPool<D>& pool,
                                                                       const HwQueue<D>& hw,
                                                                       std::uint32_t behind) {
    if (waiter_.share == nullptr) return allocate_in_line(pool, hw, behind);
    auto& line = *line_;
    const bool had_turn = line.is_occupied() && line.take_turn(waiter_);
    if (may_use_tag(line, had_turn) && (had_turn || !line.is_occupied())) {
      if (auto idle = draw_counted(pool, hw)) return idle;
    }
    return join(pool, hw, had_turn, 1);
  }
  [[nodiscard, gnu::noinline]] std::optional<Idle<R>> join(TagPool<D>& pool, const HwQueue<D>& hw,
                                                           bool had_turn, std::uint32_t wanted) {
    auto& line = *line_;
    use_ = Use::waits;
    if (!line.join(pool.tags(), hw.tag_queue(), waiter_, had_turn, wanted)) {
      recheck_.arm(waiter_.recheck_ns);
      return std::nullopt;
    }
    // The first in line tries once more: a tag that was freed before it joined woke no lane.
    auto idle = draw_counted(pool, hw);
    if (idle.has_value()) {
      leave_line(pool, hw);
      // The tag also woke none of the lanes that have joined behind this one.
      if (line.is_occupied()) wake_next(pool, hw);
    }
    return idle;
  }

  /// Takes the bare request, so that the handle in free() need not be in memory.
  [[gnu::noinline]] void free_and_wake(R& request, TagPool<D>& pool, const HwQueue<D>& hw) {
    auto ended = blkown::detail::HandleAccess::make_ended(request);
    auto& line = pool.line(hw.tag_queue());
    const bool is_counted = use_of_tags_ != nullptr && !pool.is_reserved(ended.tag());
    std::move(ended).release(*cache_);
    if (is_counted) use_of_tags_->put(waiter_.context, line.is_divided());
    const bool has_line = waiter_.share != nullptr && waiter_.share->has_line();
    if (!has_line && !line.is_occupied()) return;
    wake_next(pool, hw);
    // The line was looked at with the mutex held, behind the free: go_idle() need not do it again.
    blkown::detail::TagCacheAccess::forget_given(*cache_);
  }
  /// Gives back the tags that the lane has kept and cannot use.
  [[gnu::cold, gnu::noinline]] void give_kept(TagPool<D>& pool, const HwQueue<D>& hw) {
    while (R* const kept = kept_.pop_front())
      blkown::detail::HandleAccess::make_ended(*kept).release(*cache_);
    wake_next(pool, hw);
  }

  std::optional<TagCache> cache_;
  TagLine<R>* line_ = nullptr;
  std::byte* slots_ = nullptr;  // the requests of the queue
  TagWaiter waiter_;
  ShareRecheck& recheck_;
  TagUse* use_of_tags_ = nullptr;  // null if no other disk can use the pool
  // Ended requests whose tags the lane uses again, between their ends and the resume that follows.
  blkown::detail::Ring<R, blkown::detail::RequestLink<R>> kept_;
  std::uint32_t turn_left_ = 0;  // bios that the lane may still issue in the turns that it has had
  // The tags that a turn is for at most: half of the queue's, and no more than turn_bios.
  std::uint32_t max_turn_tags_ = 1;
  Use use_ = Use::none;
  bool is_stash_large_ = false;  // as large as a TagCache can be: no other lane draws
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
