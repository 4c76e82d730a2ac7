// SPDX-License-Identifier: BSL-1.0
//
// Ended, EndedList and EndSink.

#include <gtest/gtest.h>

#include <cstdint>
#include <initializer_list>
#include <utility>
#include <vector>

#include "support/driver.hpp"

using blkown::EndSink;
using blkown::QueueIndex;
using blkown::Status;
using blkown::Tag;
using support::Ended;
using support::EndedList;
using support::Request;
using support::TagSet;

namespace {

/// A TagSet whose sink keeps all ended requests in a list.
class Ending : public testing::Test {
 protected:
  /// An ended request of queue 0 with this status.
  Ended ended(std::uint32_t tag, Status status = Status::ok) {
    set_.allocate_tag(QueueIndex{0}, Tag{tag}).value().start().end(status);
    return list_.pop_front().value();
  }
  EndedList list_of(std::initializer_list<std::uint32_t> tags) {
    EndedList list;
    for (const std::uint32_t tag : tags) list.push_back(ended(tag));
    return list;
  }
  bool is_free(std::uint32_t tag) {
    auto idle = set_.allocate_tag(QueueIndex{0}, Tag{tag});
    if (!idle.has_value()) return false;
    std::move(*idle).fail(Status::ok);
    return list_.pop_front().has_value();
  }
  static std::vector<std::uint32_t> drain(EndedList& list) {
    std::vector<std::uint32_t> tags;
    while (auto ended = list.pop_front()) tags.push_back(ended->tag().value);
    return tags;
  }
  using Tags = std::vector<std::uint32_t>;

  EndedList list_;
  struct {
    EndedList* list;
    void operator()(EndedList&& ended) const { list->append(std::move(ended)); }
  } sink_{&list_};
  TagSet set_{TagSet::create(support::two_queues_of_eight, EndSink<Request>::to(sink_)).value()};
};

}  // namespace

TEST_F(Ending, SaysWhichIoEndedAndHow) {
  auto owned = set_.allocate_tag(QueueIndex{1}, Tag{3}).value().start();
  owned.data().sectors = 12;
  std::move(owned).end(Status::protection_error);
  Ended ended = list_.pop_front().value();
  EXPECT_EQ(ended.queue(), QueueIndex{1});
  EXPECT_EQ(ended.tag(), Tag{3});
  EXPECT_EQ(ended.status(), Status::protection_error);
  EXPECT_FALSE(ended.is_requeue());
  EXPECT_EQ(ended.data().sectors, 12);
  ended.data().sectors = 0;
}

TEST_F(Ending, KeepsTheTagUntilItIsReleased) {
  Ended ended = this->ended(2);
  EXPECT_FALSE(is_free(2));
  std::move(ended).release();
  EXPECT_TRUE(is_free(2));
}

TEST_F(Ending, FreesTheTagWhenItIsDropped) {
  {
    const Ended dropped = ended(2);
  }
  EXPECT_TRUE(is_free(2));
}

// Goal: the context's next allocation takes the tag from the cache, not from the bitmap.
TEST_F(Ending, PutsTheTagIntoACache) {
  blkown::TagCache cache = set_.tag_cache(QueueIndex{0}, 4);
  ended(2).release(cache);
  EXPECT_EQ(cache.size(), 1U);
  EXPECT_FALSE(is_free(2)) << "other contexts see the tag as taken";
  auto idle = set_.allocate(QueueIndex{0}, cache);
  ASSERT_TRUE(idle.has_value());
  EXPECT_EQ(idle->tag(), Tag{2});
  std::move(*idle).fail(Status::ok);
  list_.pop_front().value().release();
}

TEST_F(Ending, BecomesIdleAgainAfterARequeue) {
  set_.allocate_tag(QueueIndex{0}, Tag{2}).value().start().requeue();
  Ended ended = list_.pop_front().value();
  EXPECT_TRUE(ended.is_requeue());
  EXPECT_EQ(ended.status(), Status::ok);
  auto idle = std::move(ended).into_idle();
  EXPECT_EQ(idle.tag(), Tag{2});
  EXPECT_FALSE(is_free(2));
  std::move(idle).start().end(Status::aborted);
  EXPECT_FALSE(list_.empty());
  Ended again = list_.pop_front().value();
  EXPECT_FALSE(again.is_requeue()) << "the second time the I/O ended";
  EXPECT_EQ(again.status(), Status::aborted);
}

TEST_F(Ending, OfARequeueMayBeGivenUp) {
  set_.allocate_tag(QueueIndex{0}, Tag{2}).value().requeue();
  list_.pop_front().value().release();
  EXPECT_TRUE(is_free(2));
}

TEST_F(Ending, AssignedToFreesTheTagItHeld) {
  Ended ended = this->ended(1);
  ended = this->ended(2);
  EXPECT_TRUE(is_free(1));
  EXPECT_FALSE(is_free(2));
  EXPECT_EQ(ended.tag(), Tag{2});
}

