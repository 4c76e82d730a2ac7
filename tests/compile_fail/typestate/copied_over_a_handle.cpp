// SPDX-License-Identifier: BSL-1.0
// A consumed ARef cannot be copy-assigned to another.
// EXPECT(clang): argument not in expected state; expected 'unconsumed', observed 'consumed'
#include "snippet.hpp"

void snippet(ARef aref, ARef other) {
  use(std::move(aref).into_raw());
#ifdef BLKOWN_WRONG
  other = aref;
#else
  aref = other;
#endif
  use(other);
}
