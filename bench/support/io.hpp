// SPDX-License-Identifier: BSL-1.0
//
// The parts that every benchmark of the library uses for its I/O: a request, a TagSet of it, a sink
// that frees tags and adds up the numbers, and the path through a device.
//
// BLKOWN_BENCH_COUNT selects the counting atomic for the whole program (counting_atomic.hpp).

#ifndef BLKOWN_BENCH_SUPPORT_IO_HPP
#define BLKOWN_BENCH_SUPPORT_IO_HPP

#include <support/counting_atomic.hpp>
// The counting atomic, if selected, comes before the core.
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
using blkown::QueueIndex;
using blkown::Tag;
using blkown::TagCache;

inline constexpr std::uint32_t depth = 256;

/// The driver's data of one I/O: a number, which the sink adds up.
struct Command {
  std::uint64_t number = 0;
};
using Request = blkown::Request<Command>;
using TagSet = blkown::TagSet<Request>;

/// Ends the program if an operation is refused, because the cycle would measure nothing.
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

/// Passes the value through a device. The compiler can neither follow the value nor keep memory
/// that other threads may change in registers.
[[nodiscard, gnu::always_inline]] inline std::uint64_t through_device(std::uint64_t value) {
  asm volatile("" : "+r"(value) : : "memory");
  return value;
}

/// The sum of 0 to count - 1, modulo 2^64: the numbers of `count` I/Os counted from 0.
[[nodiscard]] constexpr std::uint64_t sum_below(std::uint64_t count) {
  return count % 2 == 0 ? count / 2 * (count - 1) : (count - 1) / 2 * count;
}

/// Adds up the ended I/Os and frees their tags into the stash of a context.
struct SummingSink {
  TagCache* cache = nullptr;
  std::uint64_t sum = 0;

  [[gnu::always_inline]] void operator()(EndedList<Request>&& list) {
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

/// A TagSet with a sink that frees the tags at once.
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

  [[nodiscard, gnu::always_inline]] Idle<Request> allocate() {
    return must(tags_.allocate(QueueIndex{0}, cache_));
  }
  [[nodiscard]] TagSet& tags() { return tags_; }
  [[nodiscard]] std::uint64_t sum() const { return sink_.sum; }

 private:
  SummingSink sink_;
  TagSet tags_ = make_tags(sink_);
  TagCache cache_ = tags_.tag_cache(QueueIndex{0});
};

}  // namespace bench

#endif
