// SPDX-License-Identifier: BSL-1.0
// An Owned requires an Ownable type.
// EXPECT(gcc): no matching function for call to '.*Ownership<Unownable>::release_owned
// EXPECT(clang): invalid reference to function 'release_owned': constraints not satisfied
#include "snippet.hpp"

struct Unownable {};

void snippet(Unownable* unownable, Device* device) {
#ifdef BLKOWN_WRONG
  use(blkown::Owned<Unownable>::from_raw(unownable));
#else
  use(blkown::Owned<Device>::from_raw(device));
#endif
  use(unownable);
  use(device);
}
