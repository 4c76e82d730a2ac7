// SPDX-License-Identifier: BSL-1.0
// A Claim cannot be used after any of its consuming members.
// A cast, not std::move: typestate treats std::move itself as consuming.
// EXPECT(clang): invalid invocation of method '.*' .* while it is in the 'consumed' state
#include "snippet.hpp"

void publish(Claim claim) {
  static_cast<Claim&&>(claim).publish(ring);
#ifdef BLKOWN_WRONG
  use(claim.tag());
#endif
}

void publish_to_a_device_that_may_refuse(Claim claim) {
  const auto published = static_cast<Claim&&>(claim).publish(try_ring);
#ifdef BLKOWN_WRONG
  use(claim.tag());
#else
  use(published);
#endif
}

void release(Claim claim) {
  static_cast<Claim&&>(claim).release();
#ifdef BLKOWN_WRONG
  use(claim.tag());
#endif
}

void end(Claim claim) {
  static_cast<Claim&&>(claim).end(blkown::Status::aborted);
#ifdef BLKOWN_WRONG
  use(claim.tag());
#endif
}

void end_ok(Claim claim) {
  static_cast<Claim&&>(claim).end_ok();
#ifdef BLKOWN_WRONG
  use(claim.tag());
#endif
}

void requeue(Claim claim) {
  static_cast<Claim&&>(claim).requeue();
#ifdef BLKOWN_WRONG
  use(claim.tag());
#endif
}

void into_owned(Claim claim) {
  const auto owned = static_cast<Claim&&>(claim).into_owned();
#ifdef BLKOWN_WRONG
  use(claim.tag());
#else
  use(owned);
#endif
}

void into_raw(Claim claim) {
  use(static_cast<Claim&&>(claim).into_raw());
#ifdef BLKOWN_WRONG
  use(claim.tag());
#endif
}
