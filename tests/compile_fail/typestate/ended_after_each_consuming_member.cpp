// SPDX-License-Identifier: BSL-1.0
// Each member that gives an Ended away leaves nothing to use.
// EXPECT(clang): invalid invocation of method '.*' .* while it is in the 'consumed' state
#include "snippet.hpp"

void release(Ended ended) {
  std::move(ended).release();
#ifdef BLKOWN_WRONG
  use(ended.tag());
#endif
}

void release_to_cache(Ended ended, blkown::TagCache& cache) {
  std::move(ended).release(cache);
#ifdef BLKOWN_WRONG
  use(ended.tag());
#endif
}

void into_idle(Ended ended) {
  const Idle idle = std::move(ended).into_idle();
#ifdef BLKOWN_WRONG
  use(ended.tag());
#else
  use(idle.tag());
#endif
}
