// SPDX-License-Identifier: BSL-1.0
// A member that consumes an Ended or an ARef requires std::move.
// EXPECT-FIRST(gcc): use of deleted function '.*use_std_move
// EXPECT-FIRST(clang): deleted member function '.*': use std::move, as in std::move\(handle\)\.
#include "snippet.hpp"

void release(Ended ended) {
#ifdef BLKOWN_WRONG
  ended.release();
#else
  std::move(ended).release();
#endif
}

void release_to_cache(Ended ended, blkown::TagCache& cache) {
#ifdef BLKOWN_WRONG
  ended.release(cache);
#else
  std::move(ended).release(cache);
#endif
}

void into_idle(Ended ended) {
#ifdef BLKOWN_WRONG
  use(ended.into_idle());
#else
  use(std::move(ended).into_idle());
#endif
}

void into_raw(ARef aref) {
#ifdef BLKOWN_WRONG
  use(aref.into_raw());
#else
  use(std::move(aref).into_raw());
#endif
}
