// SPDX-License-Identifier: BSL-1.0
// A lookup requires the queue on which the completion arrived.
// EXPECT(gcc): use of deleted function .*::claim\(QueueIndexWanted
// EXPECT(clang): call to deleted member function 'claim'
#include "snippet.hpp"

void snippet(TagSet& set, blkown::QueueIndex queue, std::uint64_t wire) {
#ifdef BLKOWN_WRONG
  set.claim(wire);
#else
  use(set.claim(queue, wire));
#endif
  use(queue);
}
