// SPDX-License-Identifier: BSL-1.0
// An integer is not a QueueIndex.
// EXPECT(gcc): use of deleted function .*\(QueueIndexWanted.*\[with QueueIndexWanted = int;
// EXPECT(gcc): cannot convert 'int' to '.*QueueIndex'
// EXPECT(gcc): conversion from 'int' to non-scalar type 'const .*QueueIndex' requested
// EXPECT(clang): call to deleted member function '[a-z_]+'
// EXPECT(clang): no viable conversion from 'int' to '(const )?.*QueueIndex'
#include "snippet.hpp"

void visit(std::size_t index, std::expected<Claim, blkown::LookupError> found);

void snippet(TagSet& set, std::uint64_t wire, blkown::TagCache& cache) {
#ifdef BLKOWN_WRONG
  set.claim(0, wire);
  set.claim_each(0, std::span{&wire, 1}, visit);
  set.tag_to_rq(0, wire);
  set.tag_to_owned(0, wire);
  set.claim_any_generation(0, blkown::Tag{5});
  set.tag_to_rq_any_generation(0, blkown::Tag{5});
  set.tag_to_owned_any_generation(0, blkown::Tag{5});
  set.allocate(0, cache);
  set.allocate_reserved(0);
  set.allocate_tag(0, blkown::Tag{5});
  set.tag_cache(0);
  set.announce_demand(0);
  set.for_each_in_flight(0, [](const ARef&, const blkown::Cookie&) {});
  use(set.free_count(0));
  const blkown::QueueIndex queue = 0;
#else
  const blkown::QueueIndex first{0};
  use(set.claim(first, wire));
  set.claim_each(first, std::span{&wire, 1}, visit);
  use(set.tag_to_rq(first, wire));
  use(set.tag_to_owned(first, wire));
  use(set.claim_any_generation(first, blkown::Tag{5}));
  use(set.tag_to_rq_any_generation(first, blkown::Tag{5}));
  use(set.tag_to_owned_any_generation(first, blkown::Tag{5}));
  use(set.allocate(first, cache));
  use(set.allocate_reserved(first));
  use(set.allocate_tag(first, blkown::Tag{5}));
  use(set.tag_cache(first));
  use(set.announce_demand(first));
  set.for_each_in_flight(first, [](const ARef&, const blkown::Cookie&) {});
  use(set.free_count(first));
  const blkown::QueueIndex queue = first;
#endif
  use(queue);
}
