// SPDX-License-Identifier: BSL-1.0
// publish's issue function takes the Cookie.
// EXPECT(gcc): no matching function for call to '.*::publish\(
// EXPECT(gcc): no type named 'type' in 'struct std::invoke_result<.*Cookie>'
// EXPECT(clang): no matching member function for call to 'publish'
#include "snippet.hpp"

void snippet(Owned owned) {
#ifdef BLKOWN_WRONG
  std::move(owned).publish([] {});
#else
  std::move(owned).publish([](blkown::Cookie cookie) { ring(cookie); });
#endif
}
