// SPDX-License-Identifier: BSL-1.0
//
// Goal: Claims against completions, against references that become Claims, and against pins.
// Method: the holder of the Claim writes; the holders of pins read before they drop them.
// Invariants: one Claim exists at a time. The accesses of a Claim that is alone come after the
// reads of all pins. The accesses of the next claimant come after those of the Claim. If pins are
// left, the drop of the last one completes the end, once.

#ifndef BLKOWN_TESTS_MODEL_OUTSIDE_SCENARIOS_CLAIMS_HPP
#define BLKOWN_TESTS_MODEL_OUTSIDE_SCENARIOS_CLAIMS_HPP

#include "../request.hpp"

namespace word {

/// A reference becomes the Claim, or a Claim is made beside it, against a completion and a drop.
struct RefToClaim : TwoReferences {
  void turns() {
    a.read(1);
    a.complete_by_ref(first);
  }
  void claims_beside() {
    a.read(1);
    a.complete_beside_ref(first);
  }
  void completes() { b.complete_by_claim(first); }
  void drops() {
    c.read(1);
    c.drop();
  }
  void finish() { check_ended(); }
};

/// Two references become Claims: one of them is refused and dropped.
struct RefsToClaims : TwoReferences {
  void turns() {
    a.read(1);
    a.complete_by_ref(first);
  }
  void turns_too() {
    b.read(1);
    b.complete_by_ref(first);
  }
  void claims_beside() { b.complete_beside_ref(first); }
  void finish() { check_ended(); }
};

/// Two completions of one command each release the right after a write. A reference older than both
/// becomes the third Claim and sees their writes.
struct ReleaseBesideRef : Fixture {
  ReleaseBesideRef() {
    main.start();
    main.into_shared();
  }
  void releases() {
    if (!a.claim(first)) return;
    a.write();
    a.release_claim();
  }
  void turns() { b.complete_by_ref(first); }
  void claims_beside() { b.complete_beside_ref(first); }
  void finish() { sweep(); }
};

/// Claim, end and last drop, with the pins of a mapping and of a scan.
struct EndPinned : Pinned {
  EndPinned() { main.publish(); }
  void completes() {
    require(a.claim(first));
    a.end();
  }
  void may_complete() { a.complete_by_claim(first); }
  void unmaps() {
    b.read(1);
    b.drop();
  }
  void scans() { c.pin_and_read(first); }
  void completes_too() { c.complete_by_claim(first); }
  void completes_by_owned() { c.complete_by_owned(first); }
  void finish() { check_ended(); }
};

/// The end of a Claim against holders that drop their pins by drop_or_own.
struct EndAndOwn : Fixture {
  EndAndOwn() {
    main.start();
    main.into_shared();
  }
  void completes() { a.complete_by_claim(first); }
  void owns() {
    b.read(1);
    b.own_or_lose();
  }
  void finish() { check_ended(); }
};

struct EndAndOwnByTwo : EndAndOwn {
  EndAndOwnByTwo() { main.clone(); }
  void owns_too() {
    c.read(1);
    c.own_or_lose();
  }
};

/// References try every operation on claimed and finished words: all are refused.
struct OnFinished : TwoReferences {
  void completes() {
    if (a.claim(first)) a.end_unwritten();
  }
  void tries() {
    b.read(1);
    b.own_or_drop();
  }
  void owns() {
    c.read(1);
    c.own_or_lose();
  }
  void finish() { sweep(); }
};

struct OnFinishedLookup : EndAndOwn {
  void turns() {
    b.read(1);
    b.complete_by_ref(first);
  }
  void looks_up() { c.complete_by_owned(first); }
};

/// A Claim that was never published, against the drop of its pin: into_owned reports whether the
/// Claim is alone.
struct IntoOwnedAndDrop : Pinned {
  void takes() {
    if (a.into_owned()) {
      a.end_owned();
    } else {
      a.end();
    }
  }
  void ends_it() { a.end(); }
  /// Creates and drops one more pin, then ends.
  void pins_and_ends() {
    a.pin();
    a.end_unwritten();
    a.read(1);
    a.drop();
  }
  void unmaps() {
    b.read(1);
    b.drop();
  }
  void finish() { check_ended(1, first - 1); }
};

/// Publish and release of a Claim against the drop of its pin, and the next claimant.
struct PublishAndDrop : Pinned {
  PublishAndDrop() {
    main.publish();
    require(main.claim(first));
  }
  void publishes() {
    a.write();
    a.publish();
  }
  void unmaps() {
    b.read(1);
    b.drop();
  }
  void completes() { c.complete_by_claim(first + 1); }
  void completes_by_owned() { c.complete_by_owned(first + 1); }
  void finish() { sweep(1, first + 1); }
};

struct ReleaseAndDrop : PublishAndDrop {
  void releases() {
    a.write();
    a.release_claim();
  }
  void completes() { c.complete_by_claim(first); }
  void completes_by_owned() { c.complete_by_owned(first); }
  void finish() { sweep(); }
};

/// The same, and the last pin does not read: only the Claim's own write is passed on.
struct PublishPinned : Pinned {
  void publishes() {
    a.write();
    a.publish();
  }
  void completes() {
    if (!b.claim(first)) return;
    b.write();
    b.release_claim();
  }
  void finish() {
    main.drop();
    sweep();
  }
};

/// Several completions of one command. Each completion claims and releases the I/O, unless another
/// completion holds the I/O at that moment.
struct TwoCompletions : Parked {
  void completes() {
    if (!a.claim(first)) {
      require(a.reason == LookupReason::owned || a.reason == LookupReason::claimed);
      return;
    }
    a.write();
    a.release_claim();
  }
  void completes_too() {
    if (!b.claim(first)) {
      require(b.reason == LookupReason::owned || b.reason == LookupReason::claimed);
      return;
    }
    b.write();
    b.release_claim();
  }
  void scans() { c.pin_and_read(first, 1); }
  void finish() { sweep(); }
};

}  // namespace word

#endif
