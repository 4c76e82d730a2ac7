// SPDX-License-Identifier: BSL-1.0
//
// TagCache. rmw_count_test.cpp counts the read-modify-writes that a cache saves.

#include <gtest/gtest.h>

#include <blkown/detail/tag_bitmap.hpp>
#include <blkown/request.hpp>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

using blkown::QueueIndex;
using blkown::Tag;
using blkown::TagCache;
using blkown::detail::TagBitmap;

namespace {

constexpr std::uint32_t no_tag = ~std::uint32_t{0};

/// The tags of one queue, allocated and freed as a TagSet does.
class Queue {
 public:
  explicit Queue(std::uint32_t depth)
      : lines_(TagBitmap::lines_for(depth)), bitmap{lines_.data(), depth} {
    core_.queue_count = 1;
    core_.depth = depth;
    core_.bitmaps = &bitmap;
  }

  TagCache cache(std::uint32_t capacity) const {
    return core_.make_cache(QueueIndex{0}, capacity, blkown::Place::current());
  }
  /// A tag, or `no_tag`.
  std::uint32_t take(TagCache& cache) const {
    Tag tag;
    return core_.take(QueueIndex{0}, cache, tag, blkown::Place::current()) ? tag.value : no_tag;
  }
  void give(TagCache& cache, std::uint32_t tag) const {
    core_.give(QueueIndex{0}, Tag{tag}, cache, blkown::Place::current());
  }
  std::vector<std::uint32_t> take(TagCache& cache, std::uint32_t count) const {
    std::vector<std::uint32_t> tags;
    for (std::uint32_t i = 0; i < count; ++i) tags.push_back(take(cache));
    return tags;
  }

 private:
  std::vector<TagBitmap::Line> lines_;
  blkown::detail::TagSetState core_;

 public:
  TagBitmap bitmap;
};

}  // namespace

TEST(TagCache, IsBoundedWhateverItIsAskedFor) {
  Queue queue{200};
  EXPECT_EQ(queue.cache(8).capacity(), 8U);
  EXPECT_EQ(queue.cache(0).capacity(), 0U);
  EXPECT_EQ(queue.cache(1000).capacity(), TagCache::max_capacity);
  EXPECT_EQ(queue.cache(8).size(), 0U);
  EXPECT_EQ(queue.cache(8).queue(), QueueIndex{0});
}

// Goal: a cache of any capacity hands out every tag of the queue once.
TEST(TagCache, HandsOutEachTagOnce) {
  for (const std::uint32_t capacity : {0U, 1U, 2U, 3U, 8U, 63U, 64U}) {
    for (std::uint32_t depth = 1; depth < 140; depth += 7) {
      Queue queue{depth};
      TagCache cache = queue.cache(capacity);
      std::set<std::uint32_t> tags;
      for (std::uint32_t i = 0; i < depth; ++i) tags.insert(queue.take(cache));
      EXPECT_EQ(tags.size(), depth) << "capacity " << capacity;
      EXPECT_LT(*tags.rbegin(), depth);
      EXPECT_EQ(queue.take(cache), no_tag);
    }
  }
}

TEST(TagCache, TakesTagsInBulkAndGivesTheLowestFirst) {
  Queue queue{64 * 8};
  TagCache cache = queue.cache(8);
  EXPECT_EQ(queue.take(cache), 0U);
  EXPECT_EQ(queue.bitmap.taken_count(), 4U) << "half of the capacity";
  EXPECT_EQ(cache.size(), 3U);
  EXPECT_EQ(queue.take(cache, 3), (std::vector<std::uint32_t>{1, 2, 3}));
  EXPECT_EQ(queue.bitmap.taken_count(), 4U);
}

