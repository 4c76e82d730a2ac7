// SPDX-License-Identifier: BSL-1.0
// A function that consumes a handle requires std::move.
// EXPECT(gcc): cannot bind rvalue reference of type '.*(ARef|Ended|EndedList)<.*&&' to lvalue
// EXPECT(clang): rvalue reference to type '.*(ARef|Ended|EndedList)<.*>' cannot bind to lvalue
// EXPECT(clang): no matching function for call to '(drop_or_own|try_claim)'
#include "snippet.hpp"

void try_from_shared(ARef aref) {
#ifdef BLKOWN_WRONG
  use(Owned::try_from_shared(aref));
#else
  use(Owned::try_from_shared(std::move(aref)));
#endif
}

void drop_or_own(ARef aref) {
#ifdef BLKOWN_WRONG
  use(blkown::drop_or_own(aref));
#else
  use(blkown::drop_or_own(std::move(aref)));
#endif
}

void try_claim(ARef aref, const blkown::Cookie& cookie) {
#ifdef BLKOWN_WRONG
  use(blkown::try_claim(aref, cookie));
#else
  use(blkown::try_claim(std::move(aref), cookie));
#endif
}

void push_back(Ended ended, blkown::EndedList<Request>& list) {
#ifdef BLKOWN_WRONG
  list.push_back(ended);
#else
  list.push_back(std::move(ended));
#endif
}

void append(blkown::EndedList<Request> list, blkown::EndedList<Request>& others) {
#ifdef BLKOWN_WRONG
  others.append(list);
#else
  others.append(std::move(list));
#endif
}
