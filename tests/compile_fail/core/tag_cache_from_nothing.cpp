// SPDX-License-Identifier: BSL-1.0
// Only a TagSet makes a TagCache.
// EXPECT(gcc): no matching function for call to '.*TagCache::TagCache\(\)'
// EXPECT(clang): no matching constructor for initialization of '.*TagCache'
#include "snippet.hpp"

void snippet(const TagSet& set) {
#ifdef BLKOWN_WRONG
  blkown::TagCache cache;
#else
  blkown::TagCache cache = set.tag_cache(blkown::QueueIndex{0});
#endif
  cache.flush();
  use(set);
}
