// SPDX-License-Identifier: BSL-1.0
// A false positive: a handle made in each iteration of an endless loop, consumed in a branch that
// leaves the loop, and used after that branch. Move the loop's body into a function.
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
