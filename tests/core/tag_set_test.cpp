// SPDX-License-Identifier: BSL-1.0
//
// TagSet: allocating, scanning, moving. tag_set_lookup_test.cpp tests lookups.

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "support/driver.hpp"

using blkown::Cookie;
using blkown::EndSink;
using blkown::LookupReason;
using blkown::QueueIndex;
using blkown::Status;
using blkown::Tag;
using blkown::TagCache;
using support::ARef;
using support::Claim;
using support::Driver;
using support::Idle;
using support::Request;
using support::TagSet;

TEST(TagSet, SaysHowItWasMade) {
  Driver<> driver;
  EXPECT_EQ(driver.set.queue_count(), 2U);
  EXPECT_EQ(driver.set.depth(), 8U);
  EXPECT_EQ(driver.set.layout(), blkown::CookieLayout::nbd());
}

// Goal: allocate hands out each request once, whatever the cache takes in advance.
TEST(TagSet, AllocatesEachRequestOfAQueueOnce) {
  auto config = support::two_queues_of_eight;
  config.queue_count = 3;
  config.depth = 21;
  for (const std::uint32_t capacity : {0U, 1U, 5U, 64U}) {
    Driver<> driver{config};
    std::set<std::pair<std::uint32_t, std::uint32_t>> allocated;
    std::vector<Idle> idles;
    for (QueueIndex queue; queue.value < 3; ++queue.value) {
      TagCache cache = driver.set.tag_cache(queue, capacity);
      while (auto idle = driver.set.allocate(queue, cache)) {
        EXPECT_EQ(idle->queue(), queue);
        EXPECT_LT(idle->tag().value, 21U);
        allocated.insert({idle->queue().value, idle->tag().value});
        idles.push_back(*std::move(idle));
      }
    }
    EXPECT_EQ(idles.size(), 3U * 21U);
    EXPECT_EQ(allocated.size(), 3U * 21U);
    for (Idle& idle : idles) std::move(idle).fail(Status::ok);
  }
}

TEST(TagSet, AllocatesWhatWasFreed) {
  Driver<> driver;
  TagCache cache = driver.set.tag_cache(QueueIndex{1});
  std::vector<Idle> idles;
  while (auto idle = driver.set.allocate(QueueIndex{1}, cache)) idles.push_back(*std::move(idle));
  const Tag freed = idles[5].tag();
  std::move(idles[5]).fail(Status::ok);
  auto again = driver.set.allocate(QueueIndex{1}, cache);
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->tag(), freed);
  idles[5] = *std::move(again);
  for (Idle& idle : idles) std::move(idle).fail(Status::ok);
}

TEST(TagSet, MakesACacheOfAnEighthOfAQueueByDefault) {
  auto config = support::two_queues_of_eight;
  const auto capacity = [&](std::uint32_t depth) {
    config.depth = depth;
    return Driver<>{config}.set.tag_cache(QueueIndex{1}).capacity();
  };
  EXPECT_EQ(capacity(7), 0U);
  EXPECT_EQ(capacity(8), 1U);
  EXPECT_EQ(capacity(128), 16U);
  EXPECT_EQ(capacity(1024), 32U);
  EXPECT_EQ(Driver<>{}.set.tag_cache(QueueIndex{1}).queue(), QueueIndex{1});
}

TEST(TagSet, AllocatesAGivenTag) {
  Driver<> driver;
  auto idle = driver.set.allocate_tag(QueueIndex{1}, Tag{6});
  ASSERT_TRUE(idle.has_value());
  EXPECT_EQ(idle->queue(), QueueIndex{1});
  EXPECT_EQ(idle->tag(), Tag{6});
  EXPECT_FALSE(driver.set.allocate_tag(QueueIndex{1}, Tag{6}).has_value()) << "the tag is taken";
  EXPECT_TRUE(driver.set.allocate_tag(QueueIndex{0}, Tag{6}).has_value())
      << "the other queue's tag is free";
  std::move(*idle).fail(Status::ok);
  EXPECT_TRUE(driver.set.allocate_tag(QueueIndex{1}, Tag{6}).has_value());
}

// Goal: allocate_tag with a queue or tag that does not exist returns none and accesses nothing.
TEST(TagSet, AllocatesNoTagThatDoesNotExist) {
  Driver<> driver;
  EXPECT_FALSE(driver.set.allocate_tag(QueueIndex{2}, Tag{0}).has_value());
  EXPECT_FALSE(driver.set.allocate_tag(QueueIndex{~0U}, Tag{0}).has_value());
  EXPECT_FALSE(driver.set.allocate_tag(QueueIndex{0}, Tag{8}).has_value());
  EXPECT_FALSE(driver.set.allocate_tag(QueueIndex{0}, Tag{~0U}).has_value());
}

