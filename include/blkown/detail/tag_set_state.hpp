// SPDX-License-Identifier: BSL-1.0
//
// TagSetState: the part of a TagSet that each of its requests points to.

#ifndef BLKOWN_DETAIL_TAG_SET_STATE_HPP
#define BLKOWN_DETAIL_TAG_SET_STATE_HPP

#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/cookie_codec.hpp>
#include <blkown/detail/tag_bitmap.hpp>
#include <blkown/place.hpp>
#include <blkown/tag.hpp>
#include <blkown/tag_cache.hpp>
#include <cstddef>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace detail {

/// The state that all requests of one TagSet share. The state is constant, except for the bitmaps,
/// and stays at its address while the TagSet lives.
struct TagSetState {
  using AnyFunction = void (*)();

  CookieLayout layout;
  CookieCodec codec;  // of the layout
  std::uint32_t queue_count = 0;
  std::uint32_t depth = 0;
  std::size_t slots_per_queue = 0;  // the depth, or one more: the last slot is then not used
  std::byte* slots = nullptr;
  TagBitmap* bitmaps = nullptr;                                         // one for each queue
  void (*delivery)(const TagSetState& state, void* request) = nullptr;  // calls the EndSink
  AnyFunction end_function = nullptr;                                   // EndSink<R>::Function
  void* end_context = nullptr;
  void (*free_storage)(void* storage) = nullptr;  // null: the storage is the caller's

  [[nodiscard]] TagCache make_cache(QueueIndex queue, std::uint32_t capacity,
                                    Place place) const noexcept {
    check_queue(queue, "TagSet::tag_cache", place);
    return {bitmaps[queue.value], queue, capacity};
  }

  /// Takes a tag through the cache. False if none is free.
  [[nodiscard, gnu::always_inline]] bool take(QueueIndex queue, TagCache& cache, Tag& tag,
                                              Place place) const noexcept {
    check_cache(queue, cache, "TagSet::allocate", place);
    tag.value = cache.take();
    return tag.value != TagCache::no_tag;
  }

  [[gnu::always_inline]] void give(QueueIndex queue, Tag tag, TagCache& cache,
                                   Place place) const noexcept {
    check_cache(queue, cache, "Ended::release", place);
    cache.give(tag);
  }

  void check_queue(QueueIndex queue, const char* operation, Place place) const noexcept {
    if (queue.value >= queue_count) [[unlikely]] {
      violate_queue(Violation::no_such_queue, queue, operation, place);
    }
  }

  [[nodiscard]] static Incident incident_of(QueueIndex queue, const char* operation,
                                            Place place) noexcept {
    Incident incident = Incident::of(operation, place);
    incident.has_queue = true;
    incident.queue = queue;
    return incident;
  }

  [[noreturn, gnu::cold, gnu::noinline]] static void violate_queue(Violation violation,
                                                                   QueueIndex queue,
                                                                   const char* operation,
                                                                   Place place) {
    violate(violation, incident_of(queue, operation, place));
  }

 private:
  [[gnu::always_inline]] void check_cache(QueueIndex queue, const TagCache& cache,
                                          const char* operation, Place place) const noexcept {
    check_queue(queue, operation, place);
    if (cache.bitmap_ != &bitmaps[queue.value]) [[unlikely]] {
      violate_queue(Violation::tag_cache_of_other, queue, operation, place);
    }
  }
};

}  // namespace detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
