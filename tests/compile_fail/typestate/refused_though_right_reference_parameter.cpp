// SPDX-License-Identifier: BSL-1.0
// A false positive: of a handle that came by reference nothing is known, so it is not passed on to
// where one must be held, nor returned. Mark the parameter BLKOWN_HELD.
// EXPECT(clang): (argument|return value) not in expected state; .* observed 'unknown'
#include "snippet.hpp"

// A timeout handler's pin needs no mark: claim(pin, cookie) asks for none.
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
