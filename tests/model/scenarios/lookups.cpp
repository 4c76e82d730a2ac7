// SPDX-License-Identifier: BSL-1.0
//
// Theme: lookups, against threads that hold the request or publish it.
//
// Goal: a lookup finds a request only in the permitted state and by its own cookie. A holder that
// found a request sees every earlier write. A refused lookup changes nothing.
// Method: a holder or a publisher, and completions that are right, early or forged.
// Invariants: as in theme pins, and one caller gets the right to a publication.

#include "fixture.hpp"

namespace lookups {

enum class Find { pin, owned, claim };

/// A lookup that then tries to become the writer, and ends the I/O if it succeeds.
template <Find How>
void look_up(Device& device, std::uint64_t wire) {
  if constexpr (How == Find::pin) {
    auto pin = device.set().tag_to_rq(QueueIndex{0}, wire);
    if (!pin) return;
    Device::read(*pin);
    auto owned = Owned::try_from_shared(std::move(*pin));
    if (owned) Device::write_and_end(std::move(*owned));
  } else if constexpr (How == Find::owned) {
    auto owned = device.set().tag_to_owned(QueueIndex{0}, wire);
    if (owned) Device::write_and_end(std::move(*owned));
  } else {
    auto claim = device.set().claim(QueueIndex{0}, wire);
    if (!claim) return;
    // Pins may be reading, so the I/O ends without a write. The sink writes after the last pin.
    std::move(*claim).end_ok();
  }
}

/// Drop against lookup. The drop may be the one that parks the request.
template <Find How>
struct DropLookup : Device {
  ARef a = start().into_shared();
  void drops() {
    const ARef mine = std::move(a);
    read(mine);
  }
  void looks_up() { look_up<How>(*this, wire()); }
  void finish() { sweep(); }
};
template <Find How>
using AddDrop = Add<DropLookup<How>, &DropLookup<How>::drops, &DropLookup<How>::looks_up>;
const AddDrop<Find::pin> drop_pin{"lookups", "drop against tag_to_rq"};
const AddDrop<Find::owned> drop_owned{"lookups", "drop against tag_to_owned"};
const AddDrop<Find::claim> drop_claim{"lookups", "drop against claim"};

/// Publish against lookup, by an Owned and by a Claim. An early lookup gets the reason `early`.
template <bool FromClaim, Find How>
struct PublishLookup : Device {
  Owned owned = start();
  void publishes() {
    owned.data().value.set(5);
    if constexpr (FromClaim) {
      publish(std::move(owned).into_claim());
    } else {
      publish(std::move(owned));
    }
  }
  void looks_up() { look_up<How>(*this, wire()); }
  void says_why() {
    auto claim = set().claim(QueueIndex{0}, wire());
    if (claim) {
      std::move(*claim).end_ok();
      return;
    }
    // The lookup is early, or the other lookup has the I/O alone (owned), beside a pin (claimed),
    // or has ended the I/O (idle). A pin alone refuses nothing.
    const LookupReason reason = claim.error().reason;
    const std::uint32_t seen = claim.error().seen_generation.value;
    model::check(reason == LookupReason::early || reason == LookupReason::owned ||
                     reason == LookupReason::idle || reason == LookupReason::claimed,
                 "the reason fits");
    model::check((reason == LookupReason::early) == (seen == first - 1), "early is one before");
  }
  void finish() { sweep(); }
};
template <bool FromClaim, Find How>
using AddPublish =
    Add<PublishLookup<FromClaim, How>, &PublishLookup<FromClaim, How>::publishes,
        &PublishLookup<FromClaim, How>::looks_up, &PublishLookup<FromClaim, How>::says_why>;
const AddPublish<false, Find::pin> publish_pin{"lookups", "publish against tag_to_rq and claim"};
const AddPublish<false, Find::owned> publish_owned{"lookups",
                                                   "publish against tag_to_owned and claim"};
const AddPublish<false, Find::claim> publish_claim{"lookups", "publish against two claims"};
const AddPublish<true, Find::pin> claim_pin{"lookups", "Claim published against tag_to_rq, claim"};
const AddPublish<true, Find::owned> claim_owned{"lookups",
                                                "Claim published against tag_to_owned, claim"};

/// into_shared against lookup: the submitter keeps a reference, reads, and drops it.
template <Find How>
struct ShareLookup : Device {
  Owned owned = start();
  void shares() {
    owned.data().value.set(5);
    const ARef mine = std::move(owned).into_shared();
    read(mine);
  }
  void looks_up() { look_up<How>(*this, wire()); }
  void finish() { sweep(); }
};
template <Find How>
using AddShare = Add<ShareLookup<How>, &ShareLookup<How>::shares, &ShareLookup<How>::looks_up>;
const AddShare<Find::pin> share_pin{"lookups", "into_shared against tag_to_rq"};
const AddShare<Find::owned> share_owned{"lookups", "into_shared against tag_to_owned"};
const AddShare<Find::claim> share_claim{"lookups", "into_shared against claim"};

/// A drop, a try_from_shared and a lookup at the same time.
struct DropTakeLookup : Device {
  ARef a = start().into_shared();
  ARef b = a;
  void drops() {
    const ARef mine = std::move(a);
    read(mine);
  }
  void takes() {
    read(b);
    auto owned = Owned::try_from_shared(std::move(b));
    if (owned) write_and_end(std::move(*owned));
  }
  void looks_up() { look_up<Find::pin>(*this, wire()); }
  void finish() { sweep(); }
};
const Add<DropTakeLookup, &DropTakeLookup::drops, &DropTakeLookup::takes, &DropTakeLookup::looks_up>
    drop_take{"lookups", "drop, take and lookup at once"};

/// A forged completion while the submitter still writes: by the next cookie, and by the tag alone.
/// Neither may touch the data before the publication.
template <bool FromClaim>
struct Forged : Device {
  Owned owned = start();
  void submits() {
    owned.data().value.set(5);
    if constexpr (FromClaim) {
      Claim claim = std::move(owned).into_claim();
      const ARef mapping = claim.pin();
      claim.data().value.set(6);
      publish(std::move(claim));
    } else {
      publish(std::move(owned));
    }
  }
  void forges_cookie() {
    auto claim = set().claim(QueueIndex{0}, wire());
    if (claim) write_and_end(std::move(*claim));
  }
  void forges_tag() {
    auto claim = set().claim_any_generation(QueueIndex{0}, Tag{0});
    if (claim) write_and_end(std::move(*claim));
  }
  void finish() { sweep(); }
};
const Add<Forged<false>, &Forged<false>::submits, &Forged<false>::forges_cookie,
          &Forged<false>::forges_tag>
    forged{"lookups", "forged claims while the submitter writes"};
const Add<Forged<true>, &Forged<true>::submits, &Forged<true>::forges_cookie,
          &Forged<true>::forges_tag>
    forged_pinned{"lookups", "forged claims while the submitter writes and maps"};

/// The same by the other two lookups.
struct ForgedLookups : Device {
  Owned owned = start();
  void submits() {
    owned.data().value.set(5);
    publish(std::move(owned));
  }
  void takes_pin() {
    auto pin = set().tag_to_rq_any_generation(QueueIndex{0}, Tag{0});
    if (pin) read(*pin);
  }
  void takes_all() {
    auto mine = set().tag_to_owned_any_generation(QueueIndex{0}, Tag{0});
    if (mine) write_and_end(std::move(*mine));
  }
  void finish() { sweep(); }
};
const Add<ForgedLookups, &ForgedLookups::submits, &ForgedLookups::takes_pin,
          &ForgedLookups::takes_all>
    forged_lookups{"lookups", "forged tag_to_rq and tag_to_owned while the submitter writes"};

/// A forged lookup of an owned request gets the reason `owned`.
struct ForgedReason : Device {
  Owned owned = start();
  void submits() { publish(std::move(owned)); }
  template <class Found>
  static void check_reason(const std::expected<Found, blkown::LookupError>& found) {
    model::check(found.has_value() || found.error().reason == LookupReason::owned,
                 "the submitter owns it");
  }
  void forges() {
    check_reason(set().tag_to_rq_any_generation(QueueIndex{0}, Tag{0}));
    auto claim = set().claim_any_generation(QueueIndex{0}, Tag{0});
    check_reason(claim);
    if (claim) write_and_end(std::move(*claim));
  }
  void finish() { sweep(); }
};
const Add<ForgedReason, &ForgedReason::submits, &ForgedReason::forges> forged_reason{
    "lookups", "the reason for a forged lookup of an owned request"};

/// An idle request whose tag is allocated: no lookup ever writes at 0.
struct IdleLookup : Device {
  void submits() { write_and_end(start()); }
  void takes_pin() {
    model::check(!set().tag_to_rq_any_generation(QueueIndex{0}, Tag{0}).has_value(),
                 "never published");
    model::check(!set().claim(QueueIndex{0}, wire(first - 1)).has_value(), "never published");
  }
  void takes_all() {
    model::check(!set().tag_to_owned_any_generation(QueueIndex{0}, Tag{0}).has_value(),
                 "never published");
    const auto claim = set().claim(QueueIndex{0}, wire());
    model::check(!claim && claim.error().reason == LookupReason::early, "not published yet");
  }
  void finish() { check_all_ended(); }
};
const Add<IdleLookup, &IdleLookup::submits, &IdleLookup::takes_pin, &IdleLookup::takes_all>
    idle_lookup{"lookups", "forged lookups of an I/O that is never published"};

}  // namespace lookups
