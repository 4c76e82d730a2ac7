// SPDX-License-Identifier: BSL-1.0
//
// Theme: the right to an I/O, while pins exist.
//
// Goal: of all threads that ask for the right to one publication, one gets the right and is the
// only writer. The end takes effect once, after the last pin is dropped.
// Method: completions, pins that become Claims, mapping pins and a scan's pins, in twos and threes.
// Invariants: as in theme pins.

#include "fixture.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace claims {

/// A started I/O as a Claim with a mapping pin. The scenario keeps the pin in `mapping`.
struct Mapped : Device {
  std::optional<ARef> mapping;

  [[nodiscard]] Claim map(Owned owned) {
    Claim claim = std::move(owned).into_claim();
    mapping.emplace(claim.pin());
    return claim;
  }
};

/// Duplicate completions, through each kind of lookup.
struct Duplicates : Device {
  Duplicates() { publish(start()); }
  void by_claim() {
    auto claim = set().claim(QueueIndex{0}, wire());
    if (claim) write_and_end(std::move(*claim));
  }
  void by_owned() {
    auto owned = set().tag_to_owned(QueueIndex{0}, wire());
    if (owned) write_and_end(std::move(*owned));
  }
  void by_pin() {
    auto pin = set().tag_to_rq(QueueIndex{0}, wire());
    if (!pin) return;
    auto claim = blkown::claim(*pin, cookie());
    if (claim) write_and_end(std::move(*claim));
  }
  void finish() {
    model::check(ends() == 1, "one of the completions ends it");
    check_all_ended();
  }
};
const Add<Duplicates, &Duplicates::by_claim, &Duplicates::by_owned, &Duplicates::by_pin> duplicates{
    "claims", "duplicate completions by claim, tag_to_owned, tag_to_rq"};
const Add<Duplicates, &Duplicates::by_claim, &Duplicates::by_claim, &Duplicates::by_claim>
    duplicate_claims{"claims", "the same completion three times"};
const Add<Duplicates, &Duplicates::by_pin, &Duplicates::by_pin, &Duplicates::by_claim>
    duplicate_pins{"claims", "the right by two pins and a completion"};

/// Batches of completions with two values in common, in different order. The first batch also has a
/// value that is refused.
struct Batches : Device {
  std::array<std::uint64_t, 2> sent{};
  Batches() : Device{2} {
    for (std::uint32_t tag = 0; tag != 2; ++tag) {
      start(tag).publish([&](const Cookie& issued) { sent[tag] = issued.value; });
    }
  }
  void claims_each(std::span<const std::uint64_t> values) {
    set().claim_each(QueueIndex{0}, values, [](std::size_t, auto claim) {
      if (claim) write_and_end(std::move(*claim));
    });
  }
  void upwards() { claims_each(std::array{sent[0], ~std::uint64_t{0}, sent[1]}); }
  void downwards() { claims_each(std::array{sent[1], sent[0]}); }
  void finish() {
    model::check(ends() == 2, "one of the batches ends each I/O");
    check_all_ended();
  }
};
const Add<Batches, &Batches::upwards, &Batches::downwards> batches{
    "claims", "two batches of completions with values in common"};

/// A pin that becomes a Claim, against a completion and the drop of another pin.
struct PinToClaim : Device {
  ARef a = start().into_shared();
  ARef b = a;
  void turns() {
    auto claim = blkown::try_claim(std::move(a), cookie());
    if (claim) write_and_end(std::move(*claim));
  }
  void claims() {
    auto claim = set().claim(QueueIndex{0}, wire());
    if (claim) write_and_end(std::move(*claim));
  }
  void drops() { const ARef mine = std::move(b); }
  void finish() {
    model::check(ends() == 1, "one of the two ends it");
    check_all_ended();
  }
};
const Add<PinToClaim, &PinToClaim::turns, &PinToClaim::claims, &PinToClaim::drops> pin_to_claim{
    "claims", "ARef to Claim against claim and drop"};

