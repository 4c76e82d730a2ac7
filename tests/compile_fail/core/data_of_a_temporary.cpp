// SPDX-License-Identifier: BSL-1.0
// A reference to the data of a temporary handle would outlive the handle.
// EXPECT-FIRST(gcc): use of deleted function .*::data\(\) const && \[with name_the_handle_before_us
// EXPECT-FIRST(clang): deleted member function 'data': the reference would outlive the temporary
#include "snippet.hpp"

Owned make_owned();
Claim make_claim();

void snippet(std::optional<Claim> found) {
#ifdef BLKOWN_WRONG
  Command& of_owned = make_owned().data();
  Command& of_claim = make_claim().data();
  Command& of_moved = std::move(*found).data();
#else
  const Owned owned = make_owned();
  const Claim claim = make_claim();
  Command& of_owned = owned.data();
  Command& of_claim = claim.data();
  Command& of_moved = found->data();
#endif
  use(of_owned), use(of_claim), use(of_moved);
}
