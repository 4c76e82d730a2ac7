// SPDX-License-Identifier: BSL-1.0
// The results of an Idle's consuming members cannot be discarded: the request would be parked or
// leaked.
// EXPECT(gcc): ignoring return(ed)? value of .*, declared with attribute 'nodiscard'
// EXPECT(clang): ignoring return value of function declared with 'nodiscard' attribute
#include "snippet.hpp"

void start(Idle idle) {
#ifdef BLKOWN_WRONG
  std::move(idle).start();  // parks the I/O at once
#else
  const Owned owned = std::move(idle).start();
#endif
}

void into_raw(Idle idle) {
#ifdef BLKOWN_WRONG
  std::move(idle).into_raw();  // the request is leaked
#else
  Request* const raw = std::move(idle).into_raw();
  use(raw);
#endif
}

void from_raw(Request* raw) {
#ifdef BLKOWN_WRONG
  Idle::from_raw(raw);  // fails the I/O at once
#else
  const Idle idle = Idle::from_raw(raw);
#endif
}
