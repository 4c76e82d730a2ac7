// SPDX-License-Identifier: BSL-1.0
// A handle that was constructed from a consumed handle cannot be used.
// EXPECT(clang): invalid invocation of method '.*' .* while it is in the 'consumed' state
#include "snippet.hpp"

void constructed(Owned owned) {
  std::move(owned).end_ok();
  Owned next{std::move(owned)};
#ifdef BLKOWN_WRONG
  std::move(next).end_ok();
#endif
}

void assigned(Owned owned, Owned next) {
  std::move(owned).end_ok();
  next = std::move(owned);
#ifdef BLKOWN_WRONG
  std::move(next).end_ok();
#endif
}

void copied(ARef aref) {
  use(std::move(aref).into_raw());
  const ARef copy{aref};
#ifdef BLKOWN_WRONG
  use(copy.tag());
#endif
}

// Right: a consumed handle to which a request was assigned again.
void refilled(Owned owned, Owned other) {
  std::move(owned).end_ok();
  owned = std::move(other);
  std::move(owned).end_ok();
}
