// SPDX-License-Identifier: BSL-1.0
// An end sink's function takes an EndedList by rvalue reference.
// EXPECT-FIRST: EndSink::to\(target\): target is called as target\(EndedList<R>&&\)
#include "snippet.hpp"

void snippet() {
#ifdef BLKOWN_WRONG
  auto target = [](blkown::EndedList<Request>& list) { use(list); };
  use(blkown::EndSink<Request>::to(target));  // refused
#else
  auto target = [](blkown::EndedList<Request>&& list) { use(list); };
  use(blkown::EndSink<Request>::to(target));
#endif
}
