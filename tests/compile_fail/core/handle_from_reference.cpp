// SPDX-License-Identifier: BSL-1.0
// A handle cannot be constructed from a request. Handles come from other handles, from lookups, and
// from from_raw.
// EXPECT(gcc): (Idle|Owned|Claim|ARef|Ended)\(R&.*is private within this context
// EXPECT(clang): calling a private constructor of class '.*(Idle|Owned|Claim|ARef|Ended)<
#include "snippet.hpp"

void snippet(Request& request) {
#ifdef BLKOWN_WRONG
  const Idle idle{request, blkown::Place::current()};
  const Owned owned{request, blkown::Place::current()};
  const Claim claim{request, blkown::detail::ClaimOrigin::owner, blkown::Place::current()};
  const ARef aref{request, blkown::Place::current()};
  const Ended ended{request};
#else
  const Idle idle = Idle::from_raw(&request);
  const Owned owned = Owned::from_raw(&request);
  const Claim claim = Claim::from_raw(&request);
  const ARef aref = ARef::from_raw(&request);
  const std::optional<Ended> ended = blkown::EndedList<Request>{}.pop_front();
#endif
  use(idle);
  use(owned);
  use(claim);
  use(aref);
  use(ended);
}
