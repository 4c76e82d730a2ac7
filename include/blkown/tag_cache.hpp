// SPDX-License-Identifier: BSL-1.0
//
// TagCache: the free tags that one context keeps for itself.
//
// Parties: the context that owns the cache, and the queue's bitmap (detail/tag_bitmap.hpp), which
// all contexts share.
//
// A cached tag is free for the application but taken in the bitmap. take() and give() use the array
// of the cache without an atomic operation. An empty cache takes up to half its capacity from one
// bitmap word; a full cache gives back the older half. The releases and acquires of the bitmap
// therefore order only the tags that pass from one context to another; within a context program
// order does.
//
// While a context waits for a tag (TagSet::TagDemand), every cache of the queue gives back all its
// tags at its next operation and keeps none. No other context can reach the tags of a cache whose
// context makes no operation, so such a context flushes its cache when it goes idle. The destructor
// gives the tags back, too; a TagSet that is destroyed before its caches raises a violation.

#ifndef BLKOWN_TAG_CACHE_HPP
#define BLKOWN_TAG_CACHE_HPP

#include <bit>
#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/tag_bitmap.hpp>
#include <blkown/place.hpp>
#include <blkown/tag.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {

namespace detail {
struct TagCacheAccess;
struct TagSetState;
}  // namespace detail

/// The free tags of one queue that one context keeps, so that most I/Os take and give tags without
/// an atomic operation. Made by TagSet::tag_cache. A cache also stores where the context's next
/// search in the bitmap starts. A cache with capacity 0 stores nothing else.
/// Precondition: the cache is destroyed before the TagSet. A context that goes idle calls flush().
/// Synchronization: one context at a time uses a cache, interrupt handlers included. A cache passes
/// to another thread over a release/acquire channel only.
class TagCache {
 public:
  /// The largest capacity of a cache, in tags.
  static constexpr std::uint32_t max_capacity = 64;

  TagCache(TagCache&& other) noexcept { take_over(other); }
  TagCache& operator=(TagCache&& other) noexcept {
    if (this != &other) {
      close();
      take_over(other);
    }
    return *this;
  }
  ~TagCache() { close(); }

  /// The queue of the cached tags.
  [[nodiscard]] QueueIndex queue() const noexcept { return queue_; }
  /// The number of cached tags.
  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
  /// The number of tags that the cache can keep.
  [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }

  /// Gives all cached tags back: one read-modify-write for each bitmap word that has cached tags.
  /// Synchronization: releases the accesses to their requests for the tags' next allocations.
  /// Violation: tag_not_taken, if a tag was released twice.
  void flush() noexcept { give_oldest(size_); }

 private:
  friend struct detail::TagCacheAccess;
  friend struct detail::TagSetState;

  static constexpr std::uint32_t no_tag = ~std::uint32_t{0};

  TagCache(detail::TagBitmap& bitmap, QueueIndex queue, std::uint32_t capacity) noexcept
      : bitmap_{&bitmap},
        queue_{queue},
        capacity_{capacity < max_capacity ? capacity : max_capacity},
        // Contexts start their searches at different words.
        hint_{static_cast<std::uint16_t>(bitmap.add_cache() % bitmap.line_count())} {}

  /// Takes a tag. no_tag if none is free.
  [[nodiscard]] std::uint32_t take() noexcept {
    if (size_ == 0 || bitmap_->has_demand()) [[unlikely]]
      return take_slowly();
    return tags_[--size_];
  }

  /// Gives a tag back.
  void give(Tag tag) noexcept {
    if (size_ == capacity_ || bitmap_->has_demand() || bitmap_->is_reserved(tag)) [[unlikely]]
      return give_slowly(tag);
    tags_[size_++] = tag.value;
  }

  // Functions that access the bitmap are out of line, so that callers inline only take and give.

  [[nodiscard, gnu::noinline]] std::uint32_t take_slowly() noexcept {
    if (size_ == 0) refill();
    if (size_ == 0) return no_tag;
    const std::uint32_t tag = tags_[--size_];
    if (bitmap_->has_demand()) flush();
    return tag;
  }

  [[gnu::noinline]] void give_slowly(Tag tag) noexcept {
    const bool has_demand = capacity_ == 0 || bitmap_->has_demand();
    if (has_demand) flush();
    if (has_demand || bitmap_->is_reserved(tag)) {
      give_one(tag);
      return;
    }
    // The demand that led here may have ended. The cache is then not necessarily full.
    if (size_ == capacity_) give_oldest((capacity_ + 1) / 2);
    tags_[size_++] = tag.value;
  }

  /// Whether the bits of the mask are neighbours.
  /// Precondition: mask != 0.
  [[nodiscard]] static constexpr bool is_run(Word mask) noexcept {
    return (mask & static_cast<Word>(mask + (mask & (~mask + 1)))) == 0;
  }

  void refill() noexcept {
    const std::uint32_t half = capacity_ / 2;
    const bool one_only = half == 0 || bitmap_->has_demand();
    std::uint32_t hint = hint_;
    detail::TagBitmap::Run run = bitmap_->take_run(hint, one_only ? 1 : half);
    hint_ = static_cast<std::uint16_t>(hint);
    // The highest tag is stored first, so that the next take() returns the lowest tag, whose
    // request is most likely in the processor's cache.
    std::uint32_t* end = tags_ + size_;
    if (run.mask != 0 && is_run(run.mask)) [[likely]] {
      const auto first = run.first_tag + static_cast<std::uint32_t>(std::countr_zero(run.mask));
      for (auto tag = run.first_tag + static_cast<std::uint32_t>(std::bit_width(run.mask));
           tag != first;) {
        *end++ = --tag;
      }
      run.mask = 0;
    }
    while (run.mask != 0) {
      const auto bit = static_cast<std::uint32_t>(std::bit_width(run.mask) - 1);
      *end++ = run.first_tag + bit;
      run.mask ^= Word{1} << bit;
    }
    size_ = static_cast<std::uint32_t>(end - tags_);
  }

