// SPDX-License-Identifier: BSL-1.0
// The member that gives an ARef away leaves nothing to use.
// By a cast: std::move alone is taken for consuming, and a member must not rely on that.
// EXPECT(clang): invalid invocation of method '.*' .* while it is in the 'consumed' state
#include "snippet.hpp"

void into_raw(ARef aref) {
  use(static_cast<ARef&&>(aref).into_raw());
#ifdef BLKOWN_WRONG
  use(aref.tag());
#endif
}
