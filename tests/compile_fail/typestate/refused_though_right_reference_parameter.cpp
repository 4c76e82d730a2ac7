// SPDX-License-Identifier: BSL-1.0
// A false positive: the state of a handle that was passed by reference is unknown, so the handle
// cannot be passed to a BLKOWN_HELD parameter or returned. Mark the parameter BLKOWN_HELD.
// EXPECT(clang): (argument|return value) not in expected state; .* observed 'unknown'
#include "snippet.hpp"

// A timeout handler's pin needs no mark, because claim(pin, cookie) does not require one.
void timeout(const ARef& pin, const blkown::Cookie& cookie) {
  use(pin.tag());
  use(blkown::claim(pin, cookie));
}

#ifdef BLKOWN_WRONG
void let_go(ARef& pin) {
  use(pin.tag());
  use(blkown::drop_or_own(std::move(pin)));  // refused
}
ARef another(const ARef& pin) {
  use(pin.tag());
  return pin;  // refused
}
#else
void let_go(BLKOWN_HELD ARef& pin) {
  use(pin.tag());
  use(blkown::drop_or_own(std::move(pin)));
}
ARef another(BLKOWN_HELD const ARef& pin) {
  use(pin.tag());
  return pin;
}
#endif
