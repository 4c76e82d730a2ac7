// SPDX-License-Identifier: BSL-1.0
// A Claim cannot be copied: the I/O would be ended twice.
// EXPECT(gcc): use of deleted function .*Claim\(const .*Claim<
// EXPECT(clang): call to implicitly-deleted copy constructor of 'Claim'
#include "snippet.hpp"

void snippet(Claim claim) {
#ifdef BLKOWN_WRONG
  Claim second{claim};  // both would have the request
#else
  Claim second{std::move(claim)};
#endif
  use(second);
}
