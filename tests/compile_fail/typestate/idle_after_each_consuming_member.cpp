// SPDX-License-Identifier: BSL-1.0
// Each member that gives an Idle away leaves nothing to use.
// EXPECT(clang): invalid invocation of method '.*' .* while it is in the 'consumed' state
#include "snippet.hpp"

void start(Idle idle) {
  const Owned owned = std::move(idle).start();
#ifdef BLKOWN_WRONG
  use(idle.tag());
#else
  use(owned.tag());
#endif
}

void fail(Idle idle) {
  std::move(idle).fail(blkown::Status::resource);
#ifdef BLKOWN_WRONG
  use(idle.tag());
#endif
}

void requeue(Idle idle) {
  std::move(idle).requeue();
#ifdef BLKOWN_WRONG
  use(idle.tag());
#endif
}

void into_raw(Idle idle) {
  use(std::move(idle).into_raw());
#ifdef BLKOWN_WRONG
  use(idle.tag());
#endif
}
