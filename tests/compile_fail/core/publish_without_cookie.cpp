// SPDX-License-Identifier: BSL-1.0
// publish's issue function takes the Cookie.
// EXPECT-FIRST: publish\(issue\): issue takes one argument, a const blkown::Cookie&
#include "snippet.hpp"

void snippet(Owned owned) {
#ifdef BLKOWN_WRONG
  std::move(owned).publish([] {});
#else
  std::move(owned).publish([](blkown::Cookie cookie) { ring(cookie); });
#endif
}
