// SPDX-License-Identifier: BSL-1.0
// An integer is not a Tag.
// EXPECT(gcc): no matching function for call to '.*::allocate_tag\(.*QueueIndex, unsigned int\)'
// EXPECT(gcc): conversion from 'int' to non-scalar type 'const .*Tag' requested
// EXPECT(clang): no matching member function for call to 'allocate_tag'
// EXPECT(clang): no viable conversion from '(unsigned )?int' to '(const )?.*Tag'
#include "snippet.hpp"

void snippet(TagSet& set) {
#ifdef BLKOWN_WRONG
  use(set.allocate_tag(blkown::QueueIndex{0}, 5U));
  const blkown::Tag tag = 5;
#else
  use(set.allocate_tag(blkown::QueueIndex{0}, blkown::Tag{5}));
  const blkown::Tag tag{5};
#endif
  use(tag);
}
