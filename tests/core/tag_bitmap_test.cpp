// SPDX-License-Identifier: BSL-1.0
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <blkown/detail/tag_bitmap.hpp>
#include <cstdint>
#include <random>
#include <set>
#include <vector>

using blkown::Tag;
using blkown::Word;
using blkown::detail::TagBitmap;

namespace {

/// A bitmap and its lines.
class Bitmap {
 public:
  explicit Bitmap(std::uint32_t depth, std::uint32_t reserved = 0)
      : lines_(TagBitmap::lines_for(depth)), bitmap_{lines_.data(), depth, reserved} {}
  TagBitmap* operator->() { return &bitmap_; }
  TagBitmap& operator*() { return bitmap_; }

 private:
  std::vector<TagBitmap::Line> lines_;
  TagBitmap bitmap_;
};

std::vector<std::uint32_t> tags_of(const TagBitmap::Run& run) {
  std::vector<std::uint32_t> tags;
  for (Word left = run.mask; left != 0; left &= left - 1) {
    tags.push_back(run.first_tag + static_cast<std::uint32_t>(std::countr_zero(left)));
  }
  return tags;
}

/// Takes all tags, at most `most` at a time, and checks that each comes once. Returns the tags.
std::set<std::uint32_t> take_all(TagBitmap& bitmap, std::uint32_t hint, std::uint32_t most) {
  std::set<std::uint32_t> taken;
  while (true) {
    const auto tags = tags_of(bitmap.take_run(hint, most));
    if (tags.empty()) return taken;
    EXPECT_LE(tags.size(), most);
    for (const std::uint32_t tag : tags) {
      EXPECT_TRUE(taken.insert(tag).second) << "tag " << tag << " was taken twice";
      EXPECT_EQ(bitmap.line_of(Tag{tag}), bitmap.line_of(Tag{tags.front()}));
    }
  }
}

std::set<std::uint32_t> all_below(std::uint32_t depth) {
  std::set<std::uint32_t> tags;
  for (std::uint32_t tag = 0; tag < depth; ++tag) tags.insert(tag);
  return tags;
}

}  // namespace

// Goal: exactly the tags that are not reserved are handed out, wherever in the words they lie.
TEST(TagBitmap, HandsOutWhatIsNotReserved) {
  for (const std::uint32_t depth : {2U, 7U, 64U, 65U, 300U}) {
    for (const std::uint32_t reserved : {1U, 3U, 31U, 32U, 63U, 64U, 65U, 200U}) {
      if (reserved >= depth) continue;
      Bitmap bitmap{depth, reserved};
      std::set<std::uint32_t> expected = all_below(depth);
      for (const std::uint32_t tag : all_below(reserved)) expected.erase(tag);
      EXPECT_EQ(bitmap->free_count(), depth - reserved);
      EXPECT_EQ(take_all(*bitmap, 0, 64), expected) << reserved << " of " << depth;
      EXPECT_EQ(bitmap->free_count(), 0U);
      Tag tag;
      for (std::uint32_t next = 0; next != reserved; ++next) {
        ASSERT_TRUE(bitmap->take_reserved(tag));
        EXPECT_EQ(tag, Tag{next});
      }
      EXPECT_FALSE(bitmap->take_reserved(tag));
      EXPECT_TRUE(bitmap->give(Tag{reserved - 1}));
      EXPECT_TRUE(bitmap->take_reserved(tag));
      EXPECT_EQ(tag, Tag{reserved - 1});
    }
  }
}

// Goal: each tag of the last word is handed out, and none beyond the depth.
TEST(TagBitmap, HandsOutEachTagOnceAtEveryDepth) {
  for (std::uint32_t depth = 1; depth <= 300; ++depth) {
    Bitmap bitmap{depth};
    EXPECT_EQ(take_all(*bitmap, depth % 7, 1), all_below(depth)) << depth;
    EXPECT_EQ(bitmap->taken_count(), depth);
    for (std::uint32_t tag = 0; tag < depth; ++tag) EXPECT_TRUE(bitmap->give(Tag{tag}));
    EXPECT_EQ(bitmap->taken_count(), 0U);
    EXPECT_EQ(take_all(*bitmap, 0, 5), all_below(depth))
        << depth << " after all tags were given back";
  }
}

TEST(TagBitmap, HandsOutEachTagOnceAtLargeDepths) {
  for (const std::uint32_t depth : {1023U, 1024U, 1025U, 4095U, 65536U}) {
    Bitmap bitmap{depth};
    EXPECT_EQ(take_all(*bitmap, 3, 64).size(), depth);
    EXPECT_EQ(bitmap->taken_count(), depth);
  }
}

