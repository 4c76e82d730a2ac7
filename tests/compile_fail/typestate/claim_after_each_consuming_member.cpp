// SPDX-License-Identifier: BSL-1.0
// Each member that gives a Claim away leaves nothing to use.
// EXPECT(clang): invalid invocation of method '.*' .* while it is in the 'consumed' state
#include "snippet.hpp"

void publish(Claim claim) {
  std::move(claim).publish(ring);
#ifdef BLKOWN_WRONG
  use(claim.tag());
#endif
}

void publish_to_a_device_that_may_refuse(Claim claim) {
  const auto published = std::move(claim).publish(try_ring);
#ifdef BLKOWN_WRONG
  use(claim.tag());
#else
  use(published);
#endif
}

void release(Claim claim) {
  std::move(claim).release();
#ifdef BLKOWN_WRONG
  use(claim.tag());
#endif
}

void end(Claim claim) {
  std::move(claim).end(blkown::Status::aborted);
#ifdef BLKOWN_WRONG
  use(claim.tag());
#endif
}

void end_ok(Claim claim) {
  std::move(claim).end_ok();
#ifdef BLKOWN_WRONG
  use(claim.tag());
#endif
}

void requeue(Claim claim) {
  std::move(claim).requeue();
#ifdef BLKOWN_WRONG
  use(claim.tag());
#endif
}

void into_owned(Claim claim) {
  const auto owned = std::move(claim).into_owned();
#ifdef BLKOWN_WRONG
  use(claim.tag());
#else
  use(owned);
#endif
}

void into_raw(Claim claim) {
  use(std::move(claim).into_raw());
#ifdef BLKOWN_WRONG
  use(claim.tag());
#endif
}
