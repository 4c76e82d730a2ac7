// SPDX-License-Identifier: BSL-1.0
// An EndSink cannot refer to a temporary: its target must live as long as the TagSet.
// EXPECT(gcc): cannot bind non-const lvalue reference of type 'Target&' to an rvalue
// EXPECT(clang): no matching function for call to 'to'
#include "snippet.hpp"

struct Target {
  void operator()(blkown::EndedList<Request>&& list);
};

void snippet(Target& target) {
#ifdef BLKOWN_WRONG
  use(blkown::EndSink<Request>::to(Target{}));
#else
  use(blkown::EndSink<Request>::to(target));
#endif
  use(target);
}
