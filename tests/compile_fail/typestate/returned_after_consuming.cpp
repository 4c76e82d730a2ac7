// SPDX-License-Identifier: BSL-1.0
// A consumed handle cannot be returned.
// EXPECT(clang): return value not in expected state; expected 'unconsumed', observed 'consumed'
#include "snippet.hpp"

Owned snippet(Owned owned, Owned other) {
  std::move(owned).end_ok();
  use(other);
#ifdef BLKOWN_WRONG
  return owned;
#else
  return other;
#endif
}
