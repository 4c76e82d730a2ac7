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
//   wake_first  a context that freed tags gives the first lanes their turns, and posts the work of
//               their SubmitQueues (`turn`), which resumes all lanes of that context. A turn is for
//               the tags that the lane wanted when it joined. It reserves none of them. But no lane
//               outside the line allocates while a turn is open, and so many free tags lead to no
//               other turn.
//   take_turn   a lane whose turn has come allocates, or joins again at the head.
//   finish_turn a lane has allocated in its turn. If it has more to issue, it joins again at the
//               end.
//   leave       a lane that cannot use a tag any more leaves. An unused turn goes to the next lane.
//   exit        a lane ends drawing, after it has given back all tags.
//   at share    a lane whose disk uses its share of the tags (tag_share.hpp) keeps its place in the
//               line, but is passed over: for the other disks, it is not there. The lane is
//               admitted when its disk uses less or when the share has grown, in the order of the
//               line. An admitted lane whose disk has reached its share before the lane's turn came
//               is at its share again, and is posted.
//
// If no other disk can use the pool, lanes have few turns, because each turn costs a run of a
// context. The turn of a lane is for up to half of the tags and turn_bios at most, so that a
// context that does not run leaves the other half. The lane may issue turn_bios bios in a row with
// the tags that end meanwhile (LaneTags::keep). A further turn begins the count again. And each
// lane in line has a part of the tags, which is their number divided by the number of those lanes.
// A lane that uses no more than its part needs no turn to begin its count again
// (LaneTags::wait_with), unless a lane in line has no tag or has waited long. A lane that uses
// less, or has waited long, has the next turn. So each lane in line gets its part as soon as a lane
// that uses more has issued the bios of its turn. If there are more lanes in line than tags, the
// part is 0, and turns alone count.
//
// Guarantees: first come, first served, among the disks that are below their shares, and among the
// lanes that are below their parts or, if none is, among all; a lane that uses more than its part
// has turn_bios bios in a turn. No thread blocks.
//
// No wake-up is lost: the freeing context looks for waiting lanes without the mutex and may miss
// one that is joining, and the joining lane's last try may come just before the tag is free. But a
// context that has freed tags looks again when it goes idle, with the mutex held. If the lane has
// joined by then, it is woken. If not, the mutex orders the freed tag before the lane's try. The
// same holds for a lane at its share: a context that frees a tag has lowered its count before that
// look. A share grows with the mutex held, and the lanes that are then admitted get their turns
// before the mutex is free. A disk that has become idle grows no share by itself: the lane at its
// share looks at its recheck_ns.
//
// A lane that is alone with its queue omits that look and keeps its stash, because it could wake
// only itself; the post of `tags_shared` ends that. It joins the line for tags that come back by
// another way, such as those of requests that have moved to other queues, but the line is not
// occupied: the tags that the lane itself frees go through its stash. While the line is occupied,
// every TagCache of the queue gives back the tags that it holds.

#ifndef BLKOWN_MQ_DETAIL_TAG_LINE_HPP
#define BLKOWN_MQ_DETAIL_TAG_LINE_HPP

#include <blkown/config.hpp>
#include <blkown/detail/saturating.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/detail/relaxed.hpp>
#include <blkown/mq/detail/tag_share.hpp>
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
  enum class State : std::uint8_t { outside, in_line, at_share, has_turn };

  TagWaiter(Context& its_context, Work& its_turn, Work& its_tags_shared)
      : context{its_context}, turn{its_turn}, tags_shared{its_tags_shared} {}

  Context& context;
  Work& turn;                      ///< Posted when the lane's turn has come.
  Work& tags_shared;               ///< Posted when the lane is no longer the only one.
  TagShare* share = nullptr;       ///< The disk's; null if no other disk can use the pool.
  TagWaiter* next = nullptr;       ///< In the line.
  TagWaiter* next_user = nullptr;  ///< Among the lanes that have entered.
  /// When the lane asks again although it has no turn: another disk may then have become idle.
  /// Belongs to the lane.
  std::uint64_t recheck_ns = blkown::detail::never_ns;
  State state = State::outside;  ///< Guarded by the line's mutex.
  std::uint32_t wanted = 1;      ///< The tags of the lane's next turn. Guarded by the line's mutex.
  /// How often other lanes went on while this one was in line: see TagLine::has_waited_long().
  /// Guarded by the line's mutex.
  std::uint32_t passes = 0;
  /// The tags that the lane's turn is for, or 0: the state is not has_turn. Changed with the mutex
  /// held; the lane reads the number without. A turn that the lane does not see yet is posted.
  RelaxedNumber<std::uint32_t> turn_tags{0};
  /// The tags that the lane's context used, of all queues, when the lane last went to wait, or 0.
  /// Written by the lane.
  RelaxedNumber<std::uint32_t> used{0};
};

