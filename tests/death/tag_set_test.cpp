// SPDX-License-Identifier: BSL-1.0
//
// Goal: tags that are given back twice, queues and caches that are not the TagSet's own, and a
// TagSet that goes while something of it is still out, are found out.

#include "violation_test.hpp"

namespace death {
namespace {

class TagNotTakenDeathTest : public ViolationTest<blkown::Violation::tag_not_taken> {};
class NoSuchQueueDeathTest : public ViolationTest<blkown::Violation::no_such_queue> {};
class TagCacheOfOtherDeathTest : public ViolationTest<blkown::Violation::tag_cache_of_other> {};
class TagCacheAliveDeathTest : public ViolationTest<blkown::Violation::tag_cache_alive> {
 protected:
  TagCacheAliveDeathTest() { prints("TagSet destroyed while 1 TagCache exists"); }
};
class RequestAliveDeathTest : public ViolationTest<blkown::Violation::request_alive> {
 protected:
  RequestAliveDeathTest() { prints("TagSet destroyed while 1 request is in use"); }
};

TEST_F(TagNotTakenDeathTest, AFreeTagIsNotReleased) {
  const std::string about = request_in("count 0");
  dies_here("Ended::release", about, [&] { device.freed_ended().release(); });
}

TEST_F(TagNotTakenDeathTest, NorByADrop) {
  dies("drop of Ended", request_in("count 0"), [&] { use(device.freed_ended()); });
  dies("drop of Ended", request_in("count 0"), [&] {
    device.list.push_back(device.freed_ended());
    device.list = EndedList{};
  });
}

TEST_F(TagNotTakenDeathTest, NorToACacheThatKeepsNothing) {
  dies("giving tags back", ", queue 1", [&] {
    blkown::TagCache cache = device.set->tag_cache(blkown::QueueIndex{1}, 0);
    device.freed_ended().release(cache);
  });
}

TEST_F(TagNotTakenDeathTest, NorByACacheThatKeepsItTwice) {
  dies("giving tags back", ", queue 1", [&] {
    blkown::TagCache cache = device.set->tag_cache(blkown::QueueIndex{1}, 2);
    device.freed_ended().release(cache);
    cache.flush();
  });
  dies("giving tags back", ", queue 1", [&] {
    blkown::TagCache cache = device.set->tag_cache(blkown::QueueIndex{1}, 2);
    device.freed_ended().release(cache);
  });
}

TEST_F(NoSuchQueueDeathTest, EveryOperationChecksItsQueue) {
  const auto visit = [](const ARef&, const blkown::Cookie&) {};
  TagSet& set = *device.set;
  dies_here("TagSet::tag_cache", ", queue 2", [&] { use(set.tag_cache(blkown::QueueIndex{2})); });
  dies_here("TagSet::tag_cache", ", queue 2",
            [&] { use(set.tag_cache(blkown::QueueIndex{2}, 8)); });
  dies_here("TagSet::announce_demand", ", queue 2",
            [&] { use(set.announce_demand(blkown::QueueIndex{2})); });
  dies_here("TagSet::taken_count", ", queue 2",
            [&] { use(set.taken_count(blkown::QueueIndex{2})); });
  dies_here("TagSet::free_count", ", queue 2", [&] { use(set.free_count(blkown::QueueIndex{2})); });
  dies_here("TagSet::for_each_in_flight", ", queue 2",
            [&] { set.for_each_in_flight(blkown::QueueIndex{2}, visit); });
  dies_here("TagSet::allocate", ", queue 2", [&] {
    use(set.allocate(blkown::QueueIndex{2}, device.cache_of(blkown::QueueIndex{1})));
  });
}

TEST_F(TagCacheOfOtherDeathTest, AllocateTakesAnOwnCache) {
  TagSet& set = *device.set;
  const std::string operation = "TagSet::allocate";
  dies_here(operation, ", queue 1", [&] {
    use(set.allocate(blkown::QueueIndex{1}, device.cache_of(blkown::QueueIndex{0})));
  });
  dies_here(operation, ", queue 1",
            [&] { use(set.allocate(blkown::QueueIndex{1}, device.cache_of_other_set())); });
  dies_here(operation, ", queue 1",
            [&] { use(set.allocate(blkown::QueueIndex{1}, device.moved_from_cache())); });
}

TEST_F(TagCacheOfOtherDeathTest, ReleaseTakesAnOwnCache) {
  const std::string operation = "Ended::release";
  dies_here(operation, ", queue 1",
            [&] { device.ended().release(device.cache_of(blkown::QueueIndex{0})); });
  dies_here(operation, ", queue 1", [&] { device.ended().release(device.cache_of_other_set()); });
  dies_here(operation, ", queue 1", [&] { device.ended().release(device.moved_from_cache()); });
  expect_silence([&] { device.ended().release(device.cache_of(blkown::QueueIndex{1})); });
}

TEST_F(TagCacheAliveDeathTest, ATagSetIsNotDestroyedWithACache) {
  dies("destruction of TagSet", ", queue 1", [&] {
    use(device.cache_of(blkown::QueueIndex{1}));
    device.set.reset();
  });
  expect_silence([&] {
    use(device.cache_of(blkown::QueueIndex{1}));
    device.cache.reset();
    device.set.reset();
  });
}

TEST_F(TagCacheAliveDeathTest, NorWithOneThatMoved) {
  dies("destruction of TagSet", ", queue 1", [&] {
    use(device.moved_from_cache());
    device.cache.reset();
    device.set.reset();
  });
}

TEST_F(TagCacheAliveDeathTest, NorAssignedOver) {
  dies("destruction of TagSet", ", queue 0", [&] {
    use(device.cache_of(blkown::QueueIndex{0}));
    *device.set = std::move(device.other_set());
  });
}

TEST_F(RequestAliveDeathTest, ATagSetIsNotDestroyedWithARequestInAnyState) {
  const std::string operation = "destruction of TagSet";
  const auto destroyed_with = [&](auto handle) {
    use(std::move(handle).into_raw());
    device.set.reset();
  };
  dies(operation, request_in("count 0"), [&] { destroyed_with(device.idle()); });
  dies(operation, request_in("count 0 owned"), [&] { destroyed_with(device.owned()); });
  dies(operation, request_in("count 3 claimed"), [&] { destroyed_with(device.pinned_claim()); });
  dies(operation, published_in("count 0 owned"), [&] { destroyed_with(device.claim()); });
  dies(operation, published_in("count 1"), [&] { destroyed_with(device.parked_aref()); });
  dies(operation, published_in("count 2"), [&] { destroyed_with(device.aref()); });
  dies(operation, published_in("count 2 finished"),
       [&] { destroyed_with(device.finished_claim()); });
}

TEST_F(RequestAliveDeathTest, TheRequestsOfAllQueuesAreCounted) {
  prints("TagSet destroyed while 2 requests are in use");
  dies("destruction of TagSet", ", queue 0 tag 0 generation 41 count 0", [&] {
    use(device.idle().into_raw());
    use(std::move(*device.set->allocate_tag(blkown::QueueIndex{0}, blkown::Tag{0})).into_raw());
    device.set.reset();
  });
}

TEST_F(RequestAliveDeathTest, NorWithAnEndedThatNobodyReleased) {
  dies("destruction of TagSet", request_in("count 0"), [&] {
    device.list.push_back(device.ended());
    device.set.reset();
  });
  expect_silence([&] {
    device.ended().release();
    device.set.reset();
  });
}

TEST_F(RequestAliveDeathTest, NorAssignedOver) {
  dies("destruction of TagSet", request_in("count 0 owned"), [&] {
    use(device.owned().into_raw());
    *device.set = std::move(device.other_set());
  });
}

}  // namespace
}  // namespace death
