// SPDX-License-Identifier: BSL-1.0
// A request handle has no operator->: the data is accessed with data().
// EXPECT(gcc): no match for 'operator\*' in '\*(owned|aref)'
// EXPECT(gcc): no matching function for call to '.*(Owned|ARef)<.*>::operator->\(\)'
// EXPECT(clang): indirection requires pointer operand \('(Owned|ARef)'
// EXPECT(clang): invalid reference to function 'operator->': constraints not satisfied
#include "snippet.hpp"

void snippet(Owned owned, ARef aref, blkown::Owned<Device> device, blkown::ARef<Device> shared) {
#ifdef BLKOWN_WRONG
  use(*owned);
  use(owned.operator->());
  use(*aref);
  use(aref.operator->());
#else
  use(*device);
  use(device->minor);
  use(*shared);
  use(shared->minor);
#endif
  use(owned);
  use(aref);
  use(device);
  use(shared);
}