/// The line for the tags of one queue, and their division among the disks of a shared pool.
template <class R>
class TagLine {
 public:
  using State = TagWaiter::State;

  // --- the lanes that draw ----------------------------------------------------------------------

  /// Registers a lane that begins to draw from the queue.
  /// Precondition: the lane has asked for no tag yet.
  void enter(TagWaiter& user) {
    const std::lock_guard lock{mutex_};
    user.next_user = std::exchange(users_, &user);
    TagWaiter* const other = user.next_user;
    if (other == nullptr) return;
    is_shared_.set(true);
    update_concerns();
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
    if (!is_shared_.is_set()) demand_.reset();
    update_concerns();
  }

  /// Whether several lanes draw from the queue. Takes no lock; the answer may be out of date.
  [[nodiscard]] bool is_shared() const noexcept { return is_shared_.is_set(); }

  // --- the disks that divide the tags -----------------------------------------------------------

  /// Adds a disk of a shared pool. `depth`: the queue's tags that are not reserved.
  /// Precondition: the disk has no lane that draws.
  void add(TagShare& share, std::uint32_t depth) {
    const std::lock_guard lock{mutex_};
    division_.add(share, depth);
    update_concerns();
  }
  /// Removes a disk. The shares of the others grow.
  /// Precondition: all lanes of the disk have exited, and all its tags are free.
  void remove(const TagSet<R>& tags, QueueIndex queue, TagShare& share) {
    const std::lock_guard lock{mutex_};
    division_.remove(share);
    advance(tags, queue);
    update_concerns();
  }
  /// Makes a disk one of those that divide the tags.
  void activate(TagShare& share, std::uint64_t now_ns) {
    const std::lock_guard lock{mutex_};
    division_.activate(share, now_ns);
  }
  /// Takes the disks out of the division that have become idle. The shares of the others grow.
  void expire(const TagSet<R>& tags, QueueIndex queue, std::uint64_t now_ns) {
    const std::lock_guard lock{mutex_};
    division_.expire(now_ns);
    advance(tags, queue);
  }
  /// The tags that one disk may use. Takes no lock; the answer may be out of date.
  [[nodiscard]] std::uint32_t limit() const noexcept { return division_.limit(); }
  /// Whether several disks use the pool. Takes no lock; the answer may be out of date.
  [[nodiscard]] bool is_divided() const noexcept { return (concerns_.read() & divided) != 0; }

  // --- the line ---------------------------------------------------------------------------------

  /// Whether each lane in line could use this number of tags at the same time. Takes no lock; the
  /// answer may be out of date.
  [[nodiscard]] bool is_within_part(const TagSet<R>& tags, std::uint64_t count) const noexcept {
    return count * admitted_.read() <= tags.depth() - tags.reserved_depth();
  }

  /// Whether the lane, which uses no more than its part, may begin its turn again: no other lane in
  /// line is without a tag, or has waited long. All tags may then be in use: those of slow requests
  /// are no part of a lane in line.
  [[nodiscard]] bool begin_again(TagWaiter& again) {
    const std::lock_guard lock{mutex_};
    for (const TagWaiter* waiter = first_; waiter != nullptr; waiter = waiter->next) {
      if (waiter == &again || waiter->state != State::in_line) continue;
      if (waiter->used.read() == 0 || has_waited_long(*waiter)) return false;
    }
    note_pass_of(again, nullptr);
    again.passes = 0;
    return true;
  }

