// SPDX-License-Identifier: BSL-1.0
//
// Goal: a request that is published again, and a publication that the device refuses.
// Method: each publication has a generation of its own, which its completions carry.
// Invariants: a completion of an earlier stage never gets a later one. Either the submitter takes a
// refused publication back, or the faster context ends it, never both. Each stage sees the data of
// the stage before.

#ifndef BLKOWN_TESTS_MODEL_OUTSIDE_SCENARIOS_REPUBLISHED_HPP
#define BLKOWN_TESTS_MODEL_OUTSIDE_SCENARIOS_REPUBLISHED_HPP

#include "../request.hpp"

namespace word {

/// Published again by an owner that does not touch the data: the writes of the first publisher
/// reach the third.
struct RepublishUntouched : Fixture {
  RepublishUntouched() { main.start(); }
  void publishes() {
    a.write_alone();
    a.park();
  }
  void publishes_owned_again() {
    if (b.tag_to_owned(first)) b.park();
  }
  void publishes_claim_again() {
    if (b.claim(first)) b.publish();
  }
  void completes() { c.complete_by_claim(first + 1); }
  void finish() { sweep(1, value().generation().value); }
};

/// The same beside a pin that stays.
struct RepublishPinned : RepublishUntouched {
  RepublishPinned() { main.pin(); }
  void publishes() {
    a.write();
    a.publish();
  }
  void finish() {
    main.drop();
    sweep(1, value().generation().value);
  }
};

/// The completion of a stage comes twice while the next stage is published: one of the two
/// publishes the next stage.
struct Stages : Parked {
  void next_stage() {
    if (!a.claim(first)) return;
    a.write();
    a.publish();
  }
  void next_stage_too() {
    if (!b.claim(first)) return;
    b.write();
    b.publish();
  }
  void completes() { c.complete_by_claim(first + 1); }
  void finish() { sweep(1, first + 1); }
};

/// A scan takes a pin in either stage, and claims beside the pin with the generation of that stage.
struct ScanAcrossStages : Stages {
  void scans() {
    if (!b.tag_to_rq(Match::any())) return;
    b.read(1);
    b.complete_beside_ref(b.found_generation);
  }
  void finish() { sweep(1, value().generation().value); }
};

/// The same with a pin that becomes the Claim, against stages that are published and not completed.
struct TurnAcrossStages : Stages {
  void scans() {
    if (!b.tag_to_rq(Match::any())) return;
    b.complete_by_ref(b.found_generation);
  }
  void finish() { sweep(1, value().generation().value); }
};

/// The completion requeues and restarts the I/O, against a late duplicate and the next completion.
struct Requeue : Parked {
  void requeues() {
    if (!a.claim(first) || !a.end()) return;
    a.start();
    a.park();
  }
  void late() { b.complete_by_claim(first); }
  void completes() { c.complete_by_claim(first + 1); }
  void finish() {
    const std::uint32_t generation = value().generation().value;
    sweep(generation == first ? 1 : 2, generation);
  }
};

/// The device refuses the publication. A forged completion arrives, possibly before the
/// publication, while the submitter writes.
struct Refused : Fixture {
  Refused() { main.start(); }
  void submits() {
    a.write_alone();
    a.park();
    if (a.take_back(first)) a.end();
  }
  void forges() { b.complete_by_claim(first); }
  void forges_owned() { b.complete_by_owned(first); }
  /// The forged Claim is released again. The submitter then gets the I/O, or tries too early.
  void forges_and_releases() {
    if (!b.claim(first)) return;
    b.write();
    b.release_claim();
  }
  void scans() { c.pin_and_read(first, 2); }
  void finish() { check_ended(); }
};

struct RefusedReleased : Refused {
  void finish() { sweep(); }
};

/// The same for a Claim with a mapping's pin, which the submitter drops at the end.
struct RefusedPinned : Refused {
  RefusedPinned() { main.pin(); }
  void submits() {
    a.write();
    a.publish();
    if (a.take_back(first)) a.end();
    a.drop();
  }
  void scans() { c.pin_and_read(first, 1); }
};

struct RefusedPinnedReleased : RefusedPinned {
  void finish() { sweep(); }
};

}  // namespace word

#endif
