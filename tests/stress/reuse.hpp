// SPDX-License-Identifier: BSL-1.0
//
// Few requests that threads pass on without a barrier, so that only the library and the channel
// under test order one life of a request before the next. Each holder touches the data, which is
// plain memory. Cookies travel in relaxed atomics.

#ifndef BLKOWN_TESTS_STRESS_REUSE_HPP
#define BLKOWN_TESTS_STRESS_REUSE_HPP

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <blkown/blkown.hpp>
#include <cstdint>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "effort.hpp"
#include "meeting.hpp"
#include "race.hpp"

namespace stress {

class Reuse : public ::testing::Test {
 protected:
  static constexpr std::uint32_t depth = 4;

  /// The number of I/Os of each submitter.
  [[nodiscard]] static std::uint64_t ios() { return scaled(30'000, 5'000); }

  /// Runs each part in a thread of its own. All parts begin together.
  template <class... Parts>
  static void run(Parts... parts) {
    SpinBarrier barrier{sizeof...(parts)};
    std::uint64_t streams = 0;
    const auto thread_of = [&](auto& part) {
      return std::thread{[&barrier, &part, stream = ++streams] {
        Random random{stream};
        barrier.arrive_and_wait();
        part(random);
      }};
    };
    std::array<std::thread, sizeof...(parts)> threads{thread_of(parts)...};
    for (std::thread& thread : threads) thread.join();
  }

  [[nodiscard]] Idle allocate(blkown::TagCache& cache, Random& random) {
    if (auto idle = tags.allocate(blkown::QueueIndex{0}, cache)) return std::move(*idle);
    // The demand of a waiting context makes the caches of the others give tags back.
    const auto waiting = tags.announce_demand(blkown::QueueIndex{0});
    for (;;) {
      if (auto idle = tags.allocate(blkown::QueueIndex{0}, cache)) return std::move(*idle);
      wait_a_little(random);
    }
  }

  /// Counts a new holder in the data, which is plain so that a missing order shows.
  template <class Handle>
  static void touch(const Handle& handle) {
    ++handle.data().touched;
  }

  /// Checks that every tag is free again and that no touch was lost.
  void expect_touched(std::uint64_t promised) {
    auto cache = tags.tag_cache(blkown::QueueIndex{0}, 0);
    std::uint64_t touched = 0;
    std::array<std::optional<Idle>, depth> idles;
    for (auto& idle : idles) {
      idle = tags.allocate(blkown::QueueIndex{0}, cache);
      if (!idle) {
        ADD_FAILURE() << "a tag was lost";
        return;
      }
      touched += idle->data().touched;
    }
    EXPECT_FALSE(tags.allocate(blkown::QueueIndex{0}, cache).has_value()) << "a tag too many";
    EXPECT_EQ(touched, promised);
    sink = &free_at_once;
    for (auto& idle : idles) std::move(*idle).fail(blkown::Status::aborted);
  }

  // --- what the EndSink does with an I/O; each test chooses ---

  using Sink = void (*)(Reuse&, Ended&&);
  static void free_at_once(Reuse&, Ended&& ended) {
    touch(ended);
    std::move(ended).release();
  }
  static void free_into_cache(Reuse&, Ended&& ended) {
    touch(ended);
    std::move(ended).release(*thread_cache);
  }
  static void queue_under_mutex(Reuse& self, Ended&& ended) {
    touch(ended);
    const std::lock_guard guard{self.mutex};
    self.queued.push_back(std::move(ended));
  }
  static void collect(Reuse&, Ended&& ended) {
    touch(ended);
    thread_list->push_back(std::move(ended));
  }

  [[nodiscard]] std::optional<Ended> take_queued() {
    const std::lock_guard guard{mutex};
    return queued.pop_front();
  }

  Sink sink = &free_at_once;
  static inline thread_local blkown::TagCache* thread_cache = nullptr;
  static inline thread_local EndedList* thread_list = nullptr;
  std::mutex mutex;
  EndedList queued;

  /// The ids that the device has. The accesses are relaxed and order nothing.
  std::array<std::atomic<std::uint64_t>, depth> cookies{};
  void issue(const blkown::Cookie& cookie) {
    cookies[cookie.tag.value].store(cookie.value, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t any_cookie(Random& random) {
    return cookies[random.below(depth)].load(std::memory_order_relaxed);
  }

  /// Starts and publishes an I/O with its generation in its data.
  void publish(Idle idle) {
    touch(idle);
    auto owned = std::move(idle).start();
    owned.data().generation = owned.next_cookie().generation.value;
    std::move(owned).publish([this](blkown::Cookie cookie) { issue(cookie); });
  }
  /// Checks the data for a new holder of a right.
  template <class Handle>
  static void expect_named(const Handle& handle) {
    EXPECT_EQ(handle.data().generation, handle.cookie().generation.value);
    touch(handle);
  }

 private:
  struct Dispatch {
    Reuse& self;
    void operator()(EndedList&& list) {
      while (auto one = list.pop_front()) self.sink(self, std::move(*one));
    }
  };
  Dispatch dispatch_{*this};

 protected:
  Tags tags = make_tags(depth, blkown::EndSink<Rq>::to(dispatch_));
};

}  // namespace stress

#endif
