// SPDX-License-Identifier: BSL-1.0
//
// Goal: the contexts and the room in their TagCaches exceed the number of tags. No tag is given out
// twice, none is lost, and a context that waits for a tag gets one although the others go on.
//
// Method: each context allocates at random, keeps some requests, and frees them through its cache
// or past it. The data of each request states its holder. Waiters compete with contexts that
// allocate from their stashes and would otherwise never touch the bitmap again.
//
// Invariants: a request has one holder. After all caches are destroyed, every tag can be allocated
// once. A waiter has a tag before the others have done a million steps.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <blkown/blkown.hpp>
#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "effort.hpp"
#include "meeting.hpp"

namespace stress {
namespace {

/// The data of a request: a count of its holders, which is 0 or 1.
struct Slot {
  std::atomic<std::uint32_t> holders{0};
  std::uint64_t uses = 0;  // plain, so that a missing order between two holders shows
};

using Rq = blkown::Request<Slot>;
using Tags = blkown::TagSet<Rq>;
using Idle = blkown::Idle<Rq>;

/// Requests that threads allocate and free.
class TagUsers {
 protected:
  [[nodiscard]] Tags make_tags(std::uint32_t depth) {
    return std::move(*Tags::create({.depth = depth, .layout = blkown::CookieLayout::nbd()},
                                   blkown::EndSink<Rq>::to(sink_)));
  }

  /// Checks that a new request has no other holder.
  static void take_up(const Idle& idle) {
    Slot& slot = idle.data();
    EXPECT_EQ(slot.holders.fetch_add(1, std::memory_order_relaxed), 0U) << "given out twice";
    ++slot.uses;
  }
  static void give_back(Idle idle) {
    Slot& slot = idle.data();
    EXPECT_EQ(slot.holders.fetch_sub(1, std::memory_order_relaxed), 1U);
    std::move(idle).fail(blkown::Status::ok);
  }

  /// Checks that every tag can be allocated exactly once. Returns the number of all uses.
  static std::uint64_t expect_all_free(Tags& tags) {
    thread_cache = nullptr;
    auto cache = tags.tag_cache(blkown::QueueIndex{0}, 0);
    std::vector<Idle> idles;
    std::uint64_t uses = 0;
    while (auto idle = tags.allocate(blkown::QueueIndex{0}, cache)) {
      uses += idle->data().uses;
      take_up(*idle);
      idles.push_back(std::move(*idle));
    }
    EXPECT_EQ(idles.size(), tags.depth()) << "a tag was lost";
    for (Idle& idle : idles) give_back(std::move(idle));
    return uses;
  }

  /// The cache into which this thread frees tags. Null: the bitmap.
  static inline thread_local blkown::TagCache* thread_cache = nullptr;

