// SPDX-License-Identifier: BSL-1.0
// A number is not a Tag: queue and tag are not swapped by accident.
// EXPECT(gcc): cannot convert 'unsigned int' to '.*Tag'
// EXPECT(gcc): conversion from 'int' to non-scalar type 'const .*Tag' requested
// EXPECT(clang): no viable conversion from '(unsigned )?int' to '(const )?.*Tag'
#include "snippet.hpp"

void snippet(TagSet& set) {
#ifdef BLKOWN_WRONG
  use(set.allocate_tag(5, 0U));
  const blkown::Tag tag = 5;
#else
  use(set.allocate_tag(0, blkown::Tag{5}));
  const blkown::Tag tag{5};
#endif
  use(tag);
}
