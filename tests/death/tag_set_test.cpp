// SPDX-License-Identifier: BSL-1.0
//
// Goal: these are violations: giving a tag back twice, a queue or a cache that is not the TagSet's,
// and destroying a TagSet that is still in use.

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
  /// A TagSet is destroyed by `act` with one request in use, and says what gives that one back.
  void dies_with(const std::string& remedy, const std::string& about, const Act& act) {
    prints("TagSet destroyed while 1 request is in use", remedy);
    dies("destruction of TagSet", about, act);
  }
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
  dies("giving tags back", ", queue 1", [&] {
    blkown::TagCache cache = device.set->tag_cache(blkown::QueueIndex{1}, 0);
    blkown::TagCache moved = std::move(cache);
    device.freed_ended().release(moved);
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
  blkown::TagCache& cache = device.cache_of(blkown::QueueIndex{1});
  constexpr blkown::QueueIndex none{2};
  const std::string about = ", queue 2";
  dies_here("TagSet::tag_cache", about, [&] { use(set.tag_cache(none)); });
  dies_here("TagSet::tag_cache", about, [&] { use(set.tag_cache(none, 8)); });
  dies_here("TagSet::announce_demand", about, [&] { use(set.announce_demand(none)); });
  dies_here("TagSet::taken_count", about, [&] { use(set.taken_count(none)); });
  dies_here("TagSet::free_count", about, [&] { use(set.free_count(none)); });
  dies_here("TagSet::for_each_in_flight", about, [&] { set.for_each_in_flight(none, visit); });
  dies_here("TagSet::allocate", about, [&] { use(set.allocate(none, cache)); });
}

TEST_F(TagCacheOfOtherDeathTest, AllocateTakesAnOwnCache) {
  TagSet& set = *device.set;
  constexpr blkown::QueueIndex one{1};
  blkown::TagCache& of_zero = device.cache_of(blkown::QueueIndex{0});
  const std::string what = "TagSet::allocate";
  const std::string about = ", queue 1";
  dies_here(what, about, [&] { use(set.allocate(one, of_zero)); });
  dies_here(what, about, [&] { use(set.allocate(one, device.cache_of_other_set())); });
  dies_here(what, about, [&] { use(set.allocate(one, device.moved_from_cache())); });
}

TEST_F(TagCacheOfOtherDeathTest, ReleaseTakesAnOwnCache) {
  blkown::TagCache& of_zero = device.cache_of(blkown::QueueIndex{0});
  const std::string what = "Ended::release";
  const std::string about = ", queue 1";
  dies_here(what, about, [&] { device.ended().release(of_zero); });
  dies_here(what, about, [&] { device.ended().release(device.cache_of_other_set()); });
  dies_here(what, about, [&] { device.ended().release(device.moved_from_cache()); });
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

constexpr const char* release_or_fail = "release this request's Ended, or fail its Idle";
constexpr const char* end_a_handle = "end this I/O with its Owned or Claim";

TEST_F(RequestAliveDeathTest, ATagSetIsNotDestroyedWithARequestInAnyState) {
  const auto destroyed_with = [&](auto handle) {
    use(std::move(handle).into_raw());
    device.set.reset();
  };
  dies_with(release_or_fail, request_in("count 0"), [&] { destroyed_with(device.idle()); });
  dies_with(end_a_handle, request_in("count 0 owned"), [&] { destroyed_with(device.owned()); });
  dies_with("end this I/O with its Claim, and drop its pins", request_in("count 3 claimed"),
            [&] { destroyed_with(device.pinned_claim()); });
  dies_with(end_a_handle, published_in("count 0 owned"), [&] { destroyed_with(device.claim()); });
  dies_with("end this I/O, which the device has, at its completion or by for_each_in_flight",
            published_in("count 1"), [&] { destroyed_with(device.parked_aref()); });
  dies_with("drop the ARefs of this I/O, and end it", published_in("count 2"),
            [&] { destroyed_with(device.aref()); });
  dies_with("drop the pins of this ended I/O, such as a mapping in its own data",
            published_in("count 2 finished"), [&] { destroyed_with(device.finished_claim()); });
}

TEST_F(RequestAliveDeathTest, TheRequestsOfAllQueuesAreCounted) {
  prints("TagSet destroyed while 2 requests are in use", release_or_fail);
  const auto generation =
      blkown::detail::RefValue<blkown::Word>::idle_at(Device::begin).generation().value;
  const std::string where = ", queue 0 tag 0 generation " + std::to_string(generation) + " count 0";
  dies("destruction of TagSet", where, [&] {
    use(device.idle().into_raw());
    use(std::move(*device.set->allocate_tag(blkown::QueueIndex{0}, blkown::Tag{0})).into_raw());
    device.set.reset();
  });
}

TEST_F(RequestAliveDeathTest, NorWithAnUnreleasedEnded) {
  dies_with(release_or_fail, request_in("count 0"), [&] {
    device.list.push_back(device.ended());
    device.set.reset();
  });
  expect_silence([&] {
    device.ended().release();
    device.set.reset();
  });
}

TEST_F(RequestAliveDeathTest, NorAssignedOver) {
  dies_with(end_a_handle, request_in("count 0 owned"), [&] {
    use(device.owned().into_raw());
    *device.set = std::move(device.other_set());
  });
}

}  // namespace
}  // namespace death