  /// Puts the lane at the end of the line, or, with `first`, at the head: for a lane that got no
  /// tag in its turn. Returns whether the lane may try to allocate once more: the lane has just
  /// joined, is the first, and no other turn is open; or the lane's turn has come since it asked.
  /// Sets the lane's recheck_ns.
  [[nodiscard]] bool join(TagSet<R>& tags, QueueIndex queue, TagWaiter& waiter, bool first,
                          std::uint32_t wanted = 1) {
    const std::lock_guard lock{mutex_};
    waiter.recheck_ns = blkown::detail::never_ns;
    if (waiter.state == State::in_line) return false;
    const bool had_turn = end_turn(waiter);
    waiter.wanted = wanted;
    if (waiter.state == State::outside) link(waiter, first || had_turn);
    const bool is_limited = waiter.share != nullptr && division_.limit() != TagDivision::no_limit;
    if (!is_limited && waiter.state == State::outside) {
      admit(waiter);
    } else {
      join_at_share(waiter);
    }
    occupy(tags, queue);
    const bool may_try = waiter.state == State::in_line && (had_turn || is_next(waiter));
    // A turn that was not used goes on, other lanes may have been admitted, and a tag that became
    // free since the lane took its turn has given this lane none.
    if ((is_limited || first) && !may_try) advance(tags, queue);
    return may_try;
  }

  /// Takes the lane out of the line. Returns whether another lane may use the turn or the place in
  /// the share that the lane had; then the caller must call wake_first().
  [[nodiscard]] bool leave(TagWaiter& waiter) {
    const std::lock_guard lock{mutex_};
    if (waiter.state == State::outside) return false;
    if (waiter.share != nullptr && is_divided()) waiter.share->note_wait(waiter.context.now_ns());
    if (end_turn(waiter)) {
      close_if_empty();
      return true;
    }
    unlink(waiter);
    if (waiter.state == State::at_share) {
      forget_at_share(waiter);
    } else {
      admitted_.set(admitted_.read() - 1);
      if (waiter.share != nullptr) --waiter.share->promised;
    }
    waiter.state = State::outside;
    close_if_empty();
    return at_share_ != 0;
  }

  /// Admits lanes whose disks are below their shares again, and gives the first lanes in line their
  /// turns, while the queue has more free tags than the open turns are for.
  void wake_first(const TagSet<R>& tags, QueueIndex queue) {
    const std::lock_guard lock{mutex_};
    advance(tags, queue);
  }

  /// Ends the lane's turn. Returns whether the lane had a turn.
  [[nodiscard]] bool take_turn(TagWaiter& waiter) {
    const std::lock_guard lock{mutex_};
    const bool had_turn = end_turn(waiter);
    if (had_turn) close_if_empty();
    return had_turn;
  }

  /// Ends the lane's turn, in which it got a tag, and gives the next lane its turn. A lane that
  /// still wants tags joins at the end. If the lane is the next one itself, it is not posted: its
  /// turn_tags is set when the call returns.
  void finish_turn(const TagSet<R>& tags, QueueIndex queue, TagWaiter& waiter,
                   std::uint32_t wanted) {
    const std::lock_guard lock{mutex_};
    static_cast<void>(end_turn(waiter));
    if (wanted != 0) {
      waiter.wanted = wanted;
      link(waiter, false);
      admit(waiter);
    }
    advance(tags, queue, &waiter);
    close_if_empty();
  }

  /// Whether a lane waits for a free tag or a turn is open, and several lanes draw. Takes no lock;
  /// the answer may be out of date.
  [[nodiscard]] bool is_occupied() const noexcept { return (concerns_.read() & occupied) != 0; }
  /// Whether a lane must regard others when it takes or frees a tag: a lane waits, a turn is open,
  /// or the tags are divided. Takes no lock; the answer may be out of date.
  [[nodiscard]] bool has_concerns() const noexcept { return concerns_.read() != 0; }

