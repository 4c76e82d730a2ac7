// SPDX-License-Identifier: BSL-1.0
//
// Theme: pins, and how the holder of a pin becomes the only holder.
//
// Goal: a thread that becomes alone, or gets the right, sees everything that the other holders did.
// Of racing holders as many succeed as the operation promises.
// Method: each holder reads the data under its pin and drops the pin in its own way. The holder of
// the right writes.
// Invariants: no race on the data. Every I/O ends exactly once. A word that is not idle at the end
// is at 1 without flags (no handle is left), and idle words have no flags.

#include "fixture.hpp"

namespace pins {

/// Drop against try_from_shared. The loser turns its pin into a Claim, which always succeeds here.
struct DropTry : Device {
  ARef a = start().into_shared();
  ARef b = a;
  void drops() {
    const ARef mine = std::move(a);
    read(mine);
  }
  void tries() {
    read(b);
    auto owned = Owned::try_from_shared(std::move(b));
    if (owned) {
      write_and_end(std::move(*owned));
      return;
    }
    auto claim = blkown::try_claim(std::move(owned.error()), cookie());
    model::check(claim.has_value(), "no other thread claims");
    std::move(*claim).end_ok();
  }
  void finish() { check_all_ended(); }
};
const Add<DropTry, &DropTry::drops, &DropTry::tries> drop_try{"pins",
                                                              "drop against try_from_shared"};

/// Two holders, both by try_from_shared: one or none becomes the owner, never both.
struct TryTry : Device {
  ARef a = start().into_shared();
  ARef b = a;
  void tries(ARef mine) {
    read(mine);
    auto owned = Owned::try_from_shared(std::move(mine));
    if (owned) write_and_end(std::move(*owned));
  }
  void first() { tries(std::move(a)); }
  void second() { tries(std::move(b)); }
  void finish() { sweep(); }
};
const Add<TryTry, &TryTry::first, &TryTry::second> try_try{"pins",
                                                           "try_from_shared against itself"};

/// try_from_shared never refuses a sole holder, whatever lookups by other cookies happen.
struct TryAlone : Device {
  ARef a = start().into_shared();
  void tries() {
    auto owned = Owned::try_from_shared(std::move(a));
    model::check(owned.has_value(), "the only holder becomes the owner");
    write_and_end(std::move(*owned));
  }
  void looks_up_stale() {
    model::check(!set().tag_to_rq(QueueIndex{0}, wire(first - 1)).has_value(), "a stale value");
    model::check(!set().claim(QueueIndex{0}, wire(first + 1)).has_value(), "an early value");
  }
  void finish() { check_all_ended(); }
};
const Add<TryAlone, &TryAlone::tries, &TryAlone::looks_up_stale> try_alone{
    "pins", "try_from_shared by a sole holder"};

/// A clone made while another holder tries to become the only one. The cloning thread reads under
/// the clone.
struct CloneDrop : Device {
  ARef a = start().into_shared();
  ARef b = a;
  void clones() {
    const ARef mine = std::move(a);
    const ARef clone = mine;
    read(clone);
  }
  void tries() {
    read(b);
    auto owned = Owned::try_from_shared(std::move(b));
    if (owned) write_and_end(std::move(*owned));
  }
  void finish() { sweep(); }
};
const Add<CloneDrop, &CloneDrop::clones, &CloneDrop::tries> clone_drop{
    "pins", "clone against try_from_shared"};

/// Pins read while a completion ends the I/O. The last drop completes the end. The next life of the
/// tag begins on the claimant's thread if it finds the tag free.
struct ReadRecycle : Device {
  ARef a = start().into_shared();
  ARef b = a;
  void reads_a() {
    const ARef mine = std::move(a);
    read(mine);
  }
  void reads_b() {
    const ARef mine = std::move(b);
    read(mine);
  }
  void recycles() {
    auto claim = set().claim(QueueIndex{0}, wire());
    model::check(claim.has_value(), "no other thread claims");
    std::move(*claim).end_ok();
    if (auto idle = set().allocate_tag(QueueIndex{0}, Tag{0}))
      write_and_end(begin(std::move(*idle)));
  }
  void finish() { check_all_ended(); }
};
const Add<ReadRecycle, &ReadRecycle::reads_a, &ReadRecycle::reads_b, &ReadRecycle::recycles>
    read_recycle{"pins", "pins that read, then recycle"};

/// A holder of `pin` drops it by drop_or_own.
struct OwnLast : Device {
  std::uint32_t owners = 0;
  void let_go(ARef pin) {
    read(pin);
    if (auto owned = blkown::drop_or_own(std::move(pin))) {
      ++owners;
      write_and_end(std::move(*owned));
    }
  }
};

/// drop_or_own by two and by three holders: exactly one becomes the owner.
struct OwnTwo : OwnLast {
  ARef a = start().into_shared();
  ARef b = a;
  void first() { let_go(std::move(a)); }
  void second() { let_go(std::move(b)); }
  void finish() {
    model::check(owners == 1, "exactly one of two becomes the owner");
    check_all_ended();
  }
};
const Add<OwnTwo, &OwnTwo::first, &OwnTwo::second> own_two{"pins", "drop_or_own by two"};

struct OwnThree : OwnLast {
  ARef a = start().into_shared();
  ARef b = a;
  ARef c = a;
  void first() { let_go(std::move(a)); }
  void second() { let_go(std::move(b)); }
  void third() { let_go(std::move(c)); }
  void finish() {
    model::check(owners == 1, "exactly one of three becomes the owner");
    check_all_ended();
  }
};
const Add<OwnThree, &OwnThree::first, &OwnThree::second, &OwnThree::third> own_three{
    "pins", "drop_or_own by three"};

/// drop_or_own against a plain drop: one owner, or none and the request is parked.
struct OwnDrop : OwnLast {
  ARef a = start().into_shared();
  ARef b = a;
  void owns() { let_go(std::move(a)); }
  void drops() {
    const ARef mine = std::move(b);
    read(mine);
  }
  void finish() {
    model::check(owners == (ends() == 1 ? 1 : 0), "the owner ends it");
    sweep();
  }
};
const Add<OwnDrop, &OwnDrop::owns, &OwnDrop::drops> own_drop{"pins",
                                                             "drop_or_own against a plain drop"};

/// An owner that got the request from drops publishes it again without touching the data. The next
/// claimant still comes after the reads of the dropped pins. Get selects how the owner became
/// alone.
enum class Get { try_from_shared, drop_or_own, tag_to_owned, claim, claim_of_pin, into_owned };

template <Get How>
struct PublishAgain : Device {
  ARef a = start().into_shared();
  std::optional<ARef> b;
  PublishAgain() {
    if (How != Get::tag_to_owned && How != Get::claim) b.emplace(a);
  }
  void reads() {
    const ARef mine = std::move(a);
    read(mine);
  }
  void publishes() {
    if constexpr (How == Get::try_from_shared) {
      auto owned = Owned::try_from_shared(std::move(*b));
      if (owned) publish(std::move(*owned));
    } else if constexpr (How == Get::drop_or_own) {
      auto owned = blkown::drop_or_own(std::move(*b));
      if (owned) publish(std::move(*owned));
    } else if constexpr (How == Get::tag_to_owned) {
      auto owned = set().tag_to_owned(QueueIndex{0}, wire());
      if (owned) publish(std::move(*owned));
    } else if constexpr (How == Get::claim) {
      // At 2 the Claim has the pin beside it and publishes by an addition. At 1 the Claim is alone.
      auto claim = set().claim(QueueIndex{0}, wire());
      if (claim) publish(std::move(*claim));
    } else if constexpr (How == Get::claim_of_pin) {
      auto claim = blkown::try_claim(std::move(*b), cookie());
      if (claim) publish(std::move(*claim));
    } else {
      auto claim = blkown::try_claim(std::move(*b), cookie());
      if (!claim) return;
      auto owned = std::move(*claim).into_owned();
      if (owned) {
        publish(std::move(*owned));
      } else {
        publish(std::move(owned.error()));
      }
    }
  }
  void claims() {
    auto owned = set().tag_to_owned(QueueIndex{0}, wire(first + 1));
    if (owned) write_and_end(std::move(*owned));
  }
  void finish() { sweep(); }
};
template <Get How>
using AddAgain = Add<PublishAgain<How>, &PublishAgain<How>::reads, &PublishAgain<How>::publishes,
                     &PublishAgain<How>::claims>;
const AddAgain<Get::try_from_shared> again_try{"pins", "publish again after try_from_shared"};
const AddAgain<Get::drop_or_own> again_own{"pins", "publish again after drop_or_own"};
const AddAgain<Get::tag_to_owned> again_lookup{"pins", "publish again after tag_to_owned"};
const AddAgain<Get::claim> again_claim{"pins", "publish again after claim"};
const AddAgain<Get::claim_of_pin> again_pin{"pins", "publish again after try_claim"};
const AddAgain<Get::into_owned> again_into{"pins", "publish again after into_owned"};

}  // namespace pins
