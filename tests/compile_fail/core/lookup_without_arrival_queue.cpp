// SPDX-License-Identifier: BSL-1.0
// A lookup says on which queue the completion arrived.
// EXPECT(gcc): no matching function for call to '.*::claim\(uint64_t&\)'
// EXPECT(clang): no matching member function for call to 'claim'
#include "snippet.hpp"

void snippet(TagSet& set, std::uint32_t queue, std::uint64_t wire) {
#ifdef BLKOWN_WRONG
  use(set.claim(wire));
#else
  use(set.claim(queue, wire));
#endif
  use(queue);
}
