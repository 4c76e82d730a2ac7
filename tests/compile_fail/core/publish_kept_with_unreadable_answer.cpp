// SPDX-License-Identifier: BSL-1.0
// The sentence about issue's answer comes first, also where publish's result is kept.
//
// EXPECT-FIRST-ONLY: publish\(issue\): issue\(Cookie\) returns void, or std::expected<T, E>
#include "snippet.hpp"

bool ring_bool(blkown::Cookie cookie);

void snippet(Claim claim) {
#ifdef BLKOWN_WRONG
  auto issued = std::move(claim).publish(ring_bool);
#else
  auto issued = std::move(claim).publish(try_ring);
#endif
  use(issued.has_value());
}
