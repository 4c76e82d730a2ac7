// SPDX-License-Identifier: BSL-1.0
// A handle cannot be copy-assigned.
// EXPECT(gcc): use of deleted function .*operator=\(const
// EXPECT(clang): copy assignment operator is implicitly deleted
#include "snippet.hpp"

void snippet(Idle idle, Owned owned, Claim claim, Ended ended, Idle idle_2, Owned owned_2,
             Claim claim_2, Ended ended_2) {
#ifdef BLKOWN_WRONG
  idle = idle_2;
  owned = owned_2;
  claim = claim_2;
  ended = ended_2;
#else
  idle = std::move(idle_2);
  owned = std::move(owned_2);
  claim = std::move(claim_2);
  ended = std::move(ended_2);
#endif
  use(idle);
  use(owned);
  use(claim);
  use(ended);
}
