// SPDX-License-Identifier: BSL-1.0
// An EndSink requires a type in which RequestTraits finds a RequestHeader.
// EXPECT-FIRST-ONLY: EndSink<R>: R is blkown::Request<T>, or a struct with a RequestHeader member
#include "snippet.hpp"

struct Bare {
  int sectors = 0;
};

void snippet() {
#ifdef BLKOWN_WRONG
  use(blkown::EndSink<Bare>::freeing());
#else
  use(blkown::EndSink<blkown::Request<Bare>>::freeing());
#endif
}