  /// Gives back the `count` oldest tags: one read-modify-write for each bitmap word.
  void give_oldest(std::uint32_t count) noexcept {
    if (count == 0) return;
    has_given_ = true;
    if (is_consecutive(count)) {
      check_given(bitmap_->give_neighbours(Tag{tags_[0]}, count));
    } else {
      give_mixed(count);
    }
    size_ -= count;
    // Not a loop: its ranges may overlap, for all that a compiler knows, so it copies tag by tag.
    __builtin_memmove(tags_, tags_ + count, size_ * sizeof tags_[0]);
  }
  /// Whether each of the `count` oldest tags follows the one before. I/Os that end in the order of
  /// their submits give such tags back.
  [[nodiscard]] bool is_consecutive(std::uint32_t count) const noexcept {
    std::uint32_t next = tags_[0];
    for (std::uint32_t i = 0; i != count; ++i) {
      if (tags_[i] != next++) return false;
    }
    return true;
  }
  /// Gives back the `count` oldest tags, grouped by bitmap word. Changes their order.
  void give_mixed(std::uint32_t count) noexcept {
    std::uint32_t begin = 0;
    while (begin != count) {
      const std::uint32_t line = bitmap_->line_of(Tag{tags_[begin]});
      Word mask = 0;
      std::uint32_t kept = count;
      for (std::uint32_t i = count; i-- != begin;) {
        if (bitmap_->line_of(Tag{tags_[i]}) == line) {
          mask |= bitmap_->bit_of(Tag{tags_[i]});
        } else {
          tags_[--kept] = tags_[i];
        }
      }
      check_given(bitmap_->give_run(line, mask));
      begin = kept;
    }
  }

  void give_one(Tag tag) noexcept {
    has_given_ = true;
    check_given(bitmap_->give(tag));
  }
  /// Violation: tag_not_taken, if a tag that was given back was free.
  void check_given(bool was_taken) const noexcept {
    if (was_taken) [[likely]]
      return;
    Incident incident = Incident::of("giving tags back", Place{});
    incident.has_queue = true;
    incident.queue = queue_;
    detail::violate(Violation::tag_not_taken, incident);
  }

  void close() noexcept {
    if (bitmap_ == nullptr) return;
    flush();
    bitmap_->remove_cache();
    bitmap_ = nullptr;
  }

  void take_over(TagCache& other) noexcept {
    bitmap_ = other.bitmap_;
    queue_ = other.queue_;
    capacity_ = other.capacity_;
    hint_ = other.hint_;
    size_ = other.size_;
    for (std::uint32_t i = 0; i != size_; ++i) tags_[i] = other.tags_[i];
    has_given_ = other.has_given_;
    other.bitmap_ = nullptr;
    other.size_ = 0;
  }

  detail::TagBitmap* bitmap_ = nullptr;
  QueueIndex queue_;
  std::uint32_t capacity_ = 0;
  std::uint16_t hint_ = 0;  // the word at which a refill begins, or its number's lower bits
  bool has_given_ = false;  // a tag to the bitmap, since the last forget_given()
  std::uint32_t size_ = 0;
  std::uint32_t tags_[max_capacity];
};

namespace detail {

/// Access to a cache for a caller that has made the checks of TagSetState once.
struct TagCacheAccess {
  /// Takes a tag. False if none is free.
  [[nodiscard, gnu::always_inline]] static bool take(TagCache& cache, std::uint32_t& tag) noexcept {
    if (cache.size_ == 0 || cache.bitmap_->has_demand()) [[unlikely]] {
      tag = cache.take_slowly();
      return tag != TagCache::no_tag;
    }
    tag = cache.tags_[--cache.size_];
    return true;
  }
  /// Makes room in a cache that is full, unless a context needs a tag.
  static void make_room(TagCache& cache) noexcept {
    if (cache.size_ == cache.capacity_ && !cache.bitmap_->has_demand())
      cache.give_oldest((cache.capacity_ + 1) / 2);
  }
  /// Whether the cache has room for a tag, and no context needs one.
  [[nodiscard, gnu::always_inline]] static bool has_room(const TagCache& cache) noexcept {
    return cache.size_ != cache.capacity_ && !cache.bitmap_->has_demand();
  }
  /// Whether the cache has given a tag to the bitmap, which another context may wait for, since the
  /// last forget_given(): by a free, or by an allocation that found a context in need.
  [[nodiscard]] static bool has_given(const TagCache& cache) noexcept { return cache.has_given_; }
  static void forget_given(TagCache& cache) noexcept { cache.has_given_ = false; }
  /// Gives a tag back.
  /// Precondition: has_room(), and the tag is not reserved.
  [[gnu::always_inline]] static void put(TagCache& cache, Tag tag) noexcept {
    cache.tags_[cache.size_++] = tag.value;
  }
};

}  // namespace detail

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
