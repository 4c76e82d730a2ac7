// SPDX-License-Identifier: BSL-1.0
// The sentence about issue's form comes first, also where publish's result initializes a variable.
// EXPECT-FIRST-ONLY: publish\(issue\): issue takes one argument, a const blkown::Cookie&
#include "snippet.hpp"

void snippet(Owned owned) {
#ifdef BLKOWN_WRONG
  const auto issued = std::move(owned).publish([](int) {});
#else
  const auto issued = std::move(owned).publish(try_ring);
#endif
  use(issued);
}
