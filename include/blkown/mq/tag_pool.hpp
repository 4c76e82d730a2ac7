// SPDX-License-Identifier: BSL-1.0
//
// The requests of one disk, or of several that share a device's tags, and who waits for one.

#ifndef BLKOWN_MQ_TAG_POOL_HPP
#define BLKOWN_MQ_TAG_POOL_HPP

#include <blkown/config.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/detail/fwd.hpp>
#include <blkown/mq/detail/relaxed.hpp>
#include <blkown/mq/payload.hpp>
#include <blkown/tag_set.hpp>
#include <expected>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

namespace detail {

/// One that draws tags from one queue: a context's lane, and its place in the line when it waits.
struct TagWaiter {
  TagWaiter(Context& its_context, Work& its_work, Work& its_company)
      : context{its_context}, work{its_work}, company{its_company} {}

  Context& context;
  Work& work;     ///< Posted when it is this one's turn.
  Work& company;  ///< Posted when it was alone with the queue, and is so no more.
  TagWaiter* next = nullptr;
  TagWaiter* next_user = nullptr;
  bool is_in_line = false;  ///< Guarded by the line's mutex.
  bool has_turn = false;    ///< Likewise.
};

/// Contexts that wait for a tag of one queue, first come, first served. Nobody blocks: whoever
/// frees a tag gives the first in line its turn, as a piece of work on its context.
///
/// No wake-up is lost. A context joins and then, if it is the first, tries once more; one that
/// frees tags looks whether somebody is in line. It may look just before the other has joined, and
/// the other may try just before the tag is free; but contexts that freed tags look again when they
/// go idle, with the mutex held: either the other has joined by then and is woken, or it joins
/// later, and then the mutex orders the freed tag before its try.
///
/// One that is alone with its queue does not look, and keeps its stash: it could only wake itself.
/// The second that comes tells it so before it asks for a tag; the first then goes idle anew, and
/// does all that.
template <class R>
class TagLine {
 public:
  /// This one draws from the queue from now on. It has asked for no tag yet.
  void enter(TagWaiter& user) {
    const std::lock_guard lock{mutex_};
    user.next_user = std::exchange(users_, &user);
    TagWaiter* const other = user.next_user;
    if (other == nullptr) return;
    is_shared_.set(true);
    // Under the mutex: it has not gone. It comes to the work after this, so it sees the flag.
    if (other->next_user == nullptr) other->context.post(other->company);
  }

  /// And does so no more. Precondition: it is not in line, and has given back all tags.
  void exit(TagWaiter& user) {
    const std::lock_guard lock{mutex_};
    TagWaiter** link = &users_;
    while (*link != &user) link = &(*link)->next_user;
    *link = user.next_user;
    is_shared_.set(users_ != nullptr && users_->next_user != nullptr);
  }

  /// Whether more than one draws from the queue. A glance, without the mutex.
  [[nodiscard]] bool is_shared() const noexcept { return is_shared_.is_set(); }

  /// At the end of the line, or at its head for one that had its turn in vain. True if it may try
  /// once more: it has just joined, it is the first, and no tag is on its way to another; or its
  /// turn has come since it asked.
  [[nodiscard]] bool join(TagSet<R>& tags, std::uint32_t queue, TagWaiter& waiter, bool first) {
    const std::lock_guard lock{mutex_};
    if (waiter.is_in_line) return false;
    const bool has_turn = std::exchange(waiter.has_turn, false);
    if (has_turn) {
      --open_turns_;
      first = true;
    }
    waiter.is_in_line = true;
    // From here on every TagCache of the queue gives back what it holds.
    if (!generous_.has_value()) generous_.emplace(tags.announce_demand(queue));
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
    return has_turn || (first_ == &waiter && open_turns_ == 0);
  }

