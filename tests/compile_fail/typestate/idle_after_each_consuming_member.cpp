// SPDX-License-Identifier: BSL-1.0
// An Idle cannot be used after any of its consuming members.
// A cast, not std::move: typestate treats std::move itself as consuming.
// EXPECT(clang): invalid invocation of method '.*' .* while it is in the 'consumed' state
#include "snippet.hpp"

void start(Idle idle) {
  const Owned owned = static_cast<Idle&&>(idle).start();
#ifdef BLKOWN_WRONG
  use(idle.tag());
#else
  use(owned.tag());
#endif
}

void fail(Idle idle) {
  static_cast<Idle&&>(idle).fail(blkown::Status::resource);
#ifdef BLKOWN_WRONG
  use(idle.tag());
#endif
}

void requeue(Idle idle) {
  static_cast<Idle&&>(idle).requeue();
#ifdef BLKOWN_WRONG
  use(idle.tag());
#endif
}

void into_raw(Idle idle) {
  use(static_cast<Idle&&>(idle).into_raw());
#ifdef BLKOWN_WRONG
  use(idle.tag());
#endif
}
