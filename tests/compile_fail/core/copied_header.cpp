// SPDX-License-Identifier: BSL-1.0
// A RequestHeader can be neither copied nor moved: lookups find it by its address.
// EXPECT(gcc): use of deleted function '.*RequestHeader::(RequestHeader|operator=)\(const
// EXPECT(clang): call to deleted constructor of '.*RequestHeader'
// EXPECT(clang): overload resolution selected deleted operator '='
#include "snippet.hpp"

void snippet(blkown::RequestHeader& header, blkown::RequestHeader& other) {
#ifdef BLKOWN_WRONG
  blkown::RequestHeader copy{header};
  blkown::RequestHeader moved{std::move(header)};
  header = other;
  header = std::move(other);
#else
  const blkown::RequestHeader& copy = header;
  const blkown::RequestHeader& moved = other;
#endif
  use(copy);
  use(moved);
}
