// SPDX-License-Identifier: BSL-1.0
// No member of an ARef may be called after the ARef was consumed.
// EXPECT(clang): invalid invocation of method '.*' .* while it is in the 'consumed' state
#include "snippet.hpp"

void snippet(ReadableARef aref) {
  use(aref.queue());
  use(aref.tag());
  use(aref.header());
  use(aref.generation());
  use(aref.data());
  use(std::move(aref).into_raw());
#ifdef BLKOWN_WRONG
  use(aref.queue());
  use(aref.tag());
  use(aref.header());
  use(aref.generation());
  use(aref.data());
  use(std::move(aref).into_raw());
#endif
}