 private:
  static constexpr std::uint8_t occupied = 1;
  static constexpr std::uint8_t divided = 2;
  static constexpr std::uint32_t max_passes = 8;

  void link(TagWaiter& waiter, bool first) {
    if (first_ == nullptr) {
      first_ = last_ = &waiter;
      waiter.next = nullptr;
    } else if (first) {
      waiter.next = std::exchange(first_, &waiter);
    } else {
      waiter.next = nullptr;
      last_ = last_->next = &waiter;
    }
  }
  void unlink(TagWaiter& waiter) {
    TagWaiter* before = nullptr;
    TagWaiter** link = &first_;
    while (*link != &waiter) {
      before = *link;
      link = &before->next;
    }
    *link = waiter.next;
    if (last_ == &waiter) last_ = before;
  }

  /// The lane waits for a free tag.
  void admit(TagWaiter& waiter) {
    waiter.state = State::in_line;
    waiter.passes = 0;
    admitted_.set(admitted_.read() + 1);
    if (waiter.share != nullptr) ++waiter.share->promised;
  }
  /// The lane waits until its disk is below its share.
  void hold_at_share(TagWaiter& waiter) {
    waiter.state = State::at_share;
    ++at_share_;
    waiter.share->set_waiting(waiter.share->waiting() + 1);
  }
  void forget_at_share(TagWaiter& waiter) {
    --at_share_;
    waiter.share->set_waiting(waiter.share->waiting() - 1);
  }
  /// The lane is behind those of its disk that wait already. It is admitted at once if they are,
  /// and the disk is below its share.
  void join_at_share(TagWaiter& waiter) {
    if (waiter.state == State::outside) hold_at_share(waiter);
    const std::uint64_t now_ns = waiter.context.now_ns();
    division_.activate(*waiter.share, now_ns);
    division_.expire(now_ns);
    admit_below_share();
    if (waiter.state == State::at_share)
      waiter.recheck_ns = division_.recheck_ns(*waiter.share, now_ns);
  }
  /// Admits the lanes whose disks are below their shares, in the order of the line.
  void admit_below_share() {
    if (at_share_ == 0) return;
    for (TagWaiter* waiter = first_; waiter != nullptr; waiter = waiter->next) {
      if (waiter->state != State::at_share) continue;
      const TagShare& share = *waiter->share;
      if (share.used() + share.promised >= division_.limit()) continue;
      forget_at_share(*waiter);
      admit(*waiter);
    }
  }

  /// Whether the lane is next whatever it uses. The tags of a lane may be those of slow requests,
  /// or of other queues.
  [[nodiscard]] static bool has_waited_long(const TagWaiter& waiter) noexcept {
    return waiter.passes >= max_passes;
  }
  /// Notes for the lanes in line before `end` that this one goes on.
  void note_pass_of(const TagWaiter& lane, const TagWaiter* end) noexcept {
    for (TagWaiter* waiter = first_; waiter != end; waiter = waiter->next) {
      if (waiter != &lane && waiter->state == State::in_line) ++waiter->passes;
    }
  }
  /// The lane that gets the next turn: the first one that uses less than its part of the tags or
  /// has waited long, or else the first one. The lanes before it whose disks have reached their
  /// shares since they were admitted wait again.
  [[nodiscard]] TagWaiter* next_in_line(const TagSet<R>& tags) {
    const bool are_parts_empty = !is_within_part(tags, 1);  // more lanes than tags
    TagWaiter* first = nullptr;
    for (TagWaiter* waiter = first_; waiter != nullptr; waiter = waiter->next) {
      if (waiter->state != State::in_line) continue;
      TagShare* const share = waiter->share;
      if (share == nullptr) {
        if (are_parts_empty || has_waited_long(*waiter) ||
            is_within_part(tags, waiter->used.read() + 1)) {
          return waiter;
        }
        if (first == nullptr) first = waiter;
        continue;
      }
      if (share->used() + share->turns < division_.limit()) return waiter;
      --share->promised;
      admitted_.set(admitted_.read() - 1);
      hold_at_share(*waiter);
      // The lane asks again, and sets its recheck_ns. Posted under the mutex, as in advance().
      waiter->context.post(waiter->turn);
    }
    return first;
  }
  [[nodiscard]] bool is_next(const TagWaiter& waiter) const {
    if (turn_tags_ != 0) return false;
    const TagWaiter* first = first_;
    while (first->state == State::at_share) first = first->next;
    return first == &waiter;
  }

