// SPDX-License-Identifier: BSL-1.0
// No member of a handle of another object may be called after the handle was consumed.
// EXPECT(clang): invalid invocation of method '.*' .* while it is in the 'consumed' state
#include "snippet.hpp"

void owned(blkown::Owned<Device> device) {
  use(device->minor);
  use((*device).minor);
  use(std::move(device).into_shared());
#ifdef BLKOWN_WRONG
  use(device->minor);
  use((*device).minor);
  use(std::move(device).into_shared());
  use(std::move(device).into_raw());
#endif
}

void shared(blkown::ARef<Device> device) {
  use(device->minor);
  use((*device).minor);
  use(std::move(device).into_raw());
#ifdef BLKOWN_WRONG
  use(device->minor);
  use((*device).minor);
  use(std::move(device).into_raw());
#endif
}