/// Two pins become Claims: one of them fails and drops its pin.
struct PinsToClaims : Device {
  ARef a = start().into_shared();
  ARef b = a;
  void turns(ARef mine) {
    auto claim = blkown::try_claim(std::move(mine), cookie());
    if (claim) write_and_end(std::move(*claim));
  }
  void first() { turns(std::move(a)); }
  void second() { turns(std::move(b)); }
  void finish() { check_all_ended(); }
};
const Add<PinsToClaims, &PinsToClaims::first, &PinsToClaims::second> pins_to_claims{
    "claims", "two ARefs to Claims"};

/// The claimant through an older pin sees the publisher's write: the claim orders the write, the
/// pin does not.
struct PinBeforeRelease : Device {
  ARef a = start().into_shared();
  void claims_first() {
    auto claim = set().claim(QueueIndex{0}, wire());
    if (!claim) return;
    claim->data().value.set(8);
    std::move(*claim).release();
  }
  void claims_by_pin() {
    auto claim = blkown::try_claim(std::move(a), cookie());
    if (claim) write_and_end(std::move(*claim));
  }
  void finish() { sweep(); }
};
const Add<PinBeforeRelease, &PinBeforeRelease::claims_first, &PinBeforeRelease::claims_by_pin>
    pin_before{"claims", "try_claim against a Claim that is released"};

struct BorrowBeforeRelease : PinBeforeRelease {
  void claims_beside_pin() {
    auto claim = blkown::claim(a, cookie());
    if (claim) write_and_end(std::move(*claim));
    const ARef dropped = std::move(a);
  }
};
const Add<BorrowBeforeRelease, &BorrowBeforeRelease::claims_first,
          &BorrowBeforeRelease::claims_beside_pin>
    borrow_before{"claims", "claim beside a pin against a Claim that is released"};

/// Claim, end and last drop, with the pins of a mapping and of a scan, and a lookup that arrives
/// when the end is almost complete.
struct EndPinned : Mapped {
  EndPinned() { publish(map(start())); }
  void completes() {
    auto claim = set().claim(QueueIndex{0}, wire());
    model::check(claim.has_value(), "no other thread claims");
    write_and_end(std::move(*claim));
  }
  void unmaps() { mapping.reset(); }
  void scans() {
    set().for_each_in_flight(QueueIndex{0},
                             [](ARef pin, const Cookie&) { const ARef mine = std::move(pin); });
  }
  void finish() { check_all_ended(); }
};
const Add<EndPinned, &EndPinned::completes, &EndPinned::unmaps, &EndPinned::scans> end_pinned{
    "claims", "claim, end and last drop with a mapping's and a scan's pin"};

/// The same with a table that describes I/Os that have ended.
struct EndTable : EndPinned {
  void describes() {
    auto pin = set().pin_ended(QueueIndex{0}, Tag{0});
    if (pin) read(*pin);
  }
};
const Add<EndTable, &EndTable::completes, &EndTable::unmaps, &EndTable::describes> end_table{
    "claims", "claim, end and last drop with a mapping's pin and a table's pin of the ended I/O"};

/// The same with a duplicate completion in place of the scan.
struct EndDuplicate : EndPinned {
  void completes() {
    auto claim = set().claim(QueueIndex{0}, wire());
    if (claim) write_and_end(std::move(*claim));
  }
  void duplicates() {
    auto owned = set().tag_to_owned(QueueIndex{0}, wire());
    if (owned) write_and_end(std::move(*owned));
  }
};
const Add<EndDuplicate, &EndDuplicate::completes, &EndDuplicate::unmaps, &EndDuplicate::completes>
    end_claims{"claims", "two completions with a mapping's pin"};
const Add<EndDuplicate, &EndDuplicate::completes, &EndDuplicate::unmaps, &EndDuplicate::duplicates>
    end_owned{"claims", "a completion and tag_to_owned with a mapping's pin"};

/// A Claim creates and drops pins of its own while another pin is dropped.
struct PinsOfClaim : Mapped {
  Claim claim = map(start());
  void maps_more() {
    const ARef more = claim.pin();
    std::move(claim).end_ok();
  }
  void unmaps() {
    read(*mapping);
    mapping.reset();
  }
  void finish() { check_all_ended(); }
};
const Add<PinsOfClaim, &PinsOfClaim::maps_more, &PinsOfClaim::unmaps> pins_of_claim{
    "claims", "Claim::pin against the drop of another pin"};

