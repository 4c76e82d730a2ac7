// SPDX-License-Identifier: BSL-1.0
// Only from_raw makes a handle of a pointer.
// EXPECT(gcc): no matching function for call to '.*(Idle|Owned|Claim|ARef)<.*brace-enclosed
// EXPECT(clang): no matching constructor for initialization of 'const (Idle|Owned|Claim|ARef)'
#include "snippet.hpp"

void snippet(Request* raw, void* raw_claim) {
#ifdef BLKOWN_WRONG
  const Idle idle{raw};
  const Owned owned{raw};
  const Claim claim{raw_claim};
  const ARef aref{raw};
#else
  const Idle idle = Idle::from_raw(raw);
  const Owned owned = Owned::from_raw(raw);
  const Claim claim = Claim::from_raw(raw_claim);
  const ARef aref = ARef::from_raw(raw);
#endif
  use(idle);
  use(owned);
  use(claim);
  use(aref);
}