TEST_F(Ending, SurvivesAMoveToItselfAndASwap) {
  Ended first = ended(1);
  Ended& same = first;
  first = std::move(same);
  EXPECT_EQ(first.tag(), Tag{1});
  Ended second = ended(2);
  std::swap(first, second);
  EXPECT_EQ(first.tag(), Tag{2});
  EXPECT_EQ(second.tag(), Tag{1});
  EXPECT_FALSE(is_free(1));
  EXPECT_FALSE(is_free(2));
}

TEST_F(Ending, ListKeepsTheOrder) {
  EndedList list = list_of({3, 1, 2});
  EXPECT_FALSE(list.empty());
  EXPECT_EQ(drain(list), (Tags{3, 1, 2}));
  EXPECT_TRUE(list.empty());
  EXPECT_FALSE(list.pop_front().has_value());
}

TEST_F(Ending, ListTakesMoreAfterItRanEmpty) {
  EndedList list = list_of({1});
  EXPECT_EQ(drain(list), (Tags{1}));
  list.push_back(ended(2));
  list.push_back(ended(3));
  EXPECT_EQ(drain(list), (Tags{2, 3}));
}

TEST_F(Ending, ListAppendsAnotherAtItsEnd) {
  EndedList list = list_of({1, 2});
  EndedList more = list_of({3, 4});
  list.append(std::move(more));
  more.push_back(ended(5));
  EXPECT_EQ(drain(more), (Tags{5})) << "a moved-from list is empty and usable";
  list.push_back(ended(6));
  EXPECT_EQ(drain(list), (Tags{1, 2, 3, 4, 6}));
}

TEST_F(Ending, ListAppendsToOrFromAnEmptyOne) {
  EndedList list;
  list.append(EndedList{});
  EXPECT_TRUE(list.empty());
  list.append(list_of({1, 2}));
  list.append(EndedList{});
  EXPECT_EQ(drain(list), (Tags{1, 2}));
}

TEST_F(Ending, ListAppendedToItselfStaysAsItIs) {
  EndedList list = list_of({1, 2});
  EndedList& same = list;
  list.append(std::move(same));
  EXPECT_EQ(drain(list), (Tags{1, 2}));
}

TEST_F(Ending, ListThatIsDroppedFreesItsTags) {
  {
    const EndedList dropped = list_of({1, 2, 3});
  }
  for (const std::uint32_t tag : {1U, 2U, 3U}) EXPECT_TRUE(is_free(tag));
}

TEST_F(Ending, ListMovesAndFreesWhatItHeldBefore) {
  EndedList from = list_of({1, 2});
  EndedList list = list_of({3});
  list = std::move(from);
  EXPECT_TRUE(is_free(3));
  EXPECT_EQ(drain(list), (Tags{1, 2}));
  EndedList moved{list_of({4, 5})};
  moved.push_back(ended(6));
  EndedList& same = moved;
  moved = std::move(same);
  EXPECT_EQ(drain(moved), (Tags{4, 5, 6}));
}

TEST(EndSink, FreeingFreesTheTags) {
  auto set = TagSet::create(support::two_queues_of_eight, EndSink<Request>::freeing()).value();
  for (int io = 0; io < 3; ++io) set.allocate_tag(QueueIndex{0}, Tag{1}).value().start().end_ok();
}

// Goal: a sink may be a plain function with a context pointer, as in C.
TEST(EndSink, CallsItsFunctionWithItsContext) {
  int calls = 0;
  const EndSink<Request> sink{[](void* context, EndedList&& list) {
                                ++*static_cast<int*>(context);
                                const EndedList dropped{std::move(list)};
                              },
                              &calls};
  auto set = TagSet::create(support::two_queues_of_eight, sink).value();
  set.allocate_tag(QueueIndex{0}, Tag{1}).value().start().end_ok();
  set.allocate_tag(QueueIndex{1}, Tag{1}).value().start().end_ok();
  EXPECT_EQ(calls, 2);
}

// Goal: the sink may free the tag and submit the next I/O before it returns.
TEST(EndSink, MayStartTheNextIoFromWithin) {
  struct Resubmit {
    TagSet* set = nullptr;
    int left = 5;
    void operator()(EndedList&& list) {
      list.pop_front().value().release();
      if (left-- > 0) set->allocate_tag(QueueIndex{0}, Tag{1}).value().start().end_ok();
    }
  } resubmit;
  auto set = TagSet::create(support::two_queues_of_eight, EndSink<Request>::to(resubmit)).value();
  resubmit.set = &set;
  set.allocate_tag(QueueIndex{0}, Tag{1}).value().start().end_ok();
  EXPECT_EQ(resubmit.left, -1);
}
