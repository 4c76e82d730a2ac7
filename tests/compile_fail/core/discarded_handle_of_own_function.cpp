// SPDX-License-Identifier: BSL-1.0
// A handle that a driver's function returns cannot be discarded, even without nodiscard there.
// EXPECT(gcc): ignoring returned value of type '.*(Idle|Owned|Claim|ARef|Ended|Refused)
// EXPECT(clang): ignoring return value of function declared with 'nodiscard' attribute
#include "snippet.hpp"

Idle next_idle();
Owned next_owned();
Claim next_claim();
ARef next_aref();
Ended next_ended();
blkown::Refused<Request, int> last_refusal();

void snippet() {
#ifdef BLKOWN_WRONG
  next_idle();
  next_owned();
  next_claim();
  next_aref();
  next_ended();
  last_refusal();
#else
  use(next_idle());
  use(next_owned());
  use(next_claim());
  use(next_aref());
  use(next_ended());
  use(last_refusal());
#endif
}
