// SPDX-License-Identifier: BSL-1.0
// No member of a Claim may be called after the Claim was consumed.
// EXPECT(clang): invalid invocation of method '.*' .* while it is in the 'consumed' state
#include "snippet.hpp"

void snippet(Claim claim) {
  use(claim.queue());
  use(claim.tag());
  use(claim.header());
  use(claim.cookie());
  use(claim.next_cookie());
  use(claim.data());
  use(claim.pin());
  std::move(claim).end_ok();
#ifdef BLKOWN_WRONG
  use(claim.queue());
  use(claim.tag());
  use(claim.header());
  use(claim.cookie());
  use(claim.next_cookie());
  use(claim.data());
  use(claim.pin());
  std::move(claim).publish(ring);
  use(std::move(claim).publish(try_ring));
  std::move(claim).release();
  std::move(claim).end(blkown::Status::aborted);
  std::move(claim).end_ok();
  std::move(claim).requeue();
  use(std::move(claim).into_owned());
  use(std::move(claim).into_raw());
#endif
}
