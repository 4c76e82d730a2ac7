// SPDX-License-Identifier: BSL-1.0
// The results of Ended and EndedList members cannot be discarded.
// EXPECT(gcc): ignoring return(ed)? value of .*, declared with attribute 'nodiscard'
// EXPECT(clang): ignoring return value of function declared with 'nodiscard' attribute
#include "snippet.hpp"

void into_idle(Ended ended) {
#ifdef BLKOWN_WRONG
  std::move(ended).into_idle();  // fails the I/O
#else
  const Idle idle = std::move(ended).into_idle();
#endif
}

void pop_front(blkown::EndedList<Request> list) {
#ifdef BLKOWN_WRONG
  list.pop_front();  // frees the tag, and the requeued I/O is lost
#else
  const std::optional<Ended> ended = list.pop_front();
  use(ended);
#endif
}
