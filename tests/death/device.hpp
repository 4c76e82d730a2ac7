// SPDX-License-Identifier: BSL-1.0
//
// What the death tests misuse: a TagSet in static storage, short ways to bring one of its requests
// into a state, and the two kinds of handle that no right program has: one that was given away, and
// one of a request that another handle has had its way with.

#ifndef BLKOWN_TESTS_DEATH_DEVICE_HPP
#define BLKOWN_TESTS_DEATH_DEVICE_HPP

#include <array>
#include <blkown/blkown.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace death {

struct Data {
  int sectors = 0;
};

}  // namespace death

template <>
inline constexpr bool blkown::shared_data<death::Data> = true;

namespace death {

using Request = blkown::Request<Data>;
using Idle = blkown::Idle<Request>;
using Owned = blkown::Owned<Request>;
using Claim = blkown::Claim<Request>;
using ARef = blkown::ARef<Request>;
using Ended = blkown::Ended<Request>;
using EndedList = blkown::EndedList<Request>;
using TagSet = blkown::TagSet<Request>;

/// An object that is counted and owned, and is no request.
struct Object {
  void add_ref() {}
  void drop_ref() {}
  void release_owned() {}
  void into_shared() {}
  bool try_into_owned() { return true; }
  int member = 0;
};

/// The handle is given away, by a way that typestate does not see, and comes back empty.
template <class Handle>
[[nodiscard]] Handle given_away(Handle handle) {
  std::optional<Handle> slot{std::move(handle)};
  static_cast<void>(std::move(*slot).into_raw());
  return std::move(*slot);
}

class Device {
 public:
  static constexpr std::uint32_t queue_count = 2;
  static constexpr std::uint32_t depth = 4;
  /// Of the request that the members below are about. Not the first of either, so that a message
  /// with zeros in it is a wrong one.
  static constexpr blkown::QueueIndex queue{1};
  static constexpr blkown::Tag tag{3};
  static constexpr blkown::Generation first_generation{41};

  Device() : set{make(own_storage, *this)} {}
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  /// The end sink: keeps everything.
  void operator()(EndedList&& ended) { list.append(std::move(ended)); }

  // --- right handles ----------------------------------------------------------------------------

  [[nodiscard]] Idle idle() { return std::move(*set->allocate_tag(queue, tag)); }
  [[nodiscard]] Owned owned() { return idle().start(); }
  [[nodiscard]] Claim unpublished_claim() { return owned().into_claim(); }
  /// Not published, with one pin: 3 claimed.
  [[nodiscard]] Claim pinned_claim() {
    Claim claim = unpublished_claim();
    pin.emplace(claim.pin());
    return claim;
  }
  /// Not published, handed to C and back.
  [[nodiscard]] Claim claim_through_c() { return Claim::from_raw(unpublished_claim().into_raw()); }
  /// Not published, and pinned when it was to become an Owned: 3 claimed.
  [[nodiscard]] Claim claim_given_back() { return std::move(pinned_claim().into_owned().error()); }
  /// Published, and found by its completion.
  [[nodiscard]] Claim claim() {
    blkown::Cookie sent;
    owned().publish([&](const blkown::Cookie& cookie) { sent = cookie; });
    return std::move(*set->claim(queue, sent.value));
  }
  [[nodiscard]] ARef aref() { return owned().into_shared(); }
  [[nodiscard]] ARef aref_of_another_request() {
    return std::move(*set->allocate_tag(blkown::QueueIndex{0}, blkown::Tag{0}))
        .start()
        .into_shared();
  }
  [[nodiscard]] Ended ended() {
    idle().fail(blkown::Status::medium_error);
    return std::move(*list.pop_front());
  }
  /// The name of the first publication.
  [[nodiscard]] blkown::Cookie cookie() const {
    const blkown::Generation generation{first_generation.value + 1};
    return {set->layout().encode(queue, tag, generation), generation, tag, queue};
  }
  [[nodiscard]] blkown::TagCache& cache_of(blkown::QueueIndex queue_index) {
    return cache.emplace(set->tag_cache(queue_index, 2));
  }
  [[nodiscard]] blkown::TagCache& cache_of_other_set() {
    return cache.emplace(other_set().tag_cache(queue, 2));
  }
  [[nodiscard]] blkown::TagCache& moved_from_cache() {
    moved_to.emplace(std::move(cache_of(queue)));
    return *cache;
  }
  [[nodiscard]] TagSet& other_set() {
    other = make(other_storage, *this);
    return *other;
  }

