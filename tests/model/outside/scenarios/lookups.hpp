// SPDX-License-Identifier: BSL-1.0
//
// Goal: lookups against threads that publish a request or drop its last reference.
// Method: the publisher or dropper has accessed data that the finder reads or writes.
// Invariants: a lookup that succeeds sees everything done before. A refused lookup changes nothing.
// Of several completions one ends the I/O.

#ifndef BLKOWN_TESTS_MODEL_OUTSIDE_SCENARIOS_LOOKUPS_HPP
#define BLKOWN_TESTS_MODEL_OUTSIDE_SCENARIOS_LOOKUPS_HPP

#include "../request.hpp"

namespace word {

/// Threads that look up in one of the three ways and end the I/O if they can.
struct Lookups : Fixture {
  void by_rq() {
    if (!b.tag_to_rq(first)) return;
    b.read(1);
    b.own_or_drop();
  }
  void by_owned() { b.complete_by_owned(first); }
  void by_claim() { b.complete_by_claim(first); }
  void finish() { sweep(); }
};

/// into_shared: the publisher keeps a reference for a while.
struct ShareAndLookup : Lookups {
  ShareAndLookup() { main.start(); }
  void shares() {
    a.write_alone();
    a.into_shared();
    a.drop();
  }
  /// Reads under the reference, so that an owner has more to be ordered after.
  void shares_and_reads() {
    a.write_alone();
    a.into_shared();
    a.read(2);
    a.drop();
  }
};

/// The same, but the publisher never drops its reference, and the claimant writes beside that
/// reference.
struct ShareAndKeep : Lookups {
  ShareAndKeep() { main.start(); }
  void shares() {
    a.write_alone();
    a.into_shared();
  }
  void finish() {
    main.drop();
    sweep();
  }
};

/// park, or publish of an Owned: no reference is left.
struct ParkAndLookup : Lookups {
  ParkAndLookup() { main.start(); }
  void parks() {
    a.write_alone();
    a.park();
  }
};

/// A reader drops the last reference, 2 -> 1.
struct DropAndLookup : Lookups {
  DropAndLookup() {
    main.start();
    main.into_shared();
  }
  void drops() {
    a.read(1);
    a.drop();
  }
};

/// Several completions of one publication, by every lookup: one of them ends the I/O.
struct Duplicates : Parked {
  void by_claim() { a.complete_by_claim(first); }
  void by_owned() { b.complete_by_owned(first); }
  void by_rq() {
    if (!c.tag_to_rq(first)) return;
    c.read(1);
    c.complete_by_ref(first);
  }
  void by_rq_too() {
    if (!b.tag_to_rq(first)) return;
    b.read(1);
    b.complete_beside_ref(first);
  }
  void finish() { check_ended(); }
};

struct DuplicateClaims : Parked {
  void first_claims() { a.complete_by_claim(first); }
  void second_claims() { b.complete_by_claim(first); }
  void third_claims() { c.complete_by_claim(first); }
  void finish() { check_ended(); }
};

/// From the doorbell to the completion: the submitter publishes and rings, and the device answers.
/// The reaper's lookup comes after both and must succeed, although its first load is relaxed.
struct Doorbell : Fixture {
  blkown::Atomic<Word> doorbell{0};
  blkown::Atomic<Word> completion{0};

  Doorbell() { main.start(); }
  void submits() {
    a.write_alone();
    a.park();
    doorbell.store(1, release);
  }
  void answers() {
    if (doorbell.load(acquire) == 1) completion.store(1, release);
  }
  void reaps() {
    if (completion.load(acquire) == 0) return;
    require(c.claim(first));
    c.end();
  }
  void finish() { sweep(); }
};

/// The same with a Claim that is published beside a mapping's pin, which the reaper drops.
struct DoorbellPinned : Doorbell {
  DoorbellPinned() { main.pin(); }
  void submits() {
    a.write();
    a.publish();
    doorbell.store(1, release);
  }
  void reaps() {
    if (completion.load(acquire) == 0) return;
    require(c.claim(first));
    c.read(1);
    c.drop();
    require(c.into_owned());
    c.end_owned();
  }
  void finish() {
    if (ends() == 0) main.drop();
    sweep();
  }
};

}  // namespace word

#endif
