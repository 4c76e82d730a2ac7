// SPDX-License-Identifier: BSL-1.0
// No member of an Ended may be called after the Ended was consumed.
// EXPECT(clang): invalid invocation of method '.*' .* while it is in the 'consumed' state
#include "snippet.hpp"

void snippet(Ended ended, blkown::TagCache& cache) {
  use(ended.queue());
  use(ended.tag());
  use(ended.status());
  use(ended.is_requeue());
  use(ended.data());
  std::move(ended).release(cache);
#ifdef BLKOWN_WRONG
  use(ended.queue());
  use(ended.tag());
  use(ended.status());
  use(ended.is_requeue());
  use(ended.data());
  std::move(ended).release();
  std::move(ended).release(cache);
  use(std::move(ended).into_idle());
#endif
}
