// SPDX-License-Identifier: BSL-1.0
//
// TagShare: one disk's part in the tags of one queue of a shared pool.
//
// Parties: the disks on a pool, each with a TagShare for each queue of the pool; the contexts of a
// disk, each with a TagUse for each queue; the queue's TagLine, whose mutex guards the division.
//
//   count    each context counts the tags that its disk uses through it. Only the context writes
//            its count. A disk's use of a queue is the sum of the counts, read without a lock.
//   active   a disk becomes active with the first tag that it asks for, and ceases when it has no
//            request and no waiting lane, and has had none for its timeout. No timer looks for
//            disks that have ceased: a lane that finds its disk at the limit does, and looks again
//            at the time that recheck_ns() names.
//   limit    with n > 1 active disks, each may use max(ceil(depth / n), 4) tags.
//
// A pool with one disk is not divided: only the counts are kept, so that they are right when
// another disk comes. A pool that a disk made for itself has no shares, and keeps no counts.

#ifndef BLKOWN_MQ_DETAIL_TAG_SHARE_HPP
#define BLKOWN_MQ_DETAIL_TAG_SHARE_HPP

#include <array>
#include <blkown/config.hpp>
#include <blkown/detail/saturating.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/detail/relaxed.hpp>
#include <blkown/tag.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// The tags of one queue that one context of a disk uses, without reserved and stashed ones.
/// Synchronization: the context writes, every context may read.
class TagUse {
 public:
  [[gnu::always_inline]] void take() noexcept { count_.add(); }
  /// put() where the time does not count. Inline, so that the end of an I/O makes no call.
  [[gnu::always_inline]] void put_without_clock() noexcept { count_.subtract(); }
  /// `has_clock`: the time counts, because other disks use the pool.
  void put(const Context& context, bool has_clock) noexcept {
    if (count_.subtract() == 0 && has_clock) emptied_ns_.set(context.now_ns());
  }
  [[nodiscard]] Word count() const noexcept { return count_.read(); }
  /// When the count last became 0.
  [[nodiscard]] std::uint64_t emptied_ns() const noexcept { return emptied_ns_.read(); }

 private:
  OwnedCounter count_;
  RelaxedNumber<std::uint64_t> emptied_ns_{0};
};

/// A context's TagUse for each queue of the pool, in pairs of cache lines of its own.
class TagUses {
 public:
  explicit TagUses(std::uint32_t queue_count)
      : lines_{std::make_unique<Line[]>((queue_count + per_line - 1) / per_line)} {}

  [[nodiscard]] TagUse& of(QueueIndex queue) const noexcept {
    return lines_[queue.value / per_line].uses[queue.value % per_line];
  }

 private:
  static constexpr std::size_t per_line = blkown::detail::line_pair_bytes / sizeof(TagUse);
  struct alignas(blkown::detail::line_pair_bytes) Line {
    std::array<TagUse, per_line> uses;
  };

  std::unique_ptr<Line[]> lines_;

  static_assert(sizeof(Line) % blkown::detail::line_pair_bytes == 0,
                "two contexts never share a pair of lines");
};

/// One disk's part in the tags of one queue.
/// Synchronization: guarded by the mutex of the queue's TagLine, except where stated.
class TagShare {
 public:
  TagShare() = default;
  TagShare(const TagShare&) = delete;
  TagShare& operator=(const TagShare&) = delete;
  void init(const std::vector<TagUses>& uses, QueueIndex queue, std::uint64_t idle_ns) noexcept {
    uses_ = &uses;
    queue_ = queue;
    idle_ns_ = idle_ns;
  }

  /// The tags that the disk uses.
  /// Synchronization: none; each count is read at a moment of its own.
  [[nodiscard]] Word used() const noexcept {
    Word sum = 0;
    for (const TagUses& context : *uses_) sum += context.of(queue_).count();
    return sum;
  }
  /// Whether the disk counts among those that divide the tags.
  /// Synchronization: none; the answer may be out of date.
  [[nodiscard]] bool is_active() const noexcept { return is_active_.is_set(); }
  /// Whether a lane of the disk waits because the disk uses its whole share.
  /// Synchronization: none; the answer may be out of date.
  [[nodiscard]] bool has_line() const noexcept { return has_line_.is_set(); }

  /// Lanes of the disk that wait because it uses its share.
  [[nodiscard]] std::uint32_t waiting() const noexcept { return waiting_; }
  void set_waiting(std::uint32_t count) noexcept {
    waiting_ = count;
    has_line_.set(count != 0);
  }
  std::uint32_t turns = 0;     ///< Open turns of the disk's lanes.
  std::uint32_t promised = 0;  ///< Open turns, and lanes in line that may have one.

  /// The disk waits for a tag, or has just stopped to wait.
  void note_wait(std::uint64_t now_ns) noexcept { waited_ns_ = now_ns; }

 private:
  friend class TagDivision;

