// SPDX-License-Identifier: BSL-1.0
// An ARef cannot be used after its consuming member.
// A cast, not std::move: typestate treats std::move itself as consuming.
// EXPECT(clang): invalid invocation of method '.*' .* while it is in the 'consumed' state
#include "snippet.hpp"

void into_raw(ARef aref) {
  use(static_cast<ARef&&>(aref).into_raw());
#ifdef BLKOWN_WRONG
  use(aref.tag());
#endif
}
