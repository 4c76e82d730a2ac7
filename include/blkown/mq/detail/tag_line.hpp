// SPDX-License-Identifier: BSL-1.0
//
// TagLine: the order in which contexts get the tags of one queue when tags are short.
//
// Parties: the lanes that draw tags from the queue, each with a TagWaiter (a lane is one context's
// way to one hardware queue); any context that frees a tag.
//
//   enter       a lane begins to draw. If one other lane draws from the queue, the `tags_shared`
//               work of that lane's SubmitQueue is posted before the new lane asks for a tag.
//   join        a lane that got no tag joins the line. The first in line tries once more.
//   wake_first  a context that freed a tag gives the first lane its turn, and posts the work of
//               the lane's SubmitQueue (`turn`), which resumes all lanes of that context. A turn
//               reserves no tag, but while a turn is open, no lane outside the line allocates.
//   take_turn   a lane whose turn has come allocates, or joins again at the head.
//   leave       a lane that cannot use a tag any more leaves. An unused turn goes to the next lane.
//   exit        a lane ends drawing, after it has given back all tags.
//
// Guarantees: first come, first served. No thread blocks. No wake-up is lost: the freeing context
// looks for waiting lanes without the mutex and may miss one that is joining, and the joining
// lane's last try may come just before the tag is free. But a context that has freed tags looks
// again when it goes idle, with the mutex held. If the lane has joined by then, it is woken. If
// not, the mutex orders the freed tag before the lane's try.
//
// A lane that is alone with its queue omits that look and keeps its stash, because it could wake
// only itself; the post of `tags_shared` ends that. While the line is occupied, every TagCache of
// the queue gives back the tags that it holds.

#ifndef BLKOWN_MQ_DETAIL_TAG_LINE_HPP
#define BLKOWN_MQ_DETAIL_TAG_LINE_HPP

#include <blkown/config.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/detail/relaxed.hpp>
#include <blkown/tag.hpp>
#include <blkown/tag_set.hpp>
#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// One lane's place in a TagLine. All lanes of a SubmitQueue have the same two works.
struct TagWaiter {
  enum class State : std::uint8_t { outside, in_line, has_turn };

  TagWaiter(Context& its_context, Work& its_turn, Work& its_tags_shared)
      : context{its_context}, turn{its_turn}, tags_shared{its_tags_shared} {}

  Context& context;
  Work& turn;                      ///< Posted when the lane's turn has come.
  Work& tags_shared;               ///< Posted when the lane is no longer the only one.
  TagWaiter* next = nullptr;       ///< In the line.
  TagWaiter* next_user = nullptr;  ///< Among the lanes that have entered.
  State state = State::outside;    ///< Guarded by the line's mutex.
};

/// The line for the tags of one queue.
template <class R>
class TagLine {
 public:
  /// Registers a lane that begins to draw from the queue.
  /// Precondition: the lane has asked for no tag yet.
  void enter(TagWaiter& user) {
    const std::lock_guard lock{mutex_};
    user.next_user = std::exchange(users_, &user);
    TagWaiter* const other = user.next_user;
    if (other == nullptr) return;
    is_shared_.set(true);
    // Posted under the mutex, so that the other lane has not exited. The posted work runs after
    // this post, and therefore sees the flag.
    if (other->next_user == nullptr) other->context.post(other->tags_shared);
  }

  /// Removes a lane that ends drawing from the queue.
  /// Precondition: the lane is not in line, and has given back all tags.
  void exit(TagWaiter& user) {
    const std::lock_guard lock{mutex_};
    TagWaiter** link = &users_;
    while (*link != &user) link = &(*link)->next_user;
    *link = user.next_user;
    is_shared_.set(users_ != nullptr && users_->next_user != nullptr);
  }

  /// Whether several lanes draw from the queue. Takes no lock; the answer may be out of date.
  [[nodiscard]] bool is_shared() const noexcept { return is_shared_.is_set(); }

