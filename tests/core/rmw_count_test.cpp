// SPDX-License-Identifier: BSL-1.0
//
// Goal: the number of read-modify-writes of each operation. Read-modify-writes dominate an I/O's
// cost on an uncontended line, and their number does not depend on the machine.
// Method: the library is built with a counting atomic.

// clang-format off: the atomic provider must be included first.
#include "support/counting_atomic.hpp"
// clang-format on

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <expected>
#include <iostream>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "support/driver.hpp"

using blkown::Cookie;
using blkown::EndSink;
using blkown::Generation;
using blkown::QueueIndex;
using blkown::Tag;
using blkown::TagCache;
using support::ARef;
using support::Claim;
using support::Ended;
using support::EndedList;
using support::Idle;
using support::Owned;
using support::Request;
using support::TagSet;

namespace {

/// The number of read-modify-writes that `what` performs.
template <class F>
std::uint64_t rmws_of(F&& what) {
  const std::uint64_t before = support::atomic_counts.rmws;
  what();
  return support::atomic_counts.rmws - before;
}

/// A driver whose sink keeps ended I/Os, so that a test chooses where freeing their tags is
/// counted.
class Counting {
 public:
  explicit Counting(const blkown::TagSetConfig& config = support::two_queues_of_eight)
      : set{TagSet::create(config, EndSink<Request>::to(sink_)).value()} {}
  ~Counting() { free_tags(); }

  [[nodiscard]] Owned owned(std::uint32_t tag = 0) {
    return set.allocate_tag(QueueIndex{0}, Tag{tag}).value().start();
  }
  [[nodiscard]] Cookie in_flight() {
    Cookie sent;
    owned().publish([&](const Cookie& cookie) { sent = cookie; });
    return sent;
  }
  [[nodiscard]] Ended ended() { return ended_.pop_front().value(); }
  void free_tags() {
    while (ended_.pop_front().has_value()) {
    }
  }

 private:
  struct Keep {
    EndedList* list;
    void operator()(EndedList&& list_of_ended) const { list->append(std::move(list_of_ended)); }
  };
  EndedList ended_;
  Keep sink_{&ended_};

 public:
  TagSet set;
};

void print(const std::string& what, std::uint64_t rmws, std::uint64_t ios) {
  std::cout << what << ": " << rmws << " read-modify-writes for the tags of " << ios << " I/Os\n";
  testing::Test::RecordProperty("rmws", std::to_string(rmws));
}

}  // namespace

TEST(RmwCount, CountsTheCoresOwnAtomics) {
  Counting driver;
  const std::uint64_t stores = support::atomic_counts.stores;
  driver.owned().end_ok();
  EXPECT_EQ(support::atomic_counts.stores - stores, 2U) << "start and end are plain stores";
}

TEST(RmwCount, PublishClaimAndEndTakeOne) {
  Counting driver;
  Owned owned = driver.owned();
  EXPECT_EQ(rmws_of([&] {
              Cookie sent;
              std::move(owned).publish([&](const Cookie& cookie) { sent = cookie; });
              driver.set.claim(QueueIndex{0}, sent.value).value().end_ok();
            }),
            1U);
}

TEST(RmwCount, ABatchTakesOneForEachIoAndNoneForARefusedValue) {
  Counting driver;
  std::vector<std::uint64_t> values;
  for (std::uint32_t tag = 0; tag != 4; ++tag) {
    driver.owned(tag).publish([&](const Cookie& cookie) { values.push_back(cookie.value); });
  }
  values.push_back(values[0]);
  values.push_back(~std::uint64_t{0});
  std::uint32_t refused = 0;
  EXPECT_EQ(rmws_of([&] {
              driver.set.claim_each(QueueIndex{0}, values, [&](std::size_t, auto found) {
                if (found.has_value()) {
                  std::move(*found).end_ok();
                } else {
                  ++refused;
                }
              });
            }),
            4U);
  EXPECT_EQ(refused, 2U);
}

TEST(RmwCount, PublishTagToOwnedAndEndTakeOne) {
  Counting driver;
  Owned owned = driver.owned();
  EXPECT_EQ(rmws_of([&] {
              Cookie sent;
              std::move(owned).publish([&](const Cookie& cookie) { sent = cookie; });
              driver.set.tag_to_owned(QueueIndex{0}, sent.value).value().end_ok();
            }),
            1U);
}

TEST(RmwCount, SixStepsWithReferencesTakeFive) {
  Counting driver;
  Owned owned = driver.owned();
  EXPECT_EQ(rmws_of([&] {
              const std::uint64_t value = owned.next_cookie().value;
              std::optional<ARef> submitting = std::move(owned).into_shared();
              std::optional<ARef> mapping = *submitting;
              submitting.reset();
              ARef completed = driver.set.tag_to_rq(QueueIndex{0}, value).value();
              mapping.reset();
              Owned::try_from_shared(std::move(completed)).value().end_ok();
            }),
            5U);
}

