// SPDX-License-Identifier: BSL-1.0
// An ARef requires a RefCounted type.
// EXPECT(gcc): no matching function for call to '.*Ownership<Uncounted>::drop_ref
// EXPECT(clang): invalid reference to function 'drop_ref': constraints not satisfied
#include "snippet.hpp"

struct Uncounted {};

void snippet(Uncounted* uncounted, Device* device) {
#ifdef BLKOWN_WRONG
  use(blkown::ARef<Uncounted>::from_raw(uncounted));
#else
  use(blkown::ARef<Device>::from_raw(device));
#endif
  use(uncounted);
  use(device);
}
