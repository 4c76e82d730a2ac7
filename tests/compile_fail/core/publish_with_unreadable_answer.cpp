// SPDX-License-Identifier: BSL-1.0
// publish's issue function returns void or an expected. A bool or a negative number would be
// ignored.
// EXPECT-FIRST: publish\(issue\): issue\(Cookie\) returns void, or std::expected<T, E> to refuse
#include "snippet.hpp"

bool ring_bool(blkown::Cookie cookie);
int ring_errno(blkown::Cookie cookie);

void owned(Owned owned) {
#ifdef BLKOWN_WRONG
  std::move(owned).publish(ring_bool);
#else
  std::move(owned).publish(ring);
#endif
}

void claim(Claim claim) {
#ifdef BLKOWN_WRONG
  std::move(claim).publish(ring_errno);
#else
  use(std::move(claim).publish(try_ring));
#endif
}