// Goal: no two tags share a bit, so giving one back never frees another.
TEST(TagBitmap, HasABitOfItsOwnForEachTag) {
  for (const std::uint32_t depth : {1U, 5U, 16U, 17U, 63U, 64U, 100U, 257U}) {
    Bitmap bitmap{depth};
    for (std::uint32_t tag = 0; tag < depth; ++tag) {
      EXPECT_TRUE(bitmap->take(Tag{tag})) << depth << ' ' << tag;
      EXPECT_TRUE(bitmap->is_taken(Tag{tag}));
      EXPECT_EQ(bitmap->taken_count(), tag + 1);
      EXPECT_LT(bitmap->line_of(Tag{tag}), bitmap->line_count());
    }
    EXPECT_TRUE(bitmap->give(Tag{depth / 2}));
    for (std::uint32_t tag = 0; tag < depth; ++tag) {
      EXPECT_EQ(bitmap->is_taken(Tag{tag}), tag != depth / 2);
    }
  }
}

// Goal: a shallow queue is spread over several lines, and a deep queue uses whole words.
TEST(TagBitmap, SpreadsSmallDepthsOverSeveralLines) {
  EXPECT_EQ(TagBitmap::lines_for(1), 1U);
  EXPECT_EQ(TagBitmap::lines_for(4), 1U);
  EXPECT_EQ(TagBitmap::lines_for(5), 2U);
  EXPECT_EQ(TagBitmap::lines_for(8), 2U);
  for (std::uint32_t depth = 13; depth < 300; ++depth) {
    EXPECT_GE(TagBitmap::lines_for(depth), 4U) << depth;
  }
  EXPECT_EQ(TagBitmap::lines_for(4 * TagBitmap::word_bits), 4U);
  EXPECT_EQ(TagBitmap::lines_for(64 * TagBitmap::word_bits), 64U);
  EXPECT_EQ(TagBitmap::lines_for(64 * TagBitmap::word_bits + 1), 65U);
}

TEST(TagBitmap, KeepsItsWordsOnLinesOfTheirOwn) {
  EXPECT_EQ(sizeof(TagBitmap::Line), blkown::cache_line_bytes);
  EXPECT_EQ(alignof(TagBitmap::Line), blkown::cache_line_bytes);
  EXPECT_EQ(alignof(TagBitmap), blkown::detail::line_pair_bytes);
}

TEST(TagBitmap, RefusesATagThatIsTaken) {
  Bitmap bitmap{20};
  EXPECT_TRUE(bitmap->take(Tag{13}));
  EXPECT_FALSE(bitmap->take(Tag{13}));
  EXPECT_EQ(bitmap->taken_count(), 1U);
  EXPECT_TRUE(bitmap->give(Tag{13}));
  EXPECT_TRUE(bitmap->take(Tag{13}));
}

TEST(TagBitmap, NoticesATagGivenBackTwice) {
  Bitmap bitmap{20};
  ASSERT_TRUE(bitmap->take(Tag{7}));
  EXPECT_TRUE(bitmap->give(Tag{7}));
  EXPECT_FALSE(bitmap->give(Tag{7}));
  EXPECT_EQ(bitmap->taken_count(), 0U);
}

// Goal: giving several tags back reports a tag among them that was free already.
TEST(TagBitmap, NoticesAFreeTagAmongThoseGivenBackTogether) {
  Bitmap bitmap{20};
  std::uint32_t hint = 0;
  const TagBitmap::Run run = bitmap->take_run(hint, 3);
  ASSERT_EQ(std::popcount(run.mask), 3);
  const std::uint32_t line = bitmap->line_of(Tag{run.first_tag});
  EXPECT_TRUE(bitmap->give_run(line, run.mask & (run.mask - 1)));
  EXPECT_FALSE(bitmap->give_run(line, run.mask));
}

// Goal: neighbours go back each to its own word, whole words and parts of words, and no other tag.
TEST(TagBitmap, GivesNeighboursBackWhereverTheyBegin) {
  for (const std::uint32_t depth : {16U, 20U, 200U}) {
    for (std::uint32_t first = 0; first != depth; ++first) {
      Bitmap bitmap{depth};
      take_all(*bitmap, 0, depth);
      const std::uint32_t count = std::min(depth - first, 9 * depth / 16);
      EXPECT_TRUE(bitmap->give_neighbours(Tag{first}, count));
      for (std::uint32_t tag = 0; tag != depth; ++tag) {
        const bool is_given = tag >= first && tag < first + count;
        EXPECT_EQ(bitmap->is_taken(Tag{tag}), !is_given) << tag << " of " << depth;
      }
    }
  }
}

