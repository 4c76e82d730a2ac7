// SPDX-License-Identifier: BSL-1.0
// The results of a TagSet's members cannot be discarded.
// EXPECT(gcc): ignoring return(ed)? value of .*, declared with attribute 'nodiscard'
// EXPECT(clang): ignoring return value of function declared with 'nodiscard' attribute
#include "snippet.hpp"

void allocate(TagSet& set, blkown::TagCache& cache) {
#ifdef BLKOWN_WRONG
  set.allocate(blkown::QueueIndex{0}, cache);  // fails the I/O
#else
  const std::optional<Idle> idle = set.allocate(blkown::QueueIndex{0}, cache);
  use(idle);
#endif
}

void allocate_tag(TagSet& set, blkown::Tag tag) {
#ifdef BLKOWN_WRONG
  set.allocate_tag(blkown::QueueIndex{0}, tag);  // fails the I/O
#else
  const std::optional<Idle> idle = set.allocate_tag(blkown::QueueIndex{0}, tag);
  use(idle);
#endif
}

void claim(TagSet& set, std::uint64_t wire) {
#ifdef BLKOWN_WRONG
  set.claim(blkown::QueueIndex{0}, wire);  // ends the I/O with io_error
#else
  const auto claim = set.claim(blkown::QueueIndex{0}, wire);
  use(claim);
#endif
}

void tag_to_rq(TagSet& set, std::uint64_t wire) {
#ifdef BLKOWN_WRONG
  set.tag_to_rq(blkown::QueueIndex{0}, wire);  // drops the reference at once
#else
  const auto aref = set.tag_to_rq(blkown::QueueIndex{0}, wire);
  use(aref);
#endif
}

void tag_to_owned(TagSet& set, std::uint64_t wire) {
#ifdef BLKOWN_WRONG
  set.tag_to_owned(blkown::QueueIndex{0}, wire);  // parks the I/O
#else
  const auto owned = set.tag_to_owned(blkown::QueueIndex{0}, wire);
  use(owned);
#endif
}

void by_tag_alone(TagSet& set, blkown::Tag tag) {
#ifdef BLKOWN_WRONG
  set.claim_any_generation(blkown::QueueIndex{0}, tag);
  set.tag_to_rq_any_generation(blkown::QueueIndex{0}, tag);
  set.tag_to_owned_any_generation(blkown::QueueIndex{0}, tag);
#else
  use(set.claim_any_generation(blkown::QueueIndex{0}, tag));
  use(set.tag_to_rq_any_generation(blkown::QueueIndex{0}, tag));
  use(set.tag_to_owned_any_generation(blkown::QueueIndex{0}, tag));
#endif
}

void tag_cache(TagSet& set) {
#ifdef BLKOWN_WRONG
  set.tag_cache(blkown::QueueIndex{0});
  set.tag_cache(blkown::QueueIndex{0}, 4);
#else
  const blkown::TagCache cache = set.tag_cache(blkown::QueueIndex{0});
  const blkown::TagCache small_cache = set.tag_cache(blkown::QueueIndex{0}, 4);
#endif
}

void announce_demand(TagSet& set) {
#ifdef BLKOWN_WRONG
  set.announce_demand(blkown::QueueIndex{0});  // the demand ends at once
#else
  const TagSet::TagDemand wait = set.announce_demand(blkown::QueueIndex{0});
#endif
}

void create(const blkown::TagSetConfig& config) {
#ifdef BLKOWN_WRONG
  TagSet::create(config, blkown::EndSink<Request>::freeing());
#else
  const auto set = TagSet::create(config, blkown::EndSink<Request>::freeing());
  use(set);
#endif
}
