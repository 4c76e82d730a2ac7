// SPDX-License-Identifier: BSL-1.0
// An end sink's function takes an EndedList by rvalue reference.
// EXPECT(gcc): cannot bind non-const lvalue reference of type '.*EndedList<
// EXPECT(gcc): no match for call to '\(snippet\(\)::<lambda
// EXPECT(clang): no matching function for call to object of type '\(lambda at
#include "snippet.hpp"

void snippet() {
#ifdef BLKOWN_WRONG
  auto target = [](blkown::EndedList<Request>& list) { use(list); };
#else
  auto target = [](blkown::EndedList<Request>&& list) { use(list); };
#endif
  use(blkown::EndSink<Request>::to(target));
}
