// SPDX-License-Identifier: BSL-1.0
//
// Goal: references that are dropped, cloned and turned into ownership at the same time.
// Method: each thread holds a reference and reads the data under it before it drops it.
// Invariants: at most one becomes the owner; exactly one if all drop by drop_or_own. The owner's
// writes come after all the reads. A refused thread has lost nothing.

#ifndef BLKOWN_TESTS_MODEL_OUTSIDE_SCENARIOS_REFERENCES_HPP
#define BLKOWN_TESTS_MODEL_OUTSIDE_SCENARIOS_REFERENCES_HPP

#include "../request.hpp"

namespace word {

/// A drop against try_from_shared. A refused reference is dropped too, and the I/O stays parked.
struct DropAndTake : TwoReferences {
  void drops() {
    a.read(1);
    a.drop();
  }
  void takes() { b.own_or_drop(); }
  void finish() { sweep(); }
};

/// Two try_from_shared: both may be refused, never both succeed.
struct TakeByTwo : TwoReferences {
  void takes() {
    a.read(1);
    a.own_or_drop();
  }
  void takes_too() {
    b.read(1);
    b.own_or_drop();
  }
  void finish() { sweep(); }
};

/// drop_or_own by all holders, two or three: exactly one becomes the owner.
struct OwnByTwo : TwoReferences {
  void owns() {
    a.read(1);
    a.own_or_lose();
  }
  void owns_too() {
    b.read(1);
    b.own_or_lose();
  }
  void finish() { check_ended(); }
};

struct OwnByThree : ThreeReferences {
  void first_owns() {
    a.read(1);
    a.own_or_lose();
  }
  void second_owns() {
    b.read(1);
    b.own_or_lose();
  }
  void third_owns() {
    c.read(1);
    c.own_or_lose();
  }
  void finish() { check_ended(); }
};

/// drop_or_own against a plain drop: if the plain drop is last, the I/O stays parked.
struct OwnAgainstDrop : DropAndTake {
  void owns() {
    b.read(1);
    b.own_or_lose();
  }
};

/// A drop, try_from_shared, and a lookup that adds a third reference.
struct DropTakeLookup : DropAndTake {
  void looks_up() {
    if (!c.tag_to_rq(first)) return;
    c.read(1);
    c.own_or_lose();
  }
};

/// A reference is cloned and both are dropped, while the other holder tries to become the owner.
struct CloneAndTake : TwoReferences {
  void clones() {
    a.clone();
    a.read(1);
    a.drop();
    a.drop();
  }
  void takes() { b.own_or_drop(); }
  void finish() { sweep(); }
};

/// The same against drop_or_own and a drop: the clone continues the release sequence.
struct CloneOwnDrop : CloneAndTake {
  CloneOwnDrop() { main.clone(); }
  void owns() { b.own_or_lose(); }
  void drops() {
    c.read(1);
    c.drop();
  }
};

}  // namespace word

#endif
