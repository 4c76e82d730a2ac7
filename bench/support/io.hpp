// SPDX-License-Identifier: BSL-1.0
//
// What every benchmark of the library does its I/O with: a request, a TagSet of it, a sink that
// frees tags and adds up what came back, and the way through a device.
//
// BLKOWN_BENCH_COUNT selects the counting atomic for the whole program (counting_atomic.hpp).

#ifndef BLKOWN_BENCH_IO_HPP
#define BLKOWN_BENCH_IO_HPP

#include <support/counting_atomic.hpp>
// The counting atomic, if it is selected, comes before the core.
#include <blkown/blkown.hpp>
#include <cstdint>
#include <cstdlib>
#include <expected>
#include <optional>
#include <utility>

namespace bench {

using blkown::ARef;
using blkown::Claim;
using blkown::Cookie;
using blkown::EndedList;
using blkown::Idle;
using blkown::Owned;
using blkown::Tag;
using blkown::TagCache;

inline constexpr std::uint32_t depth = 256;

/// The driver's data of one I/O. Each I/O carries a number that its end adds up.
struct Command {
  std::uint64_t number = 0;
};
using Request = blkown::Request<Command>;
using TagSet = blkown::TagSet<Request>;

/// A cycle that meets a refusal has measured nothing.
template <class T, class E>
[[nodiscard]] inline T must(std::expected<T, E>&& result) {
  if (!result.has_value()) [[unlikely]]
    std::abort();
  return *std::move(result);
}
template <class T>
[[nodiscard]] inline T must(std::optional<T>&& result) {
  if (!result.has_value()) [[unlikely]]
    std::abort();
  return *std::move(result);
}
inline void must(bool holds) {
  if (!holds) [[unlikely]]
    std::abort();
}

/// The value goes to the device and comes back: the compiler can neither follow it nor keep memory
/// that others may change in registers meanwhile.
[[nodiscard, gnu::always_inline]] inline std::uint64_t through_device(std::uint64_t value) {
  asm volatile("" : "+r"(value) : : "memory");
  return value;
}

/// The sum of 0 to count - 1, modulo 2^64: what `count` I/Os numbered from 0 must add up to.
[[nodiscard]] constexpr std::uint64_t sum_below(std::uint64_t count) {
  return count % 2 == 0 ? count / 2 * (count - 1) : (count - 1) / 2 * count;
}

/// Adds up what ended and frees the tags into a context's stash.
struct SummingSink {
  TagCache* cache = nullptr;
  std::uint64_t sum = 0;

  void operator()(EndedList<Request>&& list) {
    while (auto ended = list.pop_front()) {
      sum += ended->data().number;
      std::move(*ended).release(*cache);
    }
  }
};

template <class Sink>
[[nodiscard]] TagSet make_tags(Sink& sink, std::uint32_t queues = 1, std::uint32_t tags = depth) {
  return must(TagSet::create(
      {.queue_count = queues, .depth = tags, .layout = blkown::CookieLayout::io_uring()},
      blkown::EndSink<Request>::to(sink)));
}

/// With a sink that frees the tags at once.
[[nodiscard]] inline TagSet make_freeing_tags(std::uint32_t queues = 1,
                                              std::uint32_t tags = depth) {
  return must(TagSet::create(
      {.queue_count = queues, .depth = tags, .layout = blkown::CookieLayout::io_uring()},
      blkown::EndSink<Request>::freeing()));
}

/// One queue with one submitting context.
class Queue {
 public:
  Queue() { sink_.cache = &cache_; }
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  [[nodiscard]] Idle<Request> allocate() { return must(tags_.allocate(0, cache_)); }
  [[nodiscard]] TagSet& tags() { return tags_; }
  [[nodiscard]] std::uint64_t sum() const { return sink_.sum; }

 private:
  SummingSink sink_;
  TagSet tags_ = make_tags(sink_);
  TagCache cache_ = tags_.tag_cache(0);
};

}  // namespace bench

#endif
