// SPDX-License-Identifier: BSL-1.0
// An Ended cannot be copied: the I/O would be ended twice.
// EXPECT(gcc): use of deleted function .*Ended\(const .*Ended<
// EXPECT(clang): call to implicitly-deleted copy constructor of 'Ended'
#include "snippet.hpp"

void snippet(Ended ended) {
#ifdef BLKOWN_WRONG
  Ended second{ended};  // both would have the request
#else
  Ended second{std::move(ended)};
#endif
  use(second);
}
