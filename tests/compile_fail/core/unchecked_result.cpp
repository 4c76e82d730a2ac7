// SPDX-License-Identifier: BSL-1.0
// A result that may be an error cannot be used as the value.
// EXPECT(gcc): conversion from 'std::(optional|expected)<.*' to .* 'const (Idle|Claim|ARef)'
// EXPECT(clang): no viable conversion from '.*(optional|expected)<.*' to 'const (Idle|Claim|ARef)'
#include "snippet.hpp"

void snippet(TagSet& set, blkown::TagCache& cache, std::uint64_t wire) {
#ifdef BLKOWN_WRONG
  const Idle idle = set.allocate(blkown::QueueIndex{0}, cache);
  const Claim claim = set.claim(blkown::QueueIndex{0}, wire);
  const ARef aref = set.tag_to_rq(blkown::QueueIndex{0}, wire);
#else
  const std::optional<Idle> idle = set.allocate(blkown::QueueIndex{0}, cache);
  const std::expected<Claim, blkown::LookupError> claim = set.claim(blkown::QueueIndex{0}, wire);
  const std::expected<ARef, blkown::LookupError> aref = set.tag_to_rq(blkown::QueueIndex{0}, wire);
#endif
  use(idle);
  use(claim);
  use(aref);
}
