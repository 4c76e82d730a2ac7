// SPDX-License-Identifier: BSL-1.0
// A member that consumes an Ended or an ARef requires std::move.
// EXPECT(gcc): passing '(Idle|Owned|Claim|ARef|Ended)' .* as 'this' argument discards qualifiers
// EXPECT(clang): 'this' argument .* is an lvalue, but function has rvalue ref-qualifier
// EXPECT(clang): no matching member function for call to '(publish|release)'
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