/// Holders of pins try every operation on a claimed or finished word. All are refused, the pins are
/// returned or dropped, and the end happens once. No thread becomes the owner of an I/O that a
/// Claim has ended.
struct OnFinished : Device {
  ARef a = start().into_shared();
  ARef b = a;
  std::uint32_t rights = 0;
  void ends() {
    auto claim = set().claim(QueueIndex{0}, wire());
    if (!claim) return;
    ++rights;
    std::move(*claim).end_ok();
  }
  void take(std::optional<Owned> owned) {
    if (!owned) return;
    ++rights;
    write_and_end(std::move(*owned));
  }
  void tries() {
    read(a);
    auto owned = Owned::try_from_shared(std::move(a));
    if (owned) take(std::move(*owned));
  }
  void owns() {
    read(b);
    take(blkown::drop_or_own(std::move(b)));
  }
  void finish() {
    model::check(rights <= 1, "one has the right, and uses it up");
    sweep();
  }
};
const Add<OnFinished, &OnFinished::ends, &OnFinished::tries, &OnFinished::owns> on_finished{
    "claims", "try_from_shared and drop_or_own on claimed and finished words"};

struct OnFinishedLookup : OnFinished {
  OnFinishedLookup() { const ARef dropped = std::move(b); }
  void looks_up() {
    auto owned = set().tag_to_owned(QueueIndex{0}, wire());
    if (owned) take(std::move(*owned));
  }
};
const Add<OnFinishedLookup, &OnFinishedLookup::ends, &OnFinishedLookup::tries,
          &OnFinishedLookup::looks_up>
    on_finished_lookup{"claims", "tag_to_owned on claimed and finished words"};

/// The Claim writes and ends with pins. The thread that completes the end by drop_or_own sees the
/// write.
struct EndThenOwn : Device {
  ARef a = start().into_shared();
  std::uint32_t rights = 0;
  void ends() {
    auto claim = set().claim(QueueIndex{0}, wire());
    if (!claim) return;
    ++rights;
    write_and_end(std::move(*claim));
  }
  void owns() {
    auto owned = blkown::drop_or_own(std::move(a));
    if (!owned) return;
    ++rights;
    write_and_end(std::move(*owned));
  }
  void finish() {
    model::check(rights == 1, "the Claim ends it, or the owner does");
    check_all_ended();
  }
};
const Add<EndThenOwn, &EndThenOwn::ends, &EndThenOwn::owns> end_then_own{
    "claims", "the end of a Claim that wrote against drop_or_own"};

/// into_owned against a pin drop: alone, the owner writes; otherwise the returned Claim ends the
/// I/O.
struct IntoOwned : Mapped {
  Claim claim = map(start());
  void takes() {
    auto owned = std::move(claim).into_owned();
    if (owned) {
      write_and_end(std::move(*owned));
    } else {
      std::move(owned.error()).end_ok();
    }
  }
  void unmaps() {
    read(*mapping);
    mapping.reset();
  }
  void finish() { check_all_ended(); }
};
const Add<IntoOwned, &IntoOwned::takes, &IntoOwned::unmaps> into_owned{
    "claims", "into_owned against a pin drop"};

/// The Claim ends the I/O alone, by a plain store, after the drop of the last pin, whose holder has
/// read the data.
struct EndAlone : IntoOwned {
  void ends() { std::move(claim).end_ok(); }
};
const Add<EndAlone, &EndAlone::ends, &EndAlone::unmaps> end_alone{"claims",
                                                                  "end against a pin drop"};