TEST(TagSet, AllocatesNoTagThatACacheHas) {
  Driver<> driver;
  TagCache cache = driver.set.tag_cache(QueueIndex{0}, 1);
  auto idle = driver.set.allocate(QueueIndex{0}, cache);
  const Tag tag = idle->tag();
  std::move(*idle).requeue();
  driver.sink.requeued.pop_front().value().release(cache);
  EXPECT_FALSE(driver.set.allocate_tag(QueueIndex{0}, tag).has_value());
  cache.flush();
  EXPECT_TRUE(driver.set.allocate_tag(QueueIndex{0}, tag).has_value());
}

TEST(TagSet, CachesGiveTagsBackDuringDemand) {
  Driver<> driver;
  TagCache hoard = driver.set.tag_cache(QueueIndex{0}, 8);
  TagCache poor = driver.set.tag_cache(QueueIndex{0}, 0);
  std::vector<Idle> idles;
  while (auto idle = driver.set.allocate(QueueIndex{0}, hoard)) idles.push_back(*std::move(idle));
  while (idles.size() > 1) {
    std::move(idles.back()).requeue();
    idles.pop_back();
    driver.sink.requeued.pop_front().value().release(hoard);
  }
  EXPECT_FALSE(driver.set.allocate(QueueIndex{0}, poor).has_value())
      << "the other context's cache has all tags";
  {
    auto wait = driver.set.announce_demand(QueueIndex{0});
    EXPECT_FALSE(driver.set.allocate(QueueIndex{0}, poor).has_value());
    const auto still_waiting = std::move(wait);
    std::move(idles.back()).requeue();
    idles.pop_back();
    driver.sink.requeued.pop_front().value().release(hoard);
    EXPECT_EQ(hoard.size(), 0U);
    EXPECT_TRUE(driver.set.allocate(QueueIndex{0}, poor).has_value());
  }
  auto idle = driver.set.allocate(QueueIndex{0}, hoard);
  EXPECT_GT(hoard.size(), 0U) << "no waiter is left";
  std::move(*idle).fail(Status::ok);
}

// Goal: a reserved tag is available when all others are taken, and only through allocate_reserved.
TEST(TagSet, KeepsReservedTagsApart) {
  auto config = support::two_queues_of_eight;
  config.reserved_depth = 2;
  Driver<> driver{config};
  TagCache cache = driver.set.tag_cache(QueueIndex{1}, 4);
  std::set<std::uint32_t> ordinary;
  std::vector<Idle> idles;
  while (auto idle = driver.set.allocate(QueueIndex{1}, cache)) {
    ordinary.insert(idle->tag().value);
    idles.push_back(*std::move(idle));
  }
  EXPECT_EQ(ordinary, (std::set<std::uint32_t>{2, 3, 4, 5, 6, 7}));
  auto first = driver.set.allocate_reserved(QueueIndex{1});
  auto second = driver.set.allocate_reserved(QueueIndex{1});
  ASSERT_TRUE(first.has_value() && second.has_value());
  EXPECT_EQ(first->tag(), Tag{0});
  EXPECT_EQ(second->tag(), Tag{1});
  EXPECT_EQ(second->queue(), QueueIndex{1});
  EXPECT_FALSE(driver.set.allocate_reserved(QueueIndex{1}).has_value()) << "two were reserved";
  EXPECT_FALSE(driver.set.allocate_reserved(QueueIndex{2}).has_value())
      << "the queue does not exist";

  // A cache does not keep a reserved tag, so allocate cannot hand it out.
  std::move(*second).requeue();
  driver.sink.requeued.pop_front().value().release(cache);
  EXPECT_EQ(cache.size(), 0U);
  EXPECT_FALSE(driver.set.allocate(QueueIndex{1}, cache).has_value());
  second = driver.set.allocate_reserved(QueueIndex{1});
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->tag(), Tag{1});

  std::move(*first).fail(Status::ok);
  std::move(*second).fail(Status::ok);
  for (Idle& idle : idles) std::move(idle).fail(Status::ok);
}