TEST(RmwCount, SixStepsWithAClaimAndOnePinTakeThree) {
  Counting driver;
  Owned owned = driver.owned();
  EXPECT_EQ(rmws_of([&] {
              Claim claim = std::move(owned).into_claim();
              std::optional<ARef> mapping = claim.pin();
              Cookie sent;
              std::move(claim).publish([&](const Cookie& cookie) { sent = cookie; });
              Claim completed = driver.set.claim(QueueIndex{0}, sent.value).value();
              mapping.reset();
              support::take_value(std::move(completed).into_owned()).end_ok();
            }),
            3U);
}

TEST(RmwCount, ARefusedPublishTakesOneToTakeItBack) {
  Counting driver;
  Owned owned = driver.owned();
  EXPECT_EQ(rmws_of([&] {
              auto refused = std::move(owned).publish(
                  [](const Cookie&) -> std::expected<void, int> { return std::unexpected(1); });
              std::move(*refused.error().claim).end(blkown::Status::resource);
            }),
            1U);
}

TEST(RmwCount, AReleasedClaimTakesOneMoreForItsNextLookup) {
  Counting driver;
  const Cookie cookie = driver.in_flight();
  EXPECT_EQ(rmws_of([&] {
              driver.set.claim(QueueIndex{0}, cookie.value).value().release();
              driver.set.claim(QueueIndex{0}, cookie.value).value().end_ok();
            }),
            2U);
}

// Goal: a device that floods a driver with wrong ids causes no contention.
TEST(RmwCount, ARefusedLookupTakesNone) {
  Counting driver;
  Owned owned = driver.owned(1);
  const Cookie shared = driver.in_flight();
  const ARef pin = driver.set.tag_to_rq(QueueIndex{0}, shared.value).value();
  const blkown::CookieLayout layout = driver.set.layout();
  const std::uint64_t values[] = {
      layout.encode(QueueIndex{7}, Tag{0}, Generation{101}),   // no_such_queue
      layout.encode(QueueIndex{0}, Tag{9}, Generation{101}),   // no_such_tag
      layout.encode(QueueIndex{1}, Tag{0}, Generation{101}),   // wrong_queue
      layout.encode(QueueIndex{0}, Tag{0}, Generation{102}),   // early
      layout.encode(QueueIndex{0}, Tag{0}, Generation{99}),    // stale_generation
      layout.encode(QueueIndex{0}, Tag{1}, Generation{100}),   // owned
      layout.encode(QueueIndex{0}, Tag{2}, Generation{100})};  // idle
  EXPECT_EQ(
      rmws_of([&] {
        for (const std::uint64_t value : values) {
          EXPECT_FALSE(driver.set.claim(QueueIndex{0}, value).has_value());
          EXPECT_FALSE(driver.set.tag_to_rq(QueueIndex{0}, value).has_value());
          EXPECT_FALSE(driver.set.tag_to_owned(QueueIndex{0}, value).has_value());
        }
        EXPECT_FALSE(driver.set.tag_to_owned(QueueIndex{0}, shared.value).has_value());  // shared
      }),
      0U);
  Claim claim = driver.set.claim(QueueIndex{0}, shared.value).value();
  EXPECT_EQ(
      rmws_of([&] { EXPECT_FALSE(driver.set.claim(QueueIndex{0}, shared.value).has_value()); }),
      0U);
  EXPECT_EQ(rmws_of([&] { EXPECT_FALSE(blkown::claim(pin, shared).has_value()); }), 0U);
  std::move(claim).end_ok();
  std::move(owned).end_ok();
}

TEST(RmwCount, AllocateAndFreeTakeTwoWithoutACache) {
  Counting driver;
  TagCache cache = driver.set.tag_cache(QueueIndex{0}, 0);
  EXPECT_EQ(
      rmws_of([&] { driver.set.allocate(QueueIndex{0}, cache).value().fail(blkown::Status::ok); }),
      1U);
  EXPECT_EQ(rmws_of([&] { driver.ended().release(cache); }), 1U);
  EXPECT_EQ(
      rmws_of([&] { driver.set.allocate(QueueIndex{0}, cache).value().fail(blkown::Status::ok); }),
      1U);
  EXPECT_EQ(rmws_of([&] { driver.ended().release(); }), 1U);
}

TEST(RmwCount, AReservedTagTakesOneOrNone) {
  Counting driver{{.depth = 8, .reserved_depth = 1, .layout = blkown::CookieLayout::nbd()}};
  std::optional<Idle> idle;
  EXPECT_EQ(rmws_of([&] { idle = driver.set.allocate_reserved(QueueIndex{0}); }), 1U);
  ASSERT_TRUE(idle.has_value());
  EXPECT_EQ(rmws_of([&] { EXPECT_FALSE(driver.set.allocate_reserved(QueueIndex{0}).has_value()); }),
            0U);
  std::move(*idle).fail(blkown::Status::ok);
}

TEST(RmwCount, AllocationFromAFullQueueTakesNone) {
  Counting driver;
  TagCache cache = driver.set.tag_cache(QueueIndex{0}, 4);
  std::vector<Idle> idles;
  while (auto idle = driver.set.allocate(QueueIndex{0}, cache)) idles.push_back(*std::move(idle));
  EXPECT_EQ(rmws_of([&] { EXPECT_FALSE(driver.set.allocate(QueueIndex{0}, cache).has_value()); }),
            0U);
  for (Idle& idle : idles) std::move(idle).fail(blkown::Status::ok);
  EXPECT_EQ(rmws_of([&] {
              while (!idles.empty()) idles.pop_back();
            }),
            0U);
  driver.free_tags();
}

