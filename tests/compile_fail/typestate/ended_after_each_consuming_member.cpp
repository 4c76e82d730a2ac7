// SPDX-License-Identifier: BSL-1.0
// An Ended cannot be used after any of its consuming members.
// A cast, not std::move: typestate treats std::move itself as consuming.
// EXPECT(clang): invalid invocation of method '.*' .* while it is in the 'consumed' state
#include "snippet.hpp"

void release(Ended ended) {
  static_cast<Ended&&>(ended).release();
#ifdef BLKOWN_WRONG
  use(ended.tag());
#endif
}

void release_to_cache(Ended ended, blkown::TagCache& cache) {
  static_cast<Ended&&>(ended).release(cache);
#ifdef BLKOWN_WRONG
  use(ended.tag());
#endif
}

void into_idle(Ended ended) {
  const Idle idle = static_cast<Ended&&>(ended).into_idle();
#ifdef BLKOWN_WRONG
  use(ended.tag());
#else
  use(idle.tag());
#endif
}
