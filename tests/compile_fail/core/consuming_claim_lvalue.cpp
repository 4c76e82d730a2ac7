// SPDX-License-Identifier: BSL-1.0
// A member that consumes a Claim requires std::move.
// EXPECT-FIRST(gcc): use of deleted function '.*use_std_move
// EXPECT-FIRST(clang): deleted member function '.*': use std::move, as in std::move\(handle\)\.
#include "snippet.hpp"

void publish(Claim claim) {
#ifdef BLKOWN_WRONG
  claim.publish(ring);
#else
  std::move(claim).publish(ring);
#endif
}

void release(Claim claim) {
#ifdef BLKOWN_WRONG
  claim.release();
#else
  std::move(claim).release();
#endif
}

void end(Claim claim) {
#ifdef BLKOWN_WRONG
  claim.end(blkown::Status::medium_error);
#else
  std::move(claim).end(blkown::Status::medium_error);
#endif
}

void end_ok(Claim claim) {
#ifdef BLKOWN_WRONG
  claim.end_ok();
#else
  std::move(claim).end_ok();
#endif
}

void requeue(Claim claim) {
#ifdef BLKOWN_WRONG
  claim.requeue();
#else
  std::move(claim).requeue();
#endif
}

void into_owned(Claim claim) {
#ifdef BLKOWN_WRONG
  use(claim.into_owned());
#else
  use(std::move(claim).into_owned());
#endif
}

void into_raw(Claim claim) {
#ifdef BLKOWN_WRONG
  use(claim.into_raw());
#else
  use(std::move(claim).into_raw());
#endif
}