// Goal: the tag that was given last, whose request is in the processor's cache, is taken next.
TEST(TagCache, GivesTheTagThatCameLast) {
  Queue queue{64};
  TagCache cache = queue.cache(8);
  const auto tags = queue.take(cache, 3);
  queue.give(cache, tags[1]);
  queue.give(cache, tags[0]);
  EXPECT_EQ(queue.take(cache), tags[0]);
  EXPECT_EQ(queue.take(cache), tags[1]);
}

TEST(TagCache, NeverHoldsMoreThanItsCapacity) {
  for (const std::uint32_t capacity : {1U, 2U, 3U, 7U, 8U, 64U}) {
    Queue queue{150};
    TagCache cache = queue.cache(capacity);
    const auto tags = queue.take(cache, 150);
    for (const std::uint32_t tag : tags) {
      queue.give(cache, tag);
      EXPECT_LE(cache.size(), capacity);
    }
    EXPECT_EQ(queue.bitmap.taken_count(), cache.size()) << "the other tags are free";
    EXPECT_GT(cache.size(), 0U);
  }
}

// Goal: a full cache gives back the half that was stored longest ago and keeps the other half.
TEST(TagCache, GivesTheOldestHalfBackWhenItIsFull) {
  Queue queue{64};
  TagCache cache = queue.cache(4);
  const auto tags = queue.take(cache, 5);
  queue.bitmap.begin_demand();  // makes the cache give back tags beyond those five
  queue.give(cache, queue.take(cache));
  queue.bitmap.end_demand();
  ASSERT_EQ(cache.size(), 0U);
  for (const std::uint32_t tag : tags) queue.give(cache, tag);
  EXPECT_EQ(cache.size(), 3U);
  EXPECT_FALSE(queue.bitmap.is_taken(Tag{tags[0]}));
  EXPECT_FALSE(queue.bitmap.is_taken(Tag{tags[1]}));
  EXPECT_EQ(queue.take(cache, 3), (std::vector<std::uint32_t>{tags[4], tags[3], tags[2]}));
}

TEST(TagCache, GivesTheLargerHalfBackIfItsCapacityIsOdd) {
  Queue queue{64};
  TagCache cache = queue.cache(3);
  const auto tags = queue.take(cache, 4);
  ASSERT_EQ(cache.size(), 0U);
  for (const std::uint32_t tag : tags) queue.give(cache, tag);
  EXPECT_EQ(queue.take(cache, 2), (std::vector<std::uint32_t>{tags[3], tags[2]}));
  EXPECT_EQ(cache.size(), 0U);
  EXPECT_FALSE(queue.bitmap.is_taken(Tag{tags[0]}));
  EXPECT_FALSE(queue.bitmap.is_taken(Tag{tags[1]}));
}

// Goal: tags of several words go back each to its own word, and the younger ones keep their order.
TEST(TagCache, GivesTagsOfSeveralWordsBack) {
  Queue queue{16};  // four words of four
  TagCache other = queue.cache(0);
  TagCache cache = queue.cache(8);
  const auto all = queue.take(other, 16);
  for (const std::uint32_t tag : {0U, 4U, 1U, 8U, 5U, 12U, 2U, 9U}) queue.give(cache, tag);
  ASSERT_EQ(queue.bitmap.taken_count(), 16U);
  queue.give(cache, 6);
  for (std::uint32_t tag = 0; tag != 16; ++tag) {
    const bool is_oldest = tag == 0 || tag == 4 || tag == 1 || tag == 8;
    EXPECT_EQ(queue.bitmap.is_taken(Tag{tag}), !is_oldest) << tag;
  }
  EXPECT_EQ(queue.take(cache, 5), (std::vector<std::uint32_t>{6, 9, 2, 12, 5}));
  cache.flush();
  for (const std::uint32_t tag : all) {
    if (queue.bitmap.is_taken(Tag{tag})) queue.give(other, tag);
  }
  EXPECT_EQ(queue.bitmap.taken_count(), 0U);
}

