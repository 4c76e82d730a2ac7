// SPDX-License-Identifier: BSL-1.0
// The queue comes before the device's value, and swapped arguments do not compile.
// EXPECT(gcc): use of deleted function .*::(claim|tag_to_rq|tag_to_owned)\(QueueIndexWanted
// EXPECT(gcc): no matching function for call to '.*::allocate_tag\(.*Tag&, .*QueueIndex&\)'
// EXPECT(clang): call to deleted member function '(claim|tag_to_rq|tag_to_owned)'
// EXPECT(clang): no matching member function for call to 'allocate_tag'
#include "snippet.hpp"

void snippet(TagSet& set, blkown::QueueIndex queue, blkown::Tag tag, std::uint64_t wire) {
#ifdef BLKOWN_WRONG
  set.claim(wire, queue);
  set.tag_to_rq(wire, queue);
  set.tag_to_owned(wire, queue);
  use(set.allocate_tag(tag, queue));
#else
  use(set.claim(queue, wire));
  use(set.tag_to_rq(queue, wire));
  use(set.tag_to_owned(queue, wire));
  use(set.allocate_tag(queue, tag));
#endif
}
