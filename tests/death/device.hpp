// SPDX-License-Identifier: BSL-1.0
//
// The fixture that the death tests misuse: a TagSet in static storage, functions that bring one of
// its requests into a state, and the two kinds of wrong handles: moved-from handles, and second
// handles of a request whose state another handle has changed.

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

/// A reference-counted and ownable object that is not a request.
struct Object {
  void add_ref() {}
  void drop_ref() {}
  void release_owned() {}
  void into_shared() {}
  bool try_into_owned() { return true; }
  int member = 0;
};

/// Moves the request out of the handle and returns the empty handle. The optional hides the move
/// from typestate analysis.
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
  /// The queue and the tag of the tested request. Neither is 0, so that a message that prints 0
  /// fails the test.
  static constexpr blkown::QueueIndex queue{1};
  static constexpr blkown::Tag tag{3};
  /// Of the tested request.
  static constexpr blkown::Generation first_generation{41};
  /// Of queue 0, tag 0.
  static constexpr blkown::Generation begin =
      blkown::detail::begin_for(first_generation, queue, tag);

  Device() : set{make(own_storage, *this)} {}
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  /// The end sink: keeps all ended requests.
  void operator()(EndedList&& ended) { list.append(std::move(ended)); }

  // --- valid handles ----------------------------------------------------------------------------

  [[nodiscard]] Idle idle() { return std::move(*set->allocate_tag(queue, tag)); }
  [[nodiscard]] Owned owned() { return idle().start(); }
  [[nodiscard]] Claim unpublished_claim() { return owned().into_claim(); }
  /// Not published, with one pin. The word is 3 claimed.
  [[nodiscard]] Claim pinned_claim() {
    Claim claim = unpublished_claim();
    pin.emplace(claim.pin());
    return claim;
  }
  /// Not published, passed through into_raw and from_raw.
  [[nodiscard]] Claim claim_through_c() { return Claim::from_raw(unpublished_claim().into_raw()); }
  /// Not published, returned by into_owned because of a pin. The word is 3 claimed.
  [[nodiscard]] Claim claim_given_back() { return std::move(pinned_claim().into_owned().error()); }
  /// Published, and claimed by its completion.
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
  /// The cookie of the first publication.
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

  // --- moved-from handles -----------------------------------------------------------------------

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

  // --- second handles, made with from_raw -------------------------------------------------------
  //
  // The comments give the state of the request's word.

  /// A started I/O: 0 owned.
  [[nodiscard]] Idle started_idle() { return Idle::from_raw(owned().into_raw()); }
  /// An I/O in flight: 1.
  [[nodiscard]] Idle parked_idle() { return Idle::from_raw(parked_aref().into_raw()); }
  /// An I/O with a reference: 2.
  [[nodiscard]] Owned shared_owned() { return Owned::from_raw(aref().into_raw()); }
  /// An ended I/O: 0.
  [[nodiscard]] Owned ended_owned() {
    Request* const raw = owned().into_raw();
    Owned::from_raw(raw).end_ok();
    return Owned::from_raw(raw);
  }
  /// An ended I/O: 0.
  [[nodiscard]] Claim ended_claim() {
    void* const raw = claim().into_raw();
    Claim::from_raw(raw).end_ok();
    return Claim::from_raw(raw);
  }
  /// An ended I/O with a pin: 2 finished.
  [[nodiscard]] Claim finished_claim() {
    Claim right = claim();
    pin.emplace(right.pin());
    void* const raw = std::move(right).into_raw();
    Claim::from_raw(raw).end_ok();
    return Claim::from_raw(raw);
  }
  /// An ended I/O: 0.
  [[nodiscard]] ARef ended_aref() { return ARef::from_raw(ended_owned().into_raw()); }
  /// An I/O that an Owned holds: 0 owned.
  [[nodiscard]] ARef owned_aref() { return ARef::from_raw(owned().into_raw()); }
  /// An I/O in flight without references: 1.
  [[nodiscard]] ARef parked_aref() {
    Request* const raw = owned().into_raw();
    Owned::from_raw(raw).park();
    return ARef::from_raw(raw);
  }
  /// A claimed I/O without pins: 2 claimed.
  [[nodiscard]] ARef claimed_aref() {
    Request* const raw = aref().into_raw();
    claimant.emplace(std::move(*blkown::try_claim(ARef::from_raw(raw), cookie())));
    return ARef::from_raw(raw);
  }
  /// A Claim made through a reference that the count does not include: 1 claimed.
  [[nodiscard]] Claim claim_of_a_forged_aref() {
    return std::move(*blkown::try_claim(parked_aref(), cookie()));
  }
  /// A request whose tag is free already.
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
                                      .first_generation = begin};
    return std::move(*TagSet::create_in(memory, config, blkown::EndSink<Request>::to(device)));
  }

  alignas(TagSet::storage_alignment_bytes()) static inline Storage own_storage;
  alignas(TagSet::storage_alignment_bytes()) static inline Storage other_storage;
};

}  // namespace death

#endif
