// SPDX-License-Identifier: BSL-1.0
//
// Goal: the heap of timers keeps their order while timers are added and removed.
// Method: random operations, compared with a std::set.

#include <gtest/gtest.h>

#include <blkown/mq/detail/timer_queue.hpp>
#include <blkown/sim/device/random.hpp>
#include <set>
#include <vector>

namespace {

using blkown::mq::detail::TimerLink;
using blkown::mq::detail::TimerQueue;

struct Before {
  bool operator()(const TimerLink* a, const TimerLink* b) const { return a->is_before(*b); }
};

TEST(TimerQueue, OfSeveralWithOneDeadlineTheFirstAddedComesFirst) {
  TimerQueue queue;
  TimerLink a, b, c, d, e;
  for (TimerLink* link : {&a, &b, &d, &e}) queue.add(*link, 5);
  queue.add(c, 4);
  for (TimerLink* expected : {&c, &a, &b, &d, &e}) {
    ASSERT_EQ(queue.first(), expected);
    queue.remove(*expected);
    EXPECT_FALSE(expected->is_queued());
  }
  EXPECT_EQ(queue.first(), nullptr);
}

TEST(TimerQueue, KeepsTheOrderThroughRandomChanges) {
  blkown::sim::Random random{7};
  for (int round = 0; round != 40; ++round) {
    TimerQueue queue;
    std::vector<TimerLink> links(64);
    std::set<TimerLink*, Before> reference;
    for (int step = 0; step != 2000; ++step) {
      TimerLink& link = links[static_cast<std::size_t>(random.below(links.size()))];
      if (link.is_queued()) {
        ASSERT_EQ(reference.erase(&link), 1U);
        queue.remove(link);
      } else {
        queue.add(link, random.below(50));
        ASSERT_TRUE(reference.insert(&link).second);
      }
      ASSERT_EQ(queue.first(), reference.empty() ? nullptr : *reference.begin());
    }
    while (!reference.empty()) {
      ASSERT_EQ(queue.first(), *reference.begin());
      reference.erase(reference.begin());
      queue.remove(*queue.first());
    }
    EXPECT_EQ(queue.first(), nullptr);
  }
}

}  // namespace
