// SPDX-License-Identifier: BSL-1.0
// No member of an Owned may be called after the Owned was consumed.
// EXPECT(clang): invalid invocation of method '.*' .* while it is in the 'consumed' state
#include "snippet.hpp"

void snippet(Owned owned) {
  use(owned.queue());
  use(owned.tag());
  use(owned.header());
  use(owned.cookie());
  use(owned.next_cookie());
  use(owned.data());
  std::move(owned).end_ok();
#ifdef BLKOWN_WRONG
  use(owned.queue());
  use(owned.tag());
  use(owned.header());
  use(owned.cookie());
  use(owned.next_cookie());
  use(owned.data());
  use(std::move(owned).into_shared());
  use(std::move(owned).into_claim());
  std::move(owned).publish(ring);
  use(std::move(owned).publish(try_ring));
  std::move(owned).park();
  std::move(owned).end(blkown::Status::aborted);
  std::move(owned).end_ok();
  std::move(owned).requeue();
  use(std::move(owned).into_raw());
#endif
}