// Goal: with one I/O at a time, a cache accesses the bitmap once for a million I/Os.
TEST(RmwCount, AllocateAndFreeTakeNoneAmortisedWithACache) {
  constexpr std::uint64_t ios = 1'000'000;
  auto config = support::two_queues_of_eight;
  config.depth = 64;
  Counting driver{config};
  TagCache cache = driver.set.tag_cache(QueueIndex{0});
  const std::uint64_t rmws = rmws_of([&] {
    for (std::uint64_t io = 0; io < ios; ++io) {
      Cookie sent;
      driver.set.allocate(QueueIndex{0}, cache).value().start().publish([&](const Cookie& cookie) {
        sent = cookie;
      });
      driver.set.claim(QueueIndex{0}, sent.value).value().end_ok();
      driver.ended().release(cache);
    }
  });
  const std::uint64_t for_lookups = ios;
  print("one at a time", rmws - for_lookups, ios);
  EXPECT_EQ(rmws - for_lookups, 1U) << "the first allocation fills the cache";
}

// Goal: with 32 I/Os at a time, ending in any order, the cache never runs empty or full.
TEST(RmwCount, AllocateAndFreeTakeNoneAmortisedAtAnyOrderOfEnds) {
  constexpr std::uint64_t ios = 1'000'000;
  auto config = support::two_queues_of_eight;
  config.depth = 256;
  Counting driver{config};
  TagCache cache = driver.set.tag_cache(QueueIndex{0});
  std::mt19937 random{32};
  std::vector<Idle> in_flight;
  while (in_flight.size() < 32)
    in_flight.push_back(driver.set.allocate(QueueIndex{0}, cache).value());
  const std::uint64_t rmws = rmws_of([&] {
    for (std::uint64_t io = 0; io < ios; ++io) {
      Idle& ending = in_flight[random() % in_flight.size()];
      std::move(ending).fail(blkown::Status::ok);
      driver.ended().release(cache);
      ending = driver.set.allocate(QueueIndex{0}, cache).value();
    }
  });
  print("32 in flight, ended in any order", rmws, ios);
  EXPECT_EQ(rmws, 0U);
  for (Idle& idle : in_flight) std::move(idle).fail(blkown::Status::ok);
  driver.free_tags();
}

// Goal: in the worst case a cache still saves nine tenths of the read-modify-writes.
// Method: the number of I/Os in flight varies between 0 and 32 and the cache holds 8, so the cache
// is refilled and overflows all the time. Without a cache an I/O takes 2.
TEST(RmwCount, AllocateAndFreeTakeFewWhenTheLoadVaries) {
  constexpr std::uint64_t steps = 1'000'000;
  auto config = support::two_queues_of_eight;
  config.depth = 64;
  Counting driver{config};
  TagCache cache = driver.set.tag_cache(QueueIndex{0}, 8);
  std::mt19937 random{32};
  std::vector<Idle> in_flight;
  std::uint64_t ios = 0;
  const std::uint64_t rmws = rmws_of([&] {
    for (std::uint64_t step = 0; step < steps; ++step) {
      const bool submit = in_flight.empty() || (in_flight.size() < 32 && random() % 2 == 0);
      if (submit) {
        in_flight.push_back(driver.set.allocate(QueueIndex{0}, cache).value());
        ++ios;
      } else {
        std::swap(in_flight[random() % in_flight.size()], in_flight.back());
        std::move(in_flight.back()).fail(blkown::Status::ok);
        in_flight.pop_back();
        driver.ended().release(cache);
      }
    }
  });
  print("0 to 32 in flight, varying, a cache of 8", rmws, ios);
  EXPECT_GT(rmws, 0U);
  EXPECT_LT(rmws * 10, ios * 2);
  for (Idle& idle : in_flight) std::move(idle).fail(blkown::Status::ok);
  in_flight.clear();
  driver.free_tags();
}

// Goal: a cache gives back all tags of one word with one read-modify-write.
TEST(RmwCount, ACacheGivesTheTagsOfAWordBackTogether) {
  auto config = support::two_queues_of_eight;
  config.depth = 16;  // four words of four
  Counting driver{config};
  for (const std::uint32_t words : {1U, 2U, 4U}) {
    TagCache cache = driver.set.tag_cache(QueueIndex{0}, 16);
    for (std::uint32_t i = 0; i < 4 * words; ++i) {
      const Tag tag{i % words * 4 + i / words};  // a different word each time
      driver.owned(tag.value).end_ok();
      driver.ended().release(cache);
    }
    EXPECT_EQ(cache.size(), 4 * words);
    EXPECT_EQ(rmws_of([&] { cache.flush(); }), words);
    EXPECT_EQ(rmws_of([&] { cache.flush(); }), 0U) << "the cache is empty";
  }
}
