// SPDX-License-Identifier: BSL-1.0
// A TagSet, a TagCache, a TagDemand and an EndedList cannot be copied.
// EXPECT(gcc): use of deleted function '.*::(TagSet|TagCache|TagDemand|EndedList)\(const
// EXPECT(clang): implicitly-deleted copy .* of .const .*(TagSet|TagCache|TagDemand|EndedList)
#include "snippet.hpp"

void snippet(TagSet& set, blkown::TagCache& cache, TagSet::TagDemand& wait,
             blkown::EndedList<Request>& list) {
#ifdef BLKOWN_WRONG
  const TagSet set_2{set};
  const blkown::TagCache cache_2{cache};
  const TagSet::TagDemand wait_2{wait};
  const blkown::EndedList<Request> list_2{list};
#else
  const TagSet set_2{std::move(set)};
  const blkown::TagCache cache_2{std::move(cache)};
  const TagSet::TagDemand wait_2{std::move(wait)};
  const blkown::EndedList<Request> list_2{std::move(list)};
#endif
  use(set_2);
  use(cache_2);
  use(wait_2);
  use(list_2);
}
