// SPDX-License-Identifier: BSL-1.0
// A handle cannot be used after it was move-assigned to another.
// EXPECT(clang): invalid invocation of method '.*' .* while it is in the 'consumed' state
#include "snippet.hpp"

void idle(Idle idle, Idle next) {
  next = std::move(idle);
#ifdef BLKOWN_WRONG
  use(idle.tag());
#else
  use(next.tag());
#endif
}

void owned(Owned owned, Owned next) {
  next = std::move(owned);
#ifdef BLKOWN_WRONG
  use(owned.tag());
#else
  use(next.tag());
#endif
}

void claim(Claim claim, Claim next) {
  next = std::move(claim);
#ifdef BLKOWN_WRONG
  use(claim.tag());
#else
  use(next.tag());
#endif
}

void aref(ARef aref, ARef next) {
  next = std::move(aref);
#ifdef BLKOWN_WRONG
  use(aref.tag());
#else
  use(next.tag());
#endif
}

void ended(Ended ended, Ended next) {
  next = std::move(ended);
#ifdef BLKOWN_WRONG
  use(ended.tag());
#else
  use(next.tag());
#endif
}
