// SPDX-License-Identifier: BSL-1.0
// An Owned cannot be used after any of its consuming members.
// A cast, not std::move: typestate treats std::move itself as consuming.
// EXPECT(clang): invalid invocation of method '.*' .* while it is in the 'consumed' state
#include "snippet.hpp"

void into_shared(Owned owned) {
  const ARef aref = static_cast<Owned&&>(owned).into_shared();
#ifdef BLKOWN_WRONG
  use(owned.tag());
#else
  use(aref.tag());
#endif
}

void into_claim(Owned owned) {
  const Claim claim = static_cast<Owned&&>(owned).into_claim();
#ifdef BLKOWN_WRONG
  use(owned.tag());
#else
  use(claim.tag());
#endif
}

void publish(Owned owned) {
  static_cast<Owned&&>(owned).publish(ring);
#ifdef BLKOWN_WRONG
  use(owned.tag());
#endif
}

void publish_to_a_device_that_may_refuse(Owned owned) {
  const auto published = static_cast<Owned&&>(owned).publish(try_ring);
#ifdef BLKOWN_WRONG
  use(owned.tag());
#else
  use(published);
#endif
}

void park(Owned owned) {
  static_cast<Owned&&>(owned).park();
#ifdef BLKOWN_WRONG
  use(owned.tag());
#endif
}

void end(Owned owned) {
  static_cast<Owned&&>(owned).end(blkown::Status::aborted);
#ifdef BLKOWN_WRONG
  use(owned.tag());
#endif
}

void end_ok(Owned owned) {
  static_cast<Owned&&>(owned).end_ok();
#ifdef BLKOWN_WRONG
  use(owned.tag());
#endif
}

void requeue(Owned owned) {
  static_cast<Owned&&>(owned).requeue();
#ifdef BLKOWN_WRONG
  use(owned.tag());
#endif
}

void into_raw(Owned owned) {
  use(static_cast<Owned&&>(owned).into_raw());
#ifdef BLKOWN_WRONG
  use(owned.tag());
#endif
}
