// SPDX-License-Identifier: BSL-1.0
//
// Goal: every access in one life of a request happens before every access in its next life, whether
// the tag passes through the bitmap or through a TagCache. A scan or a late completion never
// reaches another I/O than the one that it names.
//
// Method: two to four threads pass few requests on, without a barrier; see reuse.hpp.
//
// Invariants: every I/O ends once. The count of touches in the data is the number of its holders.
// The data belongs to the generation that the handle names.

#include <gtest/gtest.h>

#include <atomic>
#include <blkown/blkown.hpp>
#include <cstdint>
#include <utility>

#include "effort.hpp"
#include "meeting.hpp"
#include "race.hpp"
#include "reuse.hpp"

namespace stress {
namespace {

TEST_F(Reuse, OverTheBitmapTheNextLifeSeesTheLast) {
  const auto part = [this](Random& random) {
    auto cache = tags.tag_cache(blkown::QueueIndex{0}, 0);
    for (std::uint64_t i = 0; i != ios(); ++i) {
      auto owned = allocate(cache, random).start();
      touch(owned);
      dawdle(random);
      std::move(owned).end_ok();
    }
  };
  run(part, part, part);
  expect_touched(2 * 3 * ios());
}

TEST_F(Reuse, ThroughTagCachesTheNextLifeSeesTheLast) {
  sink = &free_into_cache;
  const auto part = [this](Random& random) {
    auto cache = tags.tag_cache(blkown::QueueIndex{0}, 2);
    thread_cache = &cache;
    for (std::uint64_t i = 0; i != ios(); ++i) {
      auto owned = allocate(cache, random).start();
      touch(owned);
      dawdle(random);
      std::move(owned).end_ok();
      if (random.one_in(4)) cache.flush();
    }
  };
  run(part, part, part);
  expect_touched(2 * 3 * ios());
}

// A guest chooses its tags. Of several threads that choose the same tag, one gets it.
TEST_F(Reuse, ThroughAllocateTagTheNextLifeSeesTheLast) {
  const auto part = [this](Random& random) {
    for (std::uint64_t i = 0; i != ios();) {
      auto idle = tags.allocate_tag(blkown::QueueIndex{0}, blkown::Tag{random.below(depth)});
      if (!idle) {
        wait_a_little(random);
        continue;
      }
      auto owned = std::move(*idle).start();
      touch(owned);
      dawdle(random);
      std::move(owned).end_ok();
      ++i;
    }
  };
  run(part, part, part);
  expect_touched(2 * 3 * ios());
}

// A scan pins the I/Os it meets and a timeout claims some of them, while others are completed and
// their tags used again. One of the two ends each I/O.
TEST_F(Reuse, AScanPinsTheIosOfItsCookies) {
  std::atomic<std::uint64_t> ended{0};
  const auto end_named = [&](auto& right) {
    expect_named(right);
    std::move(right).end_ok();
    ended.fetch_add(1, std::memory_order_relaxed);
  };
  const auto all_ended = [&] { return ended.load(std::memory_order_relaxed) == ios(); };
  const auto submitter = [&](Random& random) {
    auto cache = tags.tag_cache(blkown::QueueIndex{0}, 0);
    for (std::uint64_t i = 0; i != ios(); ++i) publish(allocate(cache, random));
  };
  const auto completer = [&](Random& random) {
    while (!all_ended()) {
      auto right = tags.claim(blkown::QueueIndex{0}, any_cookie(random));
      if (right.has_value()) {
        end_named(*right);
      } else {
        wait_a_little(random);
      }
    }
  };
  const auto scanner = [&](Random& random) {
    while (!all_ended()) {
      tags.for_each_in_flight(blkown::QueueIndex{0},
                              [&](BLKOWN_HELD const ARef& pin, const blkown::Cookie& cookie) {
                                EXPECT_EQ(pin.tag(), cookie.tag);
                                if (random.one_in(4)) return;
                                auto right = blkown::claim(pin, cookie);
                                if (!right.has_value()) return;
                                EXPECT_EQ(right->cookie(), cookie);
                                end_named(*right);
                              });
      wait_a_little(random);
    }
  };
  run(submitter, completer, scanner, scanner);
  expect_touched(3 * ios());
}

// A completion that is several I/Os of its tag late is refused.
TEST_F(Reuse, ALateCookieNeverReachesTheNextLife) {
  std::atomic<bool> over{false};
  const auto submitter = [&](Random& random) {
    auto cache = tags.tag_cache(blkown::QueueIndex{0}, 0);
    for (std::uint64_t i = 0; i != ios(); ++i) {
      blkown::Cookie made;
      auto owned = allocate(cache, random).start();
      owned.data().generation = owned.next_cookie().generation.value;
      std::move(owned).publish([&](blkown::Cookie cookie) {
        made = cookie;
        issue(cookie);
      });
      dawdle(random);
      auto right = tags.claim(blkown::QueueIndex{0}, made.value);
      if (!right.has_value()) continue;
      expect_named(*right);
      std::move(*right).end_ok();
    }
    over.store(true, std::memory_order_relaxed);
  };
  const auto late = [&](Random& random) {
    std::uint64_t kept = 0;
    while (!over.load(std::memory_order_relaxed)) {
      if (random.one_in(8)) kept = any_cookie(random);
      auto right = tags.claim(blkown::QueueIndex{0}, kept);
      dawdle(random);
      if (!right.has_value()) continue;
      EXPECT_EQ(right->cookie().value, kept);
      expect_named(*right);
      std::move(*right).end_ok();
    }
  };
  run(submitter, submitter, late, late);
  expect_touched(2 * 2 * ios());
}

// The cache of a context moves to another thread over a release/acquire flag, and back.
TEST_F(Reuse, ATagCacheMovesBetweenThreads) {
  sink = &free_into_cache;
  auto cache = tags.tag_cache(blkown::QueueIndex{0}, depth);
  std::atomic<unsigned> turn{0};
  const auto part = [&](unsigned mine) {
    return [&, mine](Random& random) {
      for (std::uint64_t i = 0; i != ios(); ++i) {
        while (turn.load(std::memory_order_acquire) != mine) wait_a_little(random);
        blkown::TagCache here = std::move(cache);
        thread_cache = &here;
        auto owned = std::move(*tags.allocate(blkown::QueueIndex{0}, here)).start();
        touch(owned);
        std::move(owned).end_ok();
        cache = std::move(here);
        turn.store(1 - mine, std::memory_order_release);
      }
    };
  };
  run(part(0), part(1));
  cache.flush();
  expect_touched(2 * 2 * ios());
}

}  // namespace
}  // namespace stress