  /// `running` is not posted.
  void advance(const TagSet<R>& tags, QueueIndex queue, const TagWaiter* running = nullptr) {
    if (first_ == nullptr) return;
    admit_below_share();
    occupy(tags, queue);
    if (admitted_.read() == 0) return;
    // Counted once: a context that frees a tag now calls wake_first() next.
    const std::uint32_t free = tags.free_count(queue);
    while (admitted_.read() != 0 && free > turn_tags_) {
      TagWaiter* const woken = next_in_line(tags);
      if (woken == nullptr) return close_if_empty();
      give_turn(*woken);
      // Posted under the mutex, so that a lane that is leaving cannot be destroyed before the post.
      if (woken != running) woken->context.post(woken->turn);
    }
  }
  /// Precondition: the lane is in line.
  void give_turn(TagWaiter& waiter) {
    note_pass_of(waiter, &waiter);
    unlink(waiter);
    admitted_.set(admitted_.read() - 1);
    // The line stays occupied until the turn is used, so that no lane outside takes the tag.
    waiter.state = State::has_turn;
    waiter.turn_tags.set(waiter.wanted);
    turn_tags_ += waiter.wanted;
    if (waiter.share != nullptr) ++waiter.share->turns;
  }

  [[nodiscard]] bool end_turn(TagWaiter& waiter) {
    if (waiter.state != State::has_turn) return false;
    waiter.state = State::outside;
    turn_tags_ -= waiter.turn_tags.read();
    waiter.turn_tags.set(0);
    if (waiter.share != nullptr) {
      --waiter.share->turns;
      --waiter.share->promised;
    }
    return true;
  }

  void occupy(const TagSet<R>& tags, QueueIndex queue) {
    if (is_in_demand() && is_shared() && !demand_.has_value())
      demand_.emplace(tags.announce_demand(queue));
    update_concerns();
  }
  void close_if_empty() {
    if (is_in_demand()) return;
    demand_.reset();
    update_concerns();
  }
  [[nodiscard]] bool is_in_demand() const noexcept {
    return admitted_.read() != 0 || turn_tags_ != 0;
  }
  void update_concerns() {
    unsigned concerns = is_in_demand() && is_shared() ? occupied : 0;
    if (division_.has_several()) concerns |= divided;
    if (concerns != concerns_.read()) concerns_.set(static_cast<std::uint8_t>(concerns));
  }

  // concerns_ is read at every allocation and every end, and written when tags are short.
  // is_shared_ is read when a context goes idle, and written when disks are made or removed.
  // The lines of two queues have no pair of cache lines in common.
  alignas(blkown::detail::line_pair_bytes) RelaxedNumber<std::uint8_t> concerns_{0};
  RelaxedFlag is_shared_;
  RelaxedNumber<std::uint32_t> admitted_{0};  // lanes in line; changed with the mutex held
  TagDivision division_;
  std::mutex mutex_;
  TagWaiter* first_ = nullptr;  // in line or at its share
  TagWaiter* last_ = nullptr;   // meaningful only if first_ is not null
  TagWaiter* users_ = nullptr;
  std::uint32_t at_share_ = 0;   // lanes at the shares of their disks
  std::uint32_t turn_tags_ = 0;  // of the open turns, which were given and not taken yet
  std::optional<typename TagSet<R>::TagDemand> demand_;
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
