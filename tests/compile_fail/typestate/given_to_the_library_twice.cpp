// SPDX-License-Identifier: BSL-1.0
// A consumed handle cannot be passed to a function of the library that consumes it.
// EXPECT(clang): argument not in expected state; expected 'unconsumed', observed 'consumed'
#include "snippet.hpp"

void try_from_shared(ARef aref) {
  use(std::move(aref).into_raw());
#ifdef BLKOWN_WRONG
  use(Owned::try_from_shared(std::move(aref)));
#endif
}

void drop_or_own(ARef aref) {
  use(std::move(aref).into_raw());
#ifdef BLKOWN_WRONG
  use(blkown::drop_or_own(std::move(aref)));
#endif
}

void try_claim(ARef aref, const blkown::Cookie& cookie) {
  use(std::move(aref).into_raw());
#ifdef BLKOWN_WRONG
  use(blkown::try_claim(std::move(aref), cookie));
#else
  use(cookie);
#endif
}

void push_back(Ended ended, blkown::EndedList<Request>& list) {
  std::move(ended).release();
#ifdef BLKOWN_WRONG
  list.push_back(std::move(ended));
#else
  use(list);
#endif
}
