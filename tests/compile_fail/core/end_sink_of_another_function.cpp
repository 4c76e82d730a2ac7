// SPDX-License-Identifier: BSL-1.0
// An end sink's function takes its context and an EndedList by rvalue reference.
// EXPECT-FIRST: EndSink\(function, context\): function is void\(void\*, EndedList<R>&&\)
#include "snippet.hpp"

void freed(blkown::EndedList<Request>&& list);
void freed_with(void* context, blkown::EndedList<Request>&& list);

void snippet() {
#ifdef BLKOWN_WRONG
  use(blkown::EndSink<Request>{freed, nullptr});
#else
  use(blkown::EndSink<Request>{freed_with, nullptr});
#endif
}