// Goal: tags that were given in ascending order go back alone, in two words, and the younger ones
// keep their order; so do tags in which only the last one is out of order.
TEST(TagCache, GivesNeighboursBack) {
  for (const std::uint32_t fifth : {7U, 11U}) {
    Queue queue{16};  // four words of four
    TagCache other = queue.cache(0);
    TagCache cache = queue.cache(10);
    const auto all = queue.take(other, 16);
    for (const std::uint32_t tag : {3U, 4U, 5U, 6U, fifth, 8U, 0U, 9U, 1U, 14U}) {
      queue.give(cache, tag);
    }
    ASSERT_EQ(queue.bitmap.taken_count(), 16U);
    queue.give(cache, 2);
    for (const std::uint32_t tag : all) {
      const bool is_oldest = (tag >= 3 && tag <= 6) || tag == fifth;
      EXPECT_EQ(queue.bitmap.is_taken(Tag{tag}), !is_oldest) << tag;
    }
    EXPECT_EQ(queue.take(cache, 6), (std::vector<std::uint32_t>{2, 14, 1, 9, 0, 8}));
    EXPECT_EQ(cache.size(), 0U);
    for (const std::uint32_t tag : all) {
      if (queue.bitmap.is_taken(Tag{tag})) queue.give(other, tag);
    }
  }
}

TEST(TagCache, OfCapacityZeroKeepsNothing) {
  Queue queue{16};
  TagCache cache = queue.cache(0);
  const std::uint32_t tag = queue.take(cache);
  EXPECT_EQ(queue.bitmap.taken_count(), 1U);
  EXPECT_EQ(cache.size(), 0U);
  queue.give(cache, tag);
  EXPECT_EQ(queue.bitmap.taken_count(), 0U);
  EXPECT_EQ(cache.size(), 0U);
}

TEST(TagCache, OfCapacityOneKeepsTheLastTag) {
  Queue queue{16};
  TagCache cache = queue.cache(1);
  const auto tags = queue.take(cache, 2);
  EXPECT_EQ(queue.bitmap.taken_count(), 2U) << "one at a time";
  queue.give(cache, tags[0]);
  queue.give(cache, tags[1]);
  EXPECT_EQ(cache.size(), 1U);
  EXPECT_FALSE(queue.bitmap.is_taken(Tag{tags[0]}));
  EXPECT_EQ(queue.take(cache), tags[1]);
}

TEST(TagCache, FlushGivesEverythingBack) {
  Queue queue{64};
  TagCache cache = queue.cache(16);
  const std::uint32_t held = queue.take(cache);
  EXPECT_GT(cache.size(), 0U);
  cache.flush();
  EXPECT_EQ(cache.size(), 0U);
  EXPECT_EQ(queue.bitmap.taken_count(), 1U);
  EXPECT_TRUE(queue.bitmap.is_taken(Tag{held}));
}

// Goal: while a waiter announces demand, a cache gives its tags back at its next operation.
TEST(TagCache, TakingGivesTheTagsBackDuringDemand) {
  Queue queue{64};
  TagCache cache = queue.cache(16);
  ASSERT_NE(queue.take(cache), no_tag);
  ASSERT_EQ(queue.bitmap.taken_count(), 8U);
  queue.bitmap.begin_demand();
  EXPECT_NE(queue.take(cache), no_tag);
  EXPECT_EQ(cache.size(), 0U);
  EXPECT_EQ(queue.bitmap.taken_count(), 2U);
  EXPECT_NE(queue.take(cache), no_tag) << "the cache takes the tag that it needs";
  EXPECT_EQ(queue.bitmap.taken_count(), 3U) << "and no further tag";
  queue.bitmap.end_demand();
}

TEST(TagCache, GivingGivesTheTagsBackDuringDemand) {
  Queue queue{64};
  TagCache cache = queue.cache(16);
  const auto tags = queue.take(cache, 2);
  queue.bitmap.begin_demand();
  queue.give(cache, tags[0]);
  EXPECT_EQ(cache.size(), 0U);
  EXPECT_EQ(queue.bitmap.taken_count(), 1U);
  queue.bitmap.end_demand();
  queue.give(cache, tags[1]);
  EXPECT_EQ(cache.size(), 1U) << "no waiter is left";
}

