// SPDX-License-Identifier: BSL-1.0
// A false positive: a handle made in each round of an endless loop, given away in a branch that
// leaves the loop and used behind that branch. Give each round's handle to a function of its own.
// EXPECT(clang): invalid invocation of method '.*' .* while it is in the 'consumed' state
#include "snippet.hpp"

bool stopping();
Idle next();

bool serve(Idle idle) {
  if (stopping()) {
    std::move(idle).requeue();
    return false;
  }
  std::move(idle).start().park();
  return true;
}

void snippet() {
#ifdef BLKOWN_WRONG
  while (true) {
    Idle idle = next();
    if (stopping()) {
      std::move(idle).requeue();
      return;
    }
    std::move(idle).start().park();  // refused
  }
#else
  while (serve(next())) use(stopping());
#endif
}
