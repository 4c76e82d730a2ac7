// SPDX-License-Identifier: BSL-1.0
// A handle cannot be constructed without a request.
// EXPECT(gcc): no matching function for call to '.*(Idle|Owned|Claim|ARef|Ended)<.*>::.*\(\)'
// EXPECT(clang): no matching constructor .* of 'const (Idle|Owned|Claim|ARef|Ended)'
#include "snippet.hpp"

Idle next_idle();
Owned next_owned();
Claim next_claim();
ARef next_aref();
Ended next_ended();

void snippet() {
#ifdef BLKOWN_WRONG
  const Idle idle;
  const Owned owned;
  const Claim claim;
  const ARef aref;
  const Ended ended;
#else
  const Idle idle = next_idle();
  const Owned owned = next_owned();
  const Claim claim = next_claim();
  const ARef aref = next_aref();
  const Ended ended = next_ended();
#endif
  use(idle);
  use(owned);
  use(claim);
  use(aref);
  use(ended);
}