// Goal: in_flight counts published I/Os, pinned or not, and none that an Owned holds alone.
TEST(TagSet, CountsWhatIsInFlight) {
  Driver<> driver;
  EXPECT_EQ(driver.set.in_flight(), 0U);
  const Cookie parked = driver.in_flight(0);
  std::optional<ARef> shared = driver.owned(1, 1).into_shared();
  Claim pinned = driver.claimed(2);
  std::optional<ARef> pin = pinned.pin();
  EXPECT_EQ(driver.set.in_flight(), 3U);

  auto idle = driver.idle(3);
  auto owned = driver.owned(4);
  Claim alone = driver.claimed(5);
  EXPECT_EQ(driver.set.in_flight(), 3U);

  std::move(pinned).end_ok();
  EXPECT_EQ(driver.set.in_flight(), 3U) << "ended, still pinned";
  pin.reset();
  EXPECT_EQ(driver.set.in_flight(), 2U);
  std::move(idle).fail(Status::ok);
  std::move(owned).end_ok();
  std::move(alone).end_ok();
  support::Owned::try_from_shared(*std::move(shared)).value().end_ok();
  driver.complete(parked);
  EXPECT_EQ(driver.set.in_flight(), 0U);
}

TEST(TagSet, ScanVisitsWhatIsInFlightAndNotClaimedInOrderOfTags) {
  Driver<> driver;
  const Cookie parked = driver.in_flight(6);
  std::optional<ARef> shared = driver.owned(1).into_shared();
  Claim claimed = driver.claimed(2);
  auto pin = claimed.pin();
  auto idle = driver.idle(3);
  auto owned = driver.owned(4);
  Claim ended = driver.claimed(5);
  auto ended_pin = ended.pin();
  std::move(ended).end_ok();
  const Cookie other_queue = driver.in_flight(0, 1);

  std::vector<std::uint32_t> visited;
  driver.set.for_each_in_flight(QueueIndex{0}, [&](ARef visiting, const Cookie& cookie) {
    EXPECT_EQ(visiting.tag(), cookie.tag);
    EXPECT_EQ(visiting.queue(), cookie.queue);
    EXPECT_EQ(visiting.generation(), cookie.generation);
    EXPECT_EQ(cookie.value,
              driver.set.layout().encode(QueueIndex{0}, cookie.tag, cookie.generation));
    EXPECT_EQ(driver.state(cookie.tag.value), cookie.tag == Tag{1} ? "3" : "2");
    visited.push_back(cookie.tag.value);
  });
  EXPECT_EQ(visited, (std::vector<std::uint32_t>{1, 6}));
  EXPECT_EQ(driver.state(6), "1") << "the scan has dropped its pins";
  EXPECT_EQ(driver.state(1), "2");

  std::move(claimed).end_ok();
  std::move(idle).fail(Status::ok);
  std::move(owned).end_ok();
  shared.reset();
  driver.set.claim_any_generation(QueueIndex{0}, Tag{1}).value().end_ok();
  driver.complete(parked);
  driver.complete(other_queue);
}

TEST(TagSet, ScanMayClaimWhatItVisits) {
  Driver<> driver;
  for (std::uint32_t tag = 0; tag < 8; ++tag) static_cast<void>(driver.in_flight(tag, 1));
  driver.set.for_each_in_flight(QueueIndex{1}, [](ARef pin, const Cookie& cookie) {
    blkown::claim(pin, cookie).value().end(Status::aborted);
  });
  EXPECT_EQ(driver.sink.count(), 8U);
  EXPECT_EQ(driver.sink.last().status, Status::aborted);
  EXPECT_EQ(driver.set.in_flight(), 0U);
}

// Goal: a scan's cookie claims only the I/O that the scan saw.
TEST(TagSet, ScansCookieClaimsNoLaterPublication) {
  Driver<> driver;
  const Cookie first = driver.in_flight();
  Cookie second;
  driver.set.for_each_in_flight(QueueIndex{0}, [&](ARef pin, const Cookie& cookie) {
    EXPECT_EQ(cookie, first);
    second = Driver<>::publish(driver.claim(first));
    const auto refused = blkown::claim(pin, cookie);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().reason, LookupReason::stale_generation);
  });
  EXPECT_EQ(driver.sink.count(), 0U);
  driver.complete(second);
}

TEST(TagSet, ScanMayKeepThePinsAndVisitsIosPublishedDuringTheScan) {
  Driver<> driver;
  const Cookie first = driver.in_flight(0);
  std::vector<ARef> kept;
  driver.set.for_each_in_flight(QueueIndex{0}, [&](ARef pin, const Cookie& cookie) {
    kept.push_back(std::move(pin));
    if (cookie == first) static_cast<void>(driver.in_flight(7));
  });
  ASSERT_EQ(kept.size(), 2U) << "the I/O that is published during the scan at tag 7 is visited";
  EXPECT_EQ(driver.state(7), "2");
  kept.clear();
  driver.complete(first);
  driver.set.claim_any_generation(QueueIndex{0}, Tag{7}).value().end_ok();
}

