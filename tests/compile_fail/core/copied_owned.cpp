// SPDX-License-Identifier: BSL-1.0
// An Owned cannot be copied: the I/O would be ended twice.
// EXPECT(gcc): use of deleted function .*Owned\(const .*Owned<
// EXPECT(clang): call to implicitly-deleted copy constructor of 'Owned'
#include "snippet.hpp"

void snippet(Owned owned) {
#ifdef BLKOWN_WRONG
  Owned second{owned};  // both would have the request
#else
  Owned second{std::move(owned)};
#endif
  use(second);
}