/// Publish and release of a Claim while its last pin, whose holder has read, is dropped. The next
/// claimant writes after that read, whether the Claim was alone or not.
template <bool Publish>
struct LetGoAlone : Mapped {
  std::optional<Claim> claim;
  LetGoAlone() {
    publish(map(start()));
    auto found = set().claim(QueueIndex{0}, wire());
    claim.emplace(std::move(*found));
  }
  void lets_go() {
    if constexpr (Publish) {
      publish(std::move(*claim));
    } else {
      std::move(*claim).release();
    }
  }
  void unmaps() {
    read(*mapping);
    mapping.reset();
  }
  void takes() {
    auto owned = set().tag_to_owned(QueueIndex{0}, wire(Publish ? first + 1 : first));
    if (owned) write_and_end(std::move(*owned));
  }
  void finish() { sweep(); }
};
const Add<LetGoAlone<true>, &LetGoAlone<true>::lets_go, &LetGoAlone<true>::unmaps,
          &LetGoAlone<true>::takes>
    publish_alone{"claims", "publish of a Claim against a pin drop"};
const Add<LetGoAlone<false>, &LetGoAlone<false>::lets_go, &LetGoAlone<false>::unmaps,
          &LetGoAlone<false>::takes>
    release_alone{"claims", "release of a Claim against a pin drop"};

/// The next claimant sees what a Claim wrote before it released or published.
enum class Pins { none, one };
template <bool Publish, Pins Held>
struct WriteLetGo : Mapped {
  WriteLetGo() {
    publish(map(start()));
    if (Held == Pins::none) mapping.reset();
  }
  void writes() {
    auto claim = set().claim(QueueIndex{0}, wire());
    if (!claim) return;
    claim->data().value.set(6);
    if constexpr (Publish) {
      publish(std::move(*claim));
    } else {
      std::move(*claim).release();
    }
  }
  void writes_too() {
    auto claim = set().claim(QueueIndex{0}, wire(Publish ? first + 1 : first));
    if (claim) write_and_end(std::move(*claim));
  }
  void finish() {
    mapping.reset();
    sweep();
  }
};
template <bool Publish, Pins Held>
using AddWrite = Add<WriteLetGo<Publish, Held>, &WriteLetGo<Publish, Held>::writes,
                     &WriteLetGo<Publish, Held>::writes_too>;
const AddWrite<true, Pins::none> write_publish{"claims", "a Claim writes and publishes, alone"};
const AddWrite<true, Pins::one> write_publish_pinned{"claims",
                                                     "a Claim writes and publishes, pinned"};
const AddWrite<false, Pins::none> write_release{"claims", "a Claim writes and releases, alone"};
const AddWrite<false, Pins::one> write_release_pinned{"claims",
                                                      "a Claim writes and releases, pinned"};

/// Two completions of one command, in contexts of their own. Each completion finds the I/O unless
/// the other completion holds the I/O at that moment. A completion releases the right, so the I/O
/// can be claimed again afterwards.
struct TwoCompletions : Device {
  TwoCompletions() { publish(start()); }
  void completes() {
    auto claim = set().claim(QueueIndex{0}, wire());
    if (!claim) {
      model::check(claim.error().reason == LookupReason::owned, "the other thread has it");
      return;
    }
    claim->data().value.set(9);
    std::move(*claim).release();
  }
  void finish() {
    auto claim = set().claim(QueueIndex{0}, wire());
    model::check(claim.has_value(), "released under the same generation");
    write_and_end(std::move(*claim));
    check_all_ended();
  }
};
const Add<TwoCompletions, &TwoCompletions::completes, &TwoCompletions::completes> two_completions{
    "claims", "release between two completions of one command"};

/// The same with a scan's pin, so that releases happen at any count.
struct TwoCompletionsScan : TwoCompletions {
  void completes() {
    auto claim = set().claim(QueueIndex{0}, wire());
    if (!claim) return;
    claim->data().value.set(9);
    std::move(*claim).release();
  }
  void scans() {
    set().for_each_in_flight(QueueIndex{0},
                             [](ARef pin, const Cookie&) { const ARef mine = std::move(pin); });
  }
};
const Add<TwoCompletionsScan, &TwoCompletionsScan::completes, &TwoCompletionsScan::completes,
          &TwoCompletionsScan::scans>
    two_completions_scan{"claims", "release between two completions, with a scan"};

}  // namespace claims