TEST(TagSet, ScanPassesOverARequestAtTheLimitOfItsCount) {
  Driver<> driver;
  const Cookie cookie = driver.in_flight();
  support::preset_word(driver.header(), "limit");
  driver.set.for_each_in_flight(QueueIndex{0}, [](const ARef&, const Cookie&) { ADD_FAILURE(); });
  support::preset_word(driver.header(), "1");
  driver.complete(cookie);
}

// Goal: a move leaves existing handles, cookies and caches valid.
TEST(TagSet, MovesUnderItsLiveIos) {
  support::RecordingSink<Request> sink;
  auto made = TagSet::create(support::two_queues_of_eight, EndSink<Request>::to(sink)).value();
  TagCache cache = made.tag_cache(QueueIndex{0}, 4);
  auto idle = made.allocate(QueueIndex{0}, cache);
  const auto* const address = &idle->data();
  auto owned = std::move(*idle).start();

  TagSet set{std::move(made)};
  TagCache moved_cache{std::move(cache)};
  EXPECT_EQ(set.in_flight(), 0U);
  const Cookie cookie = Driver<>::publish(std::move(owned));
  Claim claim = set.claim(QueueIndex{0}, cookie.value).value();
  EXPECT_EQ(&claim.data(), address);
  std::move(claim).requeue();
  sink.requeued.pop_front().value().release(moved_cache);
  auto again = set.allocate(QueueIndex{0}, moved_cache);
  std::move(*again).fail(Status::ok);
  EXPECT_EQ(sink.count(), 2U);
}

TEST(TagSet, AssignedToDestroysTheRequestsItHad) {
  struct Counted {
    ~Counted() { ++*destroyed; }
    int* destroyed;
  };
  using Set = blkown::TagSet<blkown::Request<Counted>>;
  const auto make = [](int& destroyed) {
    return Set::create({.queue_count = 1, .depth = 5, .layout = blkown::CookieLayout::nbd()},
                       EndSink<blkown::Request<Counted>>::freeing(),
                       [&](QueueIndex, Tag) { return Counted{&destroyed}; })
        .value();
  };
  int first = 0;
  int second = 0;
  {
    Set set = make(first);
    set = make(second);
    EXPECT_EQ(first, 5);
    EXPECT_EQ(second, 0);
    Set& same = set;
    set = std::move(same);
    EXPECT_EQ(second, 0);
    EXPECT_EQ(set.depth(), 5U);
  }
  EXPECT_EQ(first, 5);
  EXPECT_EQ(second, 5);
}

TEST(TagSet, SurvivesBeingDestroyedWithEverythingBack) {
  Driver<> driver;
  for (std::uint32_t tag = 0; tag < 8; ++tag) driver.complete(driver.in_flight(tag));
  {
    TagCache cache = driver.set.tag_cache(QueueIndex{0}, 4);
  }
  TagSet destroyed{std::move(driver.set)};
}

// Goal: an ended I/O can be pinned while another pin is left; the end awaits all pins.
TEST(TagSetPinEnded, DelaysTheEndOfAnIoThatAnotherPinDelays) {
  Driver<> driver;
  constexpr blkown::QueueIndex queue{0};
  constexpr blkown::Tag tag{0};
  EXPECT_FALSE(driver.set.pin_ended(queue, tag).has_value()) << "idle";
  auto claim = driver.claimed();
  EXPECT_FALSE(driver.set.pin_ended(queue, tag).has_value()) << "owned";
  claim.data().sectors = 8;
  auto pin = std::optional{claim.pin()};
  EXPECT_FALSE(driver.set.pin_ended(queue, tag).has_value()) << "claimed";
  std::move(claim).end_ok();
  auto more = driver.set.pin_ended(queue, tag);
  ASSERT_TRUE(more.has_value());
  pin.reset();
  EXPECT_EQ(driver.sink.count(), 0U);
  EXPECT_TRUE(driver.set.pin_ended(queue, tag).has_value());
  EXPECT_EQ(driver.sink.count(), 0U);
  more.reset();
  EXPECT_EQ(driver.sink.count(), 1U);
  EXPECT_FALSE(driver.set.pin_ended(queue, tag).has_value()) << "idle again";
}
