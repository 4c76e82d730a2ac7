// SPDX-License-Identifier: BSL-1.0
// An Idle cannot be copied: the I/O would be ended twice.
// EXPECT(gcc): use of deleted function .*Idle\(const .*Idle<
// EXPECT(clang): call to implicitly-deleted copy constructor of 'Idle'
#include "snippet.hpp"

void snippet(Idle idle) {
#ifdef BLKOWN_WRONG
  Idle second{idle};  // both would have the request
#else
  Idle second{std::move(idle)};
#endif
  use(second);
}
