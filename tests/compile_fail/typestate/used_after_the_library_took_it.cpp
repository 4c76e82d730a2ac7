// SPDX-License-Identifier: BSL-1.0
// A handle cannot be used after a function of the library consumed it. If the function returns the
// request, the result has the handle.
// EXPECT(clang): invalid invocation of method '.*' .* while it is in the 'consumed' state
#include "snippet.hpp"

void try_from_shared(ARef aref) {
  use(Owned::try_from_shared(std::move(aref)));
#ifdef BLKOWN_WRONG
  use(aref.tag());
#endif
}

void drop_or_own(ARef aref) {
  use(blkown::drop_or_own(std::move(aref)));
#ifdef BLKOWN_WRONG
  use(aref.tag());
#endif
}

void try_claim(ARef aref, const blkown::Cookie& cookie) {
  use(blkown::try_claim(std::move(aref), cookie));
#ifdef BLKOWN_WRONG
  use(aref.tag());
#endif
}

void push_back(Ended ended, blkown::EndedList<Request>& list) {
  list.push_back(std::move(ended));
#ifdef BLKOWN_WRONG
  use(ended.tag());
#endif
}
