// SPDX-License-Identifier: BSL-1.0
// A consumed handle cannot be passed to a parameter marked BLKOWN_HELD.
// EXPECT(clang): argument not in expected state; expected 'unconsumed', observed 'consumed'
#include "snippet.hpp"

void by_value(BLKOWN_HELD Owned owned);
void by_rvalue(BLKOWN_HELD Owned&& owned);
void by_reference(BLKOWN_HELD const Owned& owned);

void value(Owned owned, Owned other) {
  std::move(owned).end_ok();
#ifdef BLKOWN_WRONG
  by_value(std::move(owned));
#endif
  by_value(std::move(other));
}

void rvalue(Owned owned, Owned other) {
  std::move(owned).end_ok();
#ifdef BLKOWN_WRONG
  by_rvalue(std::move(owned));
#endif
  by_rvalue(std::move(other));
}

void reference(Owned owned, Owned other) {
  std::move(owned).end_ok();
#ifdef BLKOWN_WRONG
  by_reference(owned);
#endif
  by_reference(other);
}
