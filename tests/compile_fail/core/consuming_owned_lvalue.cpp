// SPDX-License-Identifier: BSL-1.0
// A member that consumes an Owned requires std::move.
// EXPECT-FIRST(gcc): use of deleted function '.*use_std_move
// EXPECT-FIRST(clang): deleted member function '.*': use std::move, as in std::move\(handle\)\.
#include "snippet.hpp"

void into_shared(Owned owned) {
#ifdef BLKOWN_WRONG
  use(owned.into_shared());
#else
  use(std::move(owned).into_shared());
#endif
}

void into_claim(Owned owned) {
#ifdef BLKOWN_WRONG
  use(owned.into_claim());
#else
  use(std::move(owned).into_claim());
#endif
}

void publish(Owned owned) {
#ifdef BLKOWN_WRONG
  owned.publish(ring);
#else
  std::move(owned).publish(ring);
#endif
}

void park(Owned owned) {
#ifdef BLKOWN_WRONG
  owned.park();
#else
  std::move(owned).park();
#endif
}

void end(Owned owned) {
#ifdef BLKOWN_WRONG
  owned.end(blkown::Status::medium_error);
#else
  std::move(owned).end(blkown::Status::medium_error);
#endif
}

void end_ok(Owned owned) {
#ifdef BLKOWN_WRONG
  owned.end_ok();
#else
  std::move(owned).end_ok();
#endif
}

void requeue(Owned owned) {
#ifdef BLKOWN_WRONG
  owned.requeue();
#else
  std::move(owned).requeue();
#endif
}

void into_raw(Owned owned) {
#ifdef BLKOWN_WRONG
  use(owned.into_raw());
#else
  use(std::move(owned).into_raw());
#endif
}
