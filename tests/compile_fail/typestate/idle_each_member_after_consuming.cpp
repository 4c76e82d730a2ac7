// SPDX-License-Identifier: BSL-1.0
// No member of an Idle may be called after the Idle was consumed.
// EXPECT(clang): invalid invocation of method '.*' .* while it is in the 'consumed' state
#include "snippet.hpp"

void snippet(Idle idle) {
  use(idle.queue());
  use(idle.tag());
  use(idle.header());
  use(idle.data());
  std::move(idle).fail(blkown::Status::resource);
#ifdef BLKOWN_WRONG
  use(idle.queue());
  use(idle.tag());
  use(idle.header());
  use(idle.data());
  use(std::move(idle).start());
  std::move(idle).fail(blkown::Status::resource);
  std::move(idle).requeue();
  use(std::move(idle).into_raw());
#endif
}