  // --- handles that were given away -------------------------------------------------------------

  [[nodiscard]] Idle no_idle() { return given_away(idle()); }
  [[nodiscard]] Owned no_owned() { return given_away(owned()); }
  [[nodiscard]] Claim no_claim() { return given_away(claim()); }
  [[nodiscard]] ARef no_aref() { return given_away(aref()); }
  [[nodiscard]] Ended no_ended() {
    std::optional<Ended> slot{ended()};
    std::move(*slot).release();
    return std::move(*slot);
  }
  [[nodiscard]] blkown::Owned<Object> no_owned_object() {
    return given_away(blkown::Owned<Object>::from_raw(&object));
  }
  [[nodiscard]] blkown::ARef<Object> no_shared_object() {
    return given_away(blkown::ARef<Object>::from_raw(&object));
  }

  // --- second handles, as only from_raw makes them ----------------------------------------------

  /// Of an I/O that was started: 0 owned.
  [[nodiscard]] Idle started_idle() { return Idle::from_raw(owned().into_raw()); }
  /// Of an I/O in flight: 1.
  [[nodiscard]] Idle parked_idle() { return Idle::from_raw(parked_aref().into_raw()); }
  /// Of an I/O that has a reference: 2.
  [[nodiscard]] Owned shared_owned() { return Owned::from_raw(aref().into_raw()); }
  /// Of an I/O that was ended: 0.
  [[nodiscard]] Owned ended_owned() {
    Request* const raw = owned().into_raw();
    Owned::from_raw(raw).end_ok();
    return Owned::from_raw(raw);
  }
  /// Of an I/O that was ended: 0.
  [[nodiscard]] Claim ended_claim() {
    void* const raw = claim().into_raw();
    Claim::from_raw(raw).end_ok();
    return Claim::from_raw(raw);
  }
  /// Of an I/O that was ended and is pinned: 2 finished.
  [[nodiscard]] Claim finished_claim() {
    Claim right = claim();
    pin.emplace(right.pin());
    void* const raw = std::move(right).into_raw();
    Claim::from_raw(raw).end_ok();
    return Claim::from_raw(raw);
  }
  /// Of an I/O that was ended: 0.
  [[nodiscard]] ARef ended_aref() { return ARef::from_raw(ended_owned().into_raw()); }
  /// Of an I/O that one handle has to itself: 0 owned.
  [[nodiscard]] ARef owned_aref() { return ARef::from_raw(owned().into_raw()); }
  /// Of an I/O in flight that nobody refers to: 1.
  [[nodiscard]] ARef parked_aref() {
    Request* const raw = owned().into_raw();
    Owned::from_raw(raw).park();
    return ARef::from_raw(raw);
  }
  /// Of an I/O that a Claim has, with no pins: 2 claimed.
  [[nodiscard]] ARef claimed_aref() {
    Request* const raw = aref().into_raw();
    claimant.emplace(std::move(*blkown::try_claim(ARef::from_raw(raw), cookie())));
    return ARef::from_raw(raw);
  }
  /// Of an I/O that nobody refers to, through a reference that it does not hold: 1 claimed.
  [[nodiscard]] Claim claim_of_a_forged_aref() {
    return std::move(*blkown::try_claim(parked_aref(), cookie()));
  }
  /// Of a tag that is free already.
  [[nodiscard]] Ended freed_ended() {
    Request* const raw = idle().into_raw();
    Idle::from_raw(raw).fail(blkown::Status::medium_error);
    std::move(*list.pop_front()).release();
    Idle::from_raw(raw).fail(blkown::Status::medium_error);
    return std::move(*list.pop_front());
  }

  std::optional<TagSet> set;
  std::optional<TagSet> other;
  std::optional<blkown::TagCache> cache;
  std::optional<blkown::TagCache> moved_to;
  EndedList list;
  Object object;
  std::optional<ARef> pin;
  std::optional<Claim> claimant;

 private:
  using Storage = std::array<std::byte, 4096>;

  [[nodiscard]] static TagSet make(Storage& memory, Device& device) {
    const blkown::TagSetConfig config{.queue_count = queue_count,
                                      .depth = depth,
                                      .layout = blkown::CookieLayout::nbd(),
                                      .first_generation = first_generation};
    return std::move(*TagSet::create_in(memory, config, blkown::EndSink<Request>::to(device)));
  }

  alignas(blkown::cache_line_bytes) static inline Storage own_storage;
  alignas(blkown::cache_line_bytes) static inline Storage other_storage;
};

}  // namespace death

#endif