  /// Puts the lane at the end of the line, or, with `first`, at the head: for a lane that got no
  /// tag in its turn. Returns whether the lane may try to allocate once more: the lane has just
  /// joined, is the first, and no other turn is open; or the lane's turn has come since it asked.
  [[nodiscard]] bool join(TagSet<R>& tags, QueueIndex queue, TagWaiter& waiter, bool first) {
    const std::lock_guard lock{mutex_};
    if (waiter.state == TagWaiter::State::in_line) return false;
    const bool had_turn = waiter.state == TagWaiter::State::has_turn;
    if (had_turn) {
      --open_turns_;
      first = true;
    }
    waiter.state = TagWaiter::State::in_line;
    if (!demand_.has_value()) demand_.emplace(tags.announce_demand(queue));
    is_occupied_.set(true);
    if (first_ == nullptr) {
      first_ = last_ = &waiter;
      waiter.next = nullptr;
    } else if (first) {
      waiter.next = std::exchange(first_, &waiter);
    } else {
      waiter.next = nullptr;
      last_ = last_->next = &waiter;
    }
    return had_turn || (first_ == &waiter && open_turns_ == 0);
  }

  /// Takes the lane out of the line. Returns whether the lane had its turn; then the caller must
  /// call wake_first().
  [[nodiscard]] bool leave(TagWaiter& waiter) {
    const std::lock_guard lock{mutex_};
    if (waiter.state != TagWaiter::State::in_line) return end_turn(waiter);
    waiter.state = TagWaiter::State::outside;
    TagWaiter* before = nullptr;
    TagWaiter** link = &first_;
    while (*link != &waiter) {
      before = *link;
      link = &before->next;
    }
    *link = waiter.next;
    if (last_ == &waiter) last_ = before;
    close_if_empty();
    return false;
  }

  /// Gives the first lane in line its turn, if the queue has more free tags than open turns.
  void wake_first(const TagSet<R>& tags, QueueIndex queue) {
    const std::lock_guard lock{mutex_};
    if (first_ == nullptr || tags.free_count(queue) <= open_turns_) return;
    TagWaiter& woken = *first_;
    first_ = woken.next;
    if (first_ == nullptr) last_ = nullptr;
    // The line stays occupied until the turn is used, so that no lane outside takes the tag.
    woken.state = TagWaiter::State::has_turn;
    ++open_turns_;
    // Posted under the mutex, so that a lane that is leaving cannot be destroyed before the post.
    woken.context.post(woken.turn);
  }

  /// Ends the lane's turn. Returns whether the lane had a turn.
  [[nodiscard]] bool take_turn(TagWaiter& waiter) {
    const std::lock_guard lock{mutex_};
    return end_turn(waiter);
  }

  /// Whether a lane waits or a turn is open. Takes no lock; the answer may be out of date.
  [[nodiscard]] bool is_occupied() const noexcept { return is_occupied_.is_set(); }

 private:
  [[nodiscard]] bool end_turn(TagWaiter& waiter) {
    if (waiter.state != TagWaiter::State::has_turn) return false;
    waiter.state = TagWaiter::State::outside;
    --open_turns_;
    close_if_empty();
    return true;
  }
  void close_if_empty() {
    if (first_ != nullptr || open_turns_ != 0) return;
    last_ = nullptr;
    is_occupied_.set(false);
    demand_.reset();
  }

  // is_occupied_ is read at every allocation and every end, and written when tags are short.
  // is_shared_ is read when a context goes idle, and written when disks are made or removed.
  alignas(cache_line_bytes) RelaxedFlag is_occupied_;
  RelaxedFlag is_shared_;
  std::mutex mutex_;
  TagWaiter* first_ = nullptr;
  TagWaiter* last_ = nullptr;
  TagWaiter* users_ = nullptr;
  std::uint32_t open_turns_ = 0;  // given, not taken yet
  std::optional<typename TagSet<R>::TagDemand> demand_;
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
