// SPDX-License-Identifier: BSL-1.0
// Data can be read through an ARef only if its type opts in with shared_data.
// EXPECT(gcc): no matching function for call to '.*ARef<.*>::data\(\)'
// EXPECT(clang): no matching member function for call to 'data'
#include "snippet.hpp"

void snippet(ARef aref, ReadableARef readable) {
#ifdef BLKOWN_WRONG
  use(aref.data().sectors);  // the Claim's holder may be writing it
#else
  use(aref.tag());
#endif
  use(readable.data().sectors);
}
