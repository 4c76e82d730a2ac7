// SPDX-License-Identifier: BSL-1.0
// An I/O ends with a Status, not with an integer such as an errno.
// EXPECT(gcc): no matching function for call to '.*::end\(int\)'
// EXPECT(clang): no matching member function for call to 'end'
#include "snippet.hpp"

void snippet(Owned owned) {
#ifdef BLKOWN_WRONG
  std::move(owned).end(-5);
#else
  std::move(owned).end(blkown::Status::io_error);
#endif
}