// Goal: a tag that was free already is reported, in whichever of the words it lies.
TEST(TagBitmap, NoticesAFreeTagAmongNeighbours) {
  for (std::uint32_t tag = 2; tag != 14; ++tag) {
    Bitmap bitmap{16};  // four words of four
    take_all(*bitmap, 0, 16);
    EXPECT_TRUE(bitmap->give(Tag{tag}));
    EXPECT_FALSE(bitmap->give_neighbours(Tag{2}, 12)) << tag;
  }
}

TEST(TagBitmap, TakesNothingFromAFullQueueOrForACountOfZero) {
  Bitmap bitmap{9};
  std::uint32_t hint = 1;
  EXPECT_EQ(bitmap->take_run(hint, 0).mask, 0U);
  EXPECT_EQ(take_all(*bitmap, 0, 64).size(), 9U);
  hint = 2;
  EXPECT_EQ(bitmap->take_run(hint, 1).mask, 0U);
  EXPECT_EQ(hint, 2U);
}

TEST(TagBitmap, TakesTheLowestFreeTagsOfAWord) {
  Bitmap bitmap{4 * TagBitmap::word_bits};
  std::uint32_t hint = 0;
  ASSERT_TRUE(bitmap->take(Tag{1}));
  EXPECT_EQ(tags_of(bitmap->take_run(hint, 3)), (std::vector<std::uint32_t>{0, 2, 3}));
}

// Goal: the lowest free tags come, whether they are neighbours or not.
TEST(TagBitmap, TakesTheLowestFreeTagsWhicheverAreTaken) {
  std::mt19937_64 random{20261130};
  for (int i = 0; i < 2000; ++i) {
    Bitmap bitmap{4 * TagBitmap::word_bits};
    // Few, some or many taken tags, one by one or as a block.
    Word taken = static_cast<Word>(random() & random());
    if (i % 3 == 0) taken = static_cast<Word>(~Word{0} << random() % TagBitmap::word_bits);
    if (i % 4 == 0) taken = static_cast<Word>(~taken);
    std::vector<std::uint32_t> expected;
    const auto most = static_cast<std::uint32_t>(random() % (TagBitmap::word_bits + 2));
    for (std::uint32_t tag = 0; tag < TagBitmap::word_bits; ++tag) {
      if (((taken >> tag) & 1) != 0) {
        ASSERT_TRUE(bitmap->take(Tag{tag}));
      } else if (expected.size() < most) {
        expected.push_back(tag);
      }
    }
    if (expected.empty()) continue;
    std::uint32_t hint = 0;
    EXPECT_EQ(tags_of(bitmap->take_run(hint, most)), expected);
  }
}

// Goal: the hint stays at a word that has free tags and moves on when the word has none.
TEST(TagBitmap, SearchesFromTheHintAndLeavesItWhereTagsWere) {
  Bitmap bitmap{16};  // four words of four
  std::uint32_t hint = 2;
  EXPECT_EQ(tags_of(bitmap->take_run(hint, 4)), (std::vector<std::uint32_t>{8, 9, 10, 11}));
  EXPECT_EQ(hint, 2U);
  EXPECT_EQ(tags_of(bitmap->take_run(hint, 1)), (std::vector<std::uint32_t>{12}));
  EXPECT_EQ(hint, 3U);
  EXPECT_EQ(tags_of(bitmap->take_run(hint, 9)), (std::vector<std::uint32_t>{13, 14, 15}));
  EXPECT_EQ(tags_of(bitmap->take_run(hint, 9)), (std::vector<std::uint32_t>{0, 1, 2, 3}));
  EXPECT_EQ(hint, 0U) << "the search wraps";
}

TEST(TagBitmap, TakesAHintFromAnotherQueueForTheFirstWord) {
  Bitmap bitmap{16};
  std::uint32_t hint = 4;
  EXPECT_EQ(tags_of(bitmap->take_run(hint, 1)), (std::vector<std::uint32_t>{0}));
  EXPECT_EQ(hint, 0U);
}

TEST(TagBitmap, KnowsWhetherAnyoneWaits) {
  Bitmap bitmap{4};
  EXPECT_FALSE(bitmap->has_demand());
  bitmap->begin_demand();
  bitmap->begin_demand();
  bitmap->end_demand();
  EXPECT_TRUE(bitmap->has_demand());
  bitmap->end_demand();
  EXPECT_FALSE(bitmap->has_demand());
}

TEST(TagBitmap, CountsItsCaches) {
  Bitmap bitmap{4};
  EXPECT_EQ(bitmap->add_cache(), 0U);
  EXPECT_EQ(bitmap->add_cache(), 1U);
  EXPECT_EQ(bitmap->cache_count(), 2U);
  bitmap->remove_cache();
  EXPECT_EQ(bitmap->cache_count(), 1U);
}