  /// True if its turn had come, and is now the next one's.
  [[nodiscard]] bool leave(TagWaiter& waiter) {
    const std::lock_guard lock{mutex_};
    if (!std::exchange(waiter.is_in_line, false)) return end_turn(waiter);
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

  /// Gives the first in line its turn, if there is a tag for it that no turn is open for.
  void wake_first(const TagSet<R>& tags, std::uint32_t queue) {
    const std::lock_guard lock{mutex_};
    if (first_ == nullptr || tags.free_count(queue) <= open_turns_) return;
    TagWaiter& woken = *first_;
    first_ = woken.next;
    if (first_ == nullptr) last_ = nullptr;
    woken.is_in_line = false;
    // The line stays occupied until the turn is used: nobody takes the tag in between.
    woken.has_turn = true;
    ++open_turns_;
    // Under the mutex: a context that leaves, to go away, has not got this far behind its back.
    woken.context.post(woken.work);
  }

  /// Whether this one was woken since it last asked.
  [[nodiscard]] bool take_turn(TagWaiter& waiter) {
    const std::lock_guard lock{mutex_};
    return end_turn(waiter);
  }

  /// A glance, without the mutex.
  [[nodiscard]] bool is_occupied() const noexcept { return is_occupied_.is_set(); }

 private:
  [[nodiscard]] bool end_turn(TagWaiter& waiter) {
    if (!std::exchange(waiter.has_turn, false)) return false;
    --open_turns_;
    close_if_empty();
    return true;
  }
  void close_if_empty() {
    if (first_ != nullptr || open_turns_ != 0) return;
    last_ = nullptr;
    is_occupied_.set(false);
    generous_.reset();
  }

  // Read at every allocation and every end, written only when tags are short; and the other when a
  // context goes idle, written when disks come and go.
  alignas(cache_line_bytes) RelaxedFlag is_occupied_;
  RelaxedFlag is_shared_;
  std::mutex mutex_;
  TagWaiter* first_ = nullptr;
  TagWaiter* last_ = nullptr;
  TagWaiter* users_ = nullptr;
  std::uint32_t open_turns_ = 0;  // given, and not used yet
  std::optional<typename TagSet<R>::TagDemand> generous_;
};

}  // namespace detail

/// The requests, with their tags, that one disk or several disks of one device draw from (blk-mq's
/// tag set). It outlives the disks.
template <class D>
class TagPool {
 public:
  /// Precondition: D's RequestData can be made from nothing.
  [[nodiscard]] static std::expected<std::unique_ptr<TagPool>, TagSetError> create(
      const TagSetConfig& config) {
    auto tags = TagSet<Request<D>>::create(config, EndSink<Request<D>>::to(sink));
    if (!tags.has_value()) return std::unexpected(tags.error());
    std::unique_ptr<TagPool> pool{new (std::nothrow) TagPool{*std::move(tags)}};
    if (pool == nullptr || pool->lines_ == nullptr) {
      return std::unexpected(TagSetError{TagSetReason::out_of_memory, 0, sizeof(TagPool)});
    }
    return pool;
  }

  TagPool(const TagPool&) = delete;
  TagPool& operator=(const TagPool&) = delete;
  /// Violation: a request is not back. First the whole table of them is printed.
  ~TagPool();

  /// For lookups. Who allocates here by himself stands in no line: disks do not wake him, and may
  /// keep tags that he wants.
  [[nodiscard]] TagSet<Request<D>>& tags() noexcept { return tags_; }
  [[nodiscard]] const TagSet<Request<D>>& tags() const noexcept { return tags_; }
  [[nodiscard]] detail::TagLine<Request<D>>& line(std::uint32_t queue) noexcept {
    return lines_[queue];
  }

 private:
  explicit TagPool(TagSet<Request<D>>&& tags)
      : tags_{std::move(tags)},
        lines_{new(std::nothrow) detail::TagLine<Request<D>>[tags_.queue_count()]} {}

  /// Every request knows who submitted it.
  struct Sink {
    void operator()(EndedList<Request<D>>&& list) const {
      while (auto ended = list.pop_front()) {
        detail::SubmitQueue<D>& submitter = *detail::PayloadAccess<D>::submitter(ended->data());
        submitter.take_ended(*std::move(ended));
      }
    }
  };
  static constexpr Sink sink{};

  TagSet<Request<D>> tags_;
  std::unique_ptr<detail::TagLine<Request<D>>[]> lines_;
};

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#include <blkown/mq/in_flight_table.hpp>

#endif
