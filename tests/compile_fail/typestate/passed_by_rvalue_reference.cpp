// SPDX-License-Identifier: BSL-1.0
// A handle cannot be used after it was passed with std::move.
// EXPECT(clang): invalid invocation of method '.*' .* while it is in the 'consumed' state
#include "snippet.hpp"

void take(Idle&& idle);

void idle(Idle idle) {
  take(std::move(idle));
#ifdef BLKOWN_WRONG
  use(idle.tag());
#endif
}

void take(Owned&& owned);

void owned(Owned owned) {
  take(std::move(owned));
#ifdef BLKOWN_WRONG
  use(owned.tag());
#endif
}

void take(Claim&& claim);

void claim(Claim claim) {
  take(std::move(claim));
#ifdef BLKOWN_WRONG
  use(claim.tag());
#endif
}

void take(ARef&& aref);

void aref(ARef aref) {
  take(std::move(aref));
#ifdef BLKOWN_WRONG
  use(aref.tag());
#endif
}

void take(Ended&& ended);

void ended(Ended ended) {
  take(std::move(ended));
#ifdef BLKOWN_WRONG
  use(ended.tag());
#endif
}
