// SPDX-License-Identifier: BSL-1.0
//
// Theme: the next life of a tag.
//
// Goal: all accesses of one life of a request happen before its next life, wherever that begins. A
// value or a pin of an earlier life never reaches a later one, unless it carries no generation.
// Method: one thread ends an I/O, another begins the next one on the tag, through the bitmap or a
// TagCache, with late completions and scans in between.
// Invariants: as in theme pins.

#include "fixture.hpp"

namespace reuse {

/// End, then allocation of the same tag on another thread.
enum class Through { allocate_tag, allocate, stash };

template <Through How>
struct EndAllocate : Device {
  EndAllocate() { publish(start()); }
  void ends_it() {
    auto claim = set().claim(QueueIndex{0}, wire());
    model::check(claim.has_value(), "no other thread claims");
    write_and_end(std::move(*claim));
  }
  void allocates() {
    if constexpr (How == Through::allocate_tag) {
      if (auto idle = set().allocate_tag(QueueIndex{0}, Tag{0}))
        write_and_end(begin(std::move(*idle)));
    } else {
      // No other thread uses the counters of the caches here, so the counters are not modelled.
      if (auto idle = set().allocate(QueueIndex{0}, cache)) write_and_end(begin(std::move(*idle)));
      cache.flush();
    }
  }
  void finish() { check_all_ended(); }
  blkown::TagCache cache = set().tag_cache(QueueIndex{0}, How == Through::stash ? 4 : 0);
};
template <Through How>
using AddEnd = Add<EndAllocate<How>, &EndAllocate<How>::ends_it, &EndAllocate<How>::allocates>;
const AddEnd<Through::allocate_tag> end_allocate_tag{"reuse",
                                                     "end, then allocate_tag on another thread"};
const AddEnd<Through::allocate> end_allocate{"reuse", "end, then allocate on another thread"};
const AddEnd<Through::stash> end_stash{"reuse", "end, then allocate through a TagCache"};

/// The same while a third thread changes another tag of the same bitmap word: the release sequence
/// of the bit continues through that change.
template <Through How>
struct Neighbour : Device {
  Neighbour() : Device{2} { publish(start()); }
  void ends_it() {
    auto claim = set().claim(QueueIndex{0}, wire());
    model::check(claim.has_value(), "no other thread claims");
    write_and_end(std::move(*claim));
  }
  void changes_neighbour() {
    if (auto idle = set().allocate_tag(QueueIndex{0}, Tag{1}))
      write_and_end(begin(std::move(*idle)));
  }
  void allocates() {
    if constexpr (How == Through::allocate_tag) {
      if (auto idle = set().allocate_tag(QueueIndex{0}, Tag{0}))
        write_and_end(begin(std::move(*idle)));
    } else {
      if (auto idle = set().allocate(QueueIndex{0}, cache)) write_and_end(begin(std::move(*idle)));
      cache.flush();
    }
  }
  void finish() { check_all_ended(); }
  blkown::TagCache cache = set().tag_cache(QueueIndex{0}, How == Through::stash ? 4 : 0);
};
template <Through How>
using AddNeighbour = Add<Neighbour<How>, &Neighbour<How>::ends_it,
                         &Neighbour<How>::changes_neighbour, &Neighbour<How>::allocates>;
const AddNeighbour<Through::allocate_tag> neighbour_allocate_tag{"reuse",
                                                                 "end, another tag, allocate_tag"};
const AddNeighbour<Through::allocate> neighbour_allocate{"reuse", "end, another tag, allocate"};
const AddNeighbour<Through::stash> neighbour_stash{"reuse",
                                                   "end, another tag, allocate through a TagCache"};

/// Two contexts allocate from one word at once: never the same tag twice, and none is lost.
struct AllocateTwo : Device {
  AllocateTwo() : Device{2} {}
  blkown::TagCache a = set().tag_cache(QueueIndex{0}, 0);
  blkown::TagCache b = set().tag_cache(QueueIndex{0}, 2);
  std::uint32_t found = 0;
  void allocates(blkown::TagCache& cache) {
    auto idle = set().allocate(QueueIndex{0}, cache);
    model::check(idle.has_value(), "there is a tag for each of two");
    ++found;
    write_and_end(begin(std::move(*idle)));
    cache.flush();
  }
  void first_context() { allocates(a); }
  void second_context() { allocates(b); }
  void finish() {
    model::check(found == 2, "both found one");
    check_all_ended();
  }
};
const Add<AllocateTwo, &AllocateTwo::first_context, &AllocateTwo::second_context> allocate_two{
    "reuse", "two contexts allocate at once"};

/// A TagCache holds a free tag for which another context waits. At its next operation the cache
/// gives the tag back, and the waiting context finds it afterwards.
struct Waiting : Device {
  explicit Waiting(std::uint32_t depth = 2, std::uint32_t capacity = 4)
      : Device{depth}, cache{set().tag_cache(QueueIndex{0}, capacity)} {}
  blkown::TagCache cache;
  blkown::TagCache other = set().tag_cache(QueueIndex{0}, 0);
  model::atomic<bool> waiting{false};
  model::atomic<bool> given{false};
  void uses_cache() {
    // The first allocation stashes both tags and takes one.
    auto idle = set().allocate(QueueIndex{0}, cache);
    model::check(idle.has_value(), "both tags are free");
    Owned owned = begin(std::move(*idle));
    static_cast<void>(waiting.await_equal(true, acquire));
    keep_list = true;
    std::move(owned).end_ok();
    keep_list = false;
    std::move(*kept).release(cache);
    kept.reset();
    given.store(true, release);
  }
  void waits() {
    const auto wait = set().announce_demand(QueueIndex{0});
    waiting.store(true, release);
    static_cast<void>(given.await_equal(true, acquire));
    auto idle = set().allocate(QueueIndex{0}, other);
    model::check(idle.has_value(), "a TagCache gives tags back for a waiter");
    write_and_end(begin(std::move(*idle)));
  }
  void finish() {
    model::check(cache.size() == 0, "no tag is stashed while a context waits");
    check_all_ended();
  }
};
const Add<Waiting, &Waiting::uses_cache, &Waiting::waits> waiting{
    "reuse", "a TagCache gives tags back for a waiter"};

/// The same when the next operation takes a tag: the cache gives the rest of its tags back.
struct WaitingTake : Waiting {
  WaitingTake() : Waiting{3, 6} {}
  void uses_cache() {
    // Takes all three tags and uses one. If the other thread waits already, the cache takes only
    // that tag.
    auto idle = set().allocate(QueueIndex{0}, cache);
    model::check(idle.has_value(), "all tags are free");
    Owned owned = begin(std::move(*idle));
    static_cast<void>(waiting.await_equal(true, acquire));
    auto next = set().allocate(QueueIndex{0}, cache);
    model::check(next.has_value(), "the other two tags are free");
    given.store(true, release);
    write_and_end(begin(std::move(*next)));
    write_and_end(std::move(owned));
  }
};
const Add<WaitingTake, &WaitingTake::uses_cache, &WaitingTake::waits> waiting_take{
    "reuse", "a TagCache that takes gives tags back for a waiter"};

/// A TagCache and its tags move to another thread over a release/acquire channel.
struct MoveCache : Device {
  std::optional<blkown::TagCache> cache{set().tag_cache(QueueIndex{0}, 4)};
  model::atomic<bool> moved{false};
  MoveCache() { publish(start()); }
  void ends_it() {
    auto claim = set().claim(QueueIndex{0}, wire());
    model::check(claim.has_value(), "no other thread claims");
    keep_list = true;
    write_and_end(std::move(*claim));
    std::move(*kept).release(*cache);
    kept.reset();
    moved.store(true, release);
  }
  void goes_on() {
    static_cast<void>(moved.await_equal(true, acquire));
    auto idle = set().allocate(QueueIndex{0}, *cache);
    model::check(idle.has_value(), "the stash has the tag");
    keep_list = false;
    write_and_end(begin(std::move(*idle)));
    cache.reset();
  }
  void finish() { check_all_ended(); }
};
const Add<MoveCache, &MoveCache::ends_it, &MoveCache::goes_on> move_cache{
    "reuse", "end to re-allocation on another thread through a TagCache"};

/// The stash is flushed instead of moved, and the other thread allocates from the bitmap.
struct FlushCache : MoveCache {
  void ends_it() {
    auto claim = set().claim(QueueIndex{0}, wire());
    model::check(claim.has_value(), "no other thread claims");
    keep_list = true;
    write_and_end(std::move(*claim));
    keep_list = false;
    std::move(*kept).release(*cache);
    kept.reset();
    cache->flush();
  }
  void allocates() {
    if (auto idle = set().allocate_tag(QueueIndex{0}, Tag{0}))
      write_and_end(begin(std::move(*idle)));
  }
  void finish() {
    cache.reset();
    check_all_ended();
  }
};
const Add<FlushCache, &FlushCache::ends_it, &FlushCache::allocates> flush_cache{
    "reuse", "end into a TagCache that is flushed, then allocate_tag on another thread"};

/// A late completion after the tag was reused: a completion with a generation never reaches the
/// next life.
struct Stale : Device {
  using Device::Device;
  void recycles() {
    auto claim = set().claim(QueueIndex{0}, wire());
    if (!claim) return;
    write_and_end(std::move(*claim));
    publish(start());
  }
  void comes_late() {
    auto claim = set().claim(QueueIndex{0}, wire());
    if (!claim) return;
    model::check(claim->cookie() == cookie(), "a stale cookie never gets the next life");
    write_and_end(std::move(*claim));
  }
  void pins_late() {
    auto pin = set().tag_to_rq(QueueIndex{0}, wire());
    if (!pin) return;
    model::check(pin->generation().value >= first, "the pin is of its publication or a later one");
    auto owned = set().tag_to_owned(QueueIndex{0}, wire());
    model::check(!owned.has_value(), "not while it is pinned");
  }
  void owns_late() {
    auto owned = set().tag_to_owned(QueueIndex{0}, wire());
    if (!owned) return;
    model::check(owned->cookie() == cookie(), "a stale cookie never gets the next life");
    write_and_end(std::move(*owned));
  }
  void finish() { sweep(); }
};
struct StalePublished : Stale {
  StalePublished() { publish(start()); }
};
const Add<StalePublished, &StalePublished::recycles, &StalePublished::comes_late,
          &StalePublished::owns_late>
    stale{"reuse", "a stale cookie after recycling"};

/// A late pin delays the tag's next life, and never belongs to that life.
struct StalePin : StalePublished {
  void recycles() {
    auto claim = set().claim(QueueIndex{0}, wire());
    model::check(claim.has_value(), "no other thread claims");
    std::move(*claim).end_ok();
    if (auto idle = set().allocate_tag(QueueIndex{0}, Tag{0})) publish(begin(std::move(*idle)));
  }
  void pins() {
    auto pin = set().tag_to_rq(QueueIndex{0}, wire());
    if (!pin) return;
    read(*pin);
    model::check(pin->generation().value == first, "a pin holds its I/O in place");
  }
};
const Add<StalePin, &StalePin::recycles, &StalePin::pins, &StalePin::pins> stale_pin{
    "reuse", "a stale pin against recycling"};

/// Without a generation a late completion may end the next life. Each life still ends once, without
/// a race.
constexpr blkown::CookieLayout no_generation{.width_bits = 16,
                                             .queue = {},
                                             .tag = {.shift = 0, .bits = 12},
                                             .generation = {},
                                             .user = {},
                                             .all_ones_reserved = true};
struct Unprotected : Stale {
  Unprotected() : Stale{1, no_generation} { publish(start()); }
  void comes_late() {
    auto claim = set().claim(QueueIndex{0}, wire());
    if (claim) write_and_end(std::move(*claim));
  }
  void comes_by_tag() {
    auto owned = set().tag_to_owned_any_generation(QueueIndex{0}, Tag{0});
    if (owned) write_and_end(std::move(*owned));
  }
};
const Add<Unprotected, &Unprotected::recycles, &Unprotected::comes_late, &Unprotected::comes_by_tag>
    unprotected{"reuse", "a late completion without a generation"};

/// A scan's pin across a re-publication. By pin and cookie the scan gets the publication that it
/// saw, or nothing, however long it held the pin.
struct ScanAcross : Device {
  ScanAcross() { publish(start()); }
  void scans() {
    set().for_each_in_flight(QueueIndex{0}, [](ARef pin, const Cookie& seen) {
      auto claim = blkown::claim(pin, seen);
      if (!claim) return;
      model::check(claim->cookie() == seen, "the publication that the scan saw");
      write_and_end(std::move(*claim));
    });
  }
  void continues() {
    auto claim = set().claim(QueueIndex{0}, wire());
    if (!claim) return;
    claim->data().value.set(5);
    publish(std::move(*claim));
  }
  void completes() {
    auto claim = set().claim(QueueIndex{0}, wire(first + 1));
    if (claim) write_and_end(std::move(*claim));
  }
  void finish() { sweep(); }
};
const Add<ScanAcross, &ScanAcross::scans, &ScanAcross::continues, &ScanAcross::completes>
    scan_across{"reuse", "a scan's pin across a re-publication"};

/// The same by a pin that existed from the start and becomes the Claim.
struct PinAcross : ScanAcross {
  std::optional<ARef> pin;
  PinAcross() { pin.emplace(std::move(*set().tag_to_rq(QueueIndex{0}, wire()))); }
  void turns() {
    auto claim = blkown::try_claim(std::move(*pin), cookie());
    if (!claim) return;
    model::check(claim->cookie() == cookie(), "the publication of its cookie");
    write_and_end(std::move(*claim));
  }
};
const Add<PinAcross, &PinAcross::turns, &PinAcross::continues, &PinAcross::completes> pin_across{
    "reuse", "a pin turned into a Claim across a re-publication"};

/// Iteration against claim, end and reuse. The iteration pins an I/O in flight, and by the cookie
/// gets only that I/O.
struct Iterations : Device {
  explicit Iterations(std::uint32_t depth = 1) : Device{depth} {
    for (std::uint32_t tag = 0; tag != depth; ++tag) publish(start(tag));
  }
  void recycles() {
    auto claim = set().claim(QueueIndex{0}, wire());
    if (!claim) return;
    std::move(*claim).end_ok();
    if (auto idle = set().allocate_tag(QueueIndex{0}, Tag{0})) publish(begin(std::move(*idle)));
  }
  std::uint32_t visited = 0;
  void iterates() {
    set().for_each_in_flight(QueueIndex{0}, [this](ARef pin, const Cookie& seen) {
      ++visited;
      const auto published = [&](std::uint32_t generation) {
        return blkown::detail::RefValue<blkown::Word>::idle_at(
                   blkown::detail::first_generation_of({generation}, seen.queue, seen.tag))
            .generation();
      };
      model::check(seen.generation == published(first) || seen.generation == published(first + 1),
                   "a generation that was published");
      model::check(pin.tag() == seen.tag, "the pin's own tag");
      auto claim = blkown::claim(pin, seen);
      if (!claim) return;
      model::check(claim->cookie() == seen, "the I/O that was visited");
      write_and_end(std::move(*claim));
    });
  }
  void finish() { sweep(); }
};
struct Iteration : Iterations {
  Iteration() : Iterations{2} {}
  void finish() {
    model::check(visited >= 1, "the other tag's I/O is in flight all the time");
    sweep();
  }
};
const Add<Iteration, &Iteration::recycles, &Iteration::iterates> iteration{
    "reuse", "iteration against claim, end and reuse"};

/// Two iterations at once, as by two timeouts: each I/O ends once.
const Add<Iterations, &Iterations::iterates, &Iterations::iterates> iterations{
    "reuse", "two iterations at once"};

}  // namespace reuse
