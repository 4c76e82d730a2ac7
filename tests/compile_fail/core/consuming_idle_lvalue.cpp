// SPDX-License-Identifier: BSL-1.0
// A member that consumes an Idle requires std::move.
// EXPECT-FIRST(gcc): use of deleted function '.*use_std_move
// EXPECT-FIRST(clang): deleted member function '.*': use std::move, as in std::move\(handle\)\.
#include "snippet.hpp"

void start(Idle idle) {
#ifdef BLKOWN_WRONG
  use(idle.start());
#else
  use(std::move(idle).start());
#endif
}

void fail(Idle idle) {
#ifdef BLKOWN_WRONG
  idle.fail(blkown::Status::resource);
#else
  std::move(idle).fail(blkown::Status::resource);
#endif
}

void requeue(Idle idle) {
#ifdef BLKOWN_WRONG
  idle.requeue();
#else
  std::move(idle).requeue();
#endif
}

void into_raw(Idle idle) {
#ifdef BLKOWN_WRONG
  use(idle.into_raw());
#else
  use(std::move(idle).into_raw());
#endif
}