 private:
  struct Sink {
    void operator()(blkown::EndedList<Rq>&& list) const {
      auto ended = list.pop_front();
      if (thread_cache != nullptr) {
        std::move(*ended).release(*thread_cache);
      } else {
        std::move(*ended).release();
      }
    }
  };
  Sink sink_;
};

struct Shortage {
  std::uint32_t depth;
  std::uint32_t capacity;  // of each context's cache
  std::uint32_t keeps;     // the maximum number of requests that a context keeps
};

void PrintTo(const Shortage& shortage, std::ostream* out) {
  *out << "depth " << shortage.depth << ", capacity " << shortage.capacity << ", keeps "
       << shortage.keeps;
}

class TagExhaustion : public ::testing::TestWithParam<Shortage>, protected TagUsers {};

TEST_P(TagExhaustion, GivesNoTagTwiceAndLosesNone) {
  constexpr unsigned contexts = 4;
  const auto [depth, capacity, keeps] = GetParam();
  const std::uint64_t steps = scaled(300'000, 20'000);
  Tags tags = make_tags(depth);
  std::array<std::uint64_t, contexts> had{};
  SpinBarrier barrier{contexts};
  const auto context = [&](unsigned number) {
    Random random{number};
    auto cache = tags.tag_cache(blkown::QueueIndex{0}, capacity);
    std::vector<Idle> kept;
    barrier.arrive_and_wait();
    for (std::uint64_t step = 0; step != steps; ++step) {
      if (random.one_in(4096)) std::this_thread::yield();
      if (random.one_in(256)) cache.flush();
      if (kept.size() < keeps && random.one_in(2)) {
        if (auto idle = tags.allocate(blkown::QueueIndex{0}, cache)) {
          take_up(*idle);
          ++had[number];
          kept.push_back(std::move(*idle));
        }
      } else if (!kept.empty()) {
        std::swap(kept[random.below(static_cast<std::uint32_t>(kept.size()))], kept.back());
        thread_cache = random.one_in(3) ? nullptr : &cache;
        give_back(std::move(kept.back()));
        kept.pop_back();
      }
    }
    thread_cache = nullptr;
    for (Idle& idle : kept) give_back(std::move(idle));
  };
  std::vector<std::thread> threads;
  for (unsigned number = 0; number != contexts; ++number) threads.emplace_back(context, number);
  for (auto& thread : threads) thread.join();

  std::uint64_t all = 0;
  for (const std::uint64_t mine : had) all += mine;
  EXPECT_NE(all, 0U);
  EXPECT_EQ(expect_all_free(tags), all);
}

INSTANTIATE_TEST_SUITE_P(Shortages, TagExhaustion,
                         ::testing::Values(Shortage{1, 1, 1}, Shortage{3, 4, 2}, Shortage{16, 8, 8},
                                           Shortage{70, 64, 40}, Shortage{200, 64, 80}),
                         [](const auto& instance) {
                           return "Depth" + std::to_string(instance.param.depth);
                         });

class TagWaiting : public ::testing::Test, protected TagUsers {
 protected:
  static constexpr std::uint64_t patience = 1'000'000;  // steps of the others

  /// Allocates a tag and waits for one while the others do `patience` steps; empty if none came.
  [[nodiscard]] static std::optional<Idle> allocate_or_wait(
      Tags& tags, blkown::TagCache& cache, const std::atomic<std::uint64_t>& steps) {
    auto idle = tags.allocate(blkown::QueueIndex{0}, cache);
    if (idle) return idle;
    const auto demand = tags.announce_demand(blkown::QueueIndex{0});
    const std::uint64_t began = steps.load(std::memory_order_relaxed);
    while (!(idle = tags.allocate(blkown::QueueIndex{0}, cache))) {
      if (steps.load(std::memory_order_relaxed) - began > patience) break;
      std::this_thread::yield();
    }
    return idle;
  }
};

TEST_F(TagWaiting, AWaiterGetsATagThoughOthersStashThemAll) {
  constexpr std::uint32_t depth = 4;
  const std::uint64_t waits = scaled(3'000, 500);
  Tags tags = make_tags(depth);
  std::atomic<std::uint64_t> steps{0};
  std::atomic<unsigned> waiting{2};
  SpinBarrier barrier{4};
  const auto hoarder = [&](unsigned) {
    auto cache = tags.tag_cache(blkown::QueueIndex{0}, depth);
    thread_cache = &cache;
    barrier.arrive_and_wait();
    while (waiting.load(std::memory_order_relaxed) != 0) {
      if (auto idle = tags.allocate(blkown::QueueIndex{0}, cache)) {
        take_up(*idle);
        give_back(std::move(*idle));
      }
      // Yields: without processor time for the waiters, the test would prove nothing about tags.
      if (steps.fetch_add(1, std::memory_order_relaxed) % 64 == 0) std::this_thread::yield();
    }
    thread_cache = nullptr;
  };
  const auto waiter = [&](unsigned) {
    auto cache = tags.tag_cache(blkown::QueueIndex{0}, 0);
    barrier.arrive_and_wait();
    for (std::uint64_t i = 0; i != waits; ++i) {
      auto idle = allocate_or_wait(tags, cache, steps);
      if (!idle) {
        ADD_FAILURE() << "no tag came in " << patience << " steps of the others";
        break;
      }
      take_up(*idle);
      give_back(std::move(*idle));
      // Lets the others fill their stashes again.
      std::this_thread::yield();
    }
    waiting.fetch_sub(1, std::memory_order_relaxed);
  };
  std::array<std::thread, 4> threads{std::thread{hoarder, 0}, std::thread{hoarder, 1},
                                     std::thread{waiter, 2}, std::thread{waiter, 3}};
  for (auto& thread : threads) thread.join();
  expect_all_free(tags);
}

}  // namespace
}  // namespace stress
