// SPDX-License-Identifier: BSL-1.0
// An ownership word can be neither copied nor moved.
// EXPECT(gcc): use of deleted function '.*RefWord<W>::RefWord\(const
// EXPECT(clang): call to deleted constructor of '.*RefWord<
#include "snippet.hpp"

void snippet(blkown::detail::RefWord<blkown::Word>& word) {
#ifdef BLKOWN_WRONG
  blkown::detail::RefWord<blkown::Word> copy{word};
#else
  const blkown::detail::RefValue<blkown::Word> copy = word.peek();
#endif
  use(copy);
}