  [[nodiscard]] bool is_in_use() const noexcept {
    return used() != 0 || waiting_ != 0 || promised != 0;
  }
  /// When the disk ceases to be active if it remains without I/O.
  /// Precondition: !is_in_use().
  [[nodiscard]] std::uint64_t idle_at_ns() const noexcept {
    std::uint64_t last_ns = waited_ns_;
    for (const TagUses& context : *uses_) {
      const std::uint64_t emptied_ns = context.of(queue_).emptied_ns();
      if (emptied_ns > last_ns) last_ns = emptied_ns;
    }
    return blkown::detail::saturating_add(last_ns, idle_ns_);
  }

  const std::vector<TagUses>* uses_ = nullptr;
  QueueIndex queue_;
  std::uint64_t idle_ns_ = 0;
  std::uint64_t waited_ns_ = 0;
  std::uint32_t waiting_ = 0;
  TagShare* next_ = nullptr;  // of the division
  RelaxedFlag is_active_;
  RelaxedFlag has_line_;
};

/// A disk's shares and counts, for each queue of the pool.
class TagShares {
 public:
  TagShares(std::uint32_t context_count, std::uint32_t queue_count, std::uint64_t idle_ns)
      : shares_{std::make_unique<TagShare[]>(queue_count)} {
    uses_.reserve(context_count);
    for (std::uint32_t i = 0; i != context_count; ++i) uses_.emplace_back(queue_count);
    for (std::uint32_t i = 0; i != queue_count; ++i) shares_[i].init(uses_, QueueIndex{i}, idle_ns);
  }
  TagShares(const TagShares&) = delete;
  TagShares& operator=(const TagShares&) = delete;

  [[nodiscard]] TagShare& of(QueueIndex queue) const noexcept { return shares_[queue.value]; }
  [[nodiscard]] TagUse& use(std::uint32_t context_index, QueueIndex queue) const noexcept {
    return uses_[context_index].of(queue);
  }

 private:
  std::vector<TagUses> uses_;
  std::unique_ptr<TagShare[]> shares_;
};

/// The division of a queue's tags among the disks of a pool.
/// Synchronization: guarded by the mutex of the queue's TagLine, except limit().
class TagDivision {
 public:
  static constexpr std::uint32_t no_limit = ~std::uint32_t{0};

  /// The tags that one disk may use.
  /// Synchronization: none; the answer may be out of date.
  [[nodiscard]] std::uint32_t limit() const noexcept { return limit_.read(); }
  [[nodiscard]] bool has_several() const noexcept {
    return first_ != nullptr && first_->next_ != nullptr;
  }

  /// Adds a disk, which is not active yet. A disk that was alone is active if it has I/O.
  void add(TagShare& share, std::uint32_t depth) noexcept {
    depth_ = depth;
    share.next_ = std::exchange(first_, &share);
    TagShare* const other = share.next_;
    if (other == nullptr || other->next_ != nullptr) return;
    other->is_active_.set(other->is_in_use());
    update();
  }
  /// Precondition: the disk has no request and no waiting lane.
  void remove(TagShare& share) noexcept {
    TagShare** link = &first_;
    while (*link != &share) link = &(*link)->next_;
    *link = share.next_;
    share.is_active_.set(false);
    update();
  }

  void activate(TagShare& share, std::uint64_t now_ns) noexcept {
    share.note_wait(now_ns);
    if (share.is_active()) return;
    share.is_active_.set(true);
    update();
  }
  /// Takes the disks out that have been without I/O for their timeout.
  void expire(std::uint64_t now_ns) noexcept {
    for (TagShare* share = first_; share != nullptr; share = share->next_) {
      if (!share->is_active() || share->is_in_use()) continue;
      if (share->idle_at_ns() <= now_ns) share->is_active_.set(false);
    }
    update();
  }
  /// The earliest time at which one of the other disks may cease to be active.
  [[nodiscard]] std::uint64_t recheck_ns(const TagShare& waiting,
                                         std::uint64_t now_ns) const noexcept {
    std::uint64_t first_ns = blkown::detail::never_ns;
    for (const TagShare* share = first_; share != nullptr; share = share->next_) {
      if (share == &waiting || !share->is_active()) continue;
      const std::uint64_t at_ns = share->is_in_use()
                                      ? blkown::detail::saturating_add(now_ns, share->idle_ns_)
                                      : share->idle_at_ns();
      if (at_ns < first_ns) first_ns = at_ns;
    }
    return first_ns;
  }

 private:
  /// Source: the kernel's hctx_may_queue.
  static constexpr std::uint32_t min_share = 4;

  void update() noexcept {
    std::uint32_t active = 0;
    for (const TagShare* share = first_; share != nullptr; share = share->next_) {
      active += share->is_active() ? 1 : 0;
    }
    if (!has_several() || active < 2) return limit_.set(no_limit);
    const std::uint32_t part = depth_ / active + (depth_ % active != 0 ? 1 : 0);
    const std::uint32_t share = part < min_share ? min_share : part;
    limit_.set(share < depth_ ? share : no_limit);
  }

  TagShare* first_ = nullptr;
  std::uint32_t depth_ = 0;  // without reserved tags
  RelaxedNumber<std::uint32_t> limit_{no_limit};
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
