// SPDX-License-Identifier: BSL-1.0
// Data cannot be written through an ARef, even where it may be read.
// EXPECT(gcc): assignment of member 'Geometry::sectors' in read-only object
// EXPECT(clang): cannot assign to return value because function 'data' returns a const value
#include "snippet.hpp"

void snippet(ReadableARef aref) {
#ifdef BLKOWN_WRONG
  aref.data().sectors = 8;  // others may be reading it
#else
  use(aref.data().sectors);
#endif
}