TEST(TagCache, ContextsBeginAtDifferentWords) {
  Queue queue{64};
  std::set<std::uint32_t> lines;
  TagCache caches[] = {queue.cache(0), queue.cache(0), queue.cache(0), queue.cache(0)};
  for (TagCache& cache : caches) lines.insert(queue.bitmap.line_of(Tag{queue.take(cache)}));
  EXPECT_EQ(lines.size(), 4U);
}

TEST(TagCache, SearchesOnAtItsWordAfterAMove) {
  Queue queue{16};
  TagCache first = queue.cache(0);
  TagCache second = queue.cache(0);
  EXPECT_EQ(queue.take(second), 4U);
  TagCache moved{std::move(second)};
  EXPECT_EQ(queue.take(moved), 5U);
  first = std::move(moved);
  EXPECT_EQ(queue.take(first), 6U);
}

TEST(TagCache, OneContextsTagsAreNotAnothers) {
  Queue queue{64};
  TagCache first = queue.cache(16);
  TagCache second = queue.cache(16);
  std::set<std::uint32_t> tags;
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(tags.insert(queue.take(first)).second);
    EXPECT_TRUE(tags.insert(queue.take(second)).second);
  }
}

TEST(TagCache, GivesAllBackAtItsEnd) {
  Queue queue{64};
  {
    TagCache cache = queue.cache(16);
    queue.give(cache, queue.take(cache));
    EXPECT_EQ(queue.bitmap.cache_count(), 1U);
    EXPECT_EQ(queue.bitmap.taken_count(), 8U);
  }
  EXPECT_EQ(queue.bitmap.taken_count(), 0U);
  EXPECT_EQ(queue.bitmap.cache_count(), 0U);
}

TEST(TagCache, MovesWithWhatItHolds) {
  Queue queue{64};
  TagCache from = queue.cache(16);
  const std::uint32_t tag = queue.take(from);
  queue.give(from, tag);
  const std::uint32_t size = from.size();
  TagCache to{std::move(from)};
  EXPECT_EQ(to.size(), size);
  EXPECT_EQ(to.capacity(), 16U);
  EXPECT_EQ(from.size(), 0U);
  EXPECT_EQ(queue.take(to), tag);
  EXPECT_EQ(queue.bitmap.cache_count(), 1U) << "a moved cache is registered once";
  EXPECT_EQ(queue.bitmap.taken_count(), 8U);
}

// Goal: assigning over a cache gives its tags back, and each cache is deregistered once.
TEST(TagCache, GivesItsOwnTagsBackWhenItIsAssignedTo) {
  Queue queue{64};
  {
    TagCache to = queue.cache(8);
    TagCache from = queue.cache(16);
    queue.give(to, queue.take(to));
    queue.give(from, queue.take(from));
    ASSERT_EQ(queue.bitmap.taken_count(), 4U + 8U);
    to = std::move(from);
    EXPECT_EQ(queue.bitmap.taken_count(), 8U);
    EXPECT_EQ(queue.bitmap.cache_count(), 1U);
    EXPECT_EQ(to.size(), 8U);
  }
  EXPECT_EQ(queue.bitmap.cache_count(), 0U);
  EXPECT_EQ(queue.bitmap.taken_count(), 0U);
}

TEST(TagCache, SurvivesAMoveToItself) {
  Queue queue{64};
  TagCache cache = queue.cache(16);
  queue.give(cache, queue.take(cache));
  TagCache& same = cache;
  cache = std::move(same);
  EXPECT_EQ(cache.size(), 8U);
  EXPECT_EQ(queue.bitmap.taken_count(), 8U);
}
