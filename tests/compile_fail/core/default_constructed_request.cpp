// SPDX-License-Identifier: BSL-1.0
// Only a TagSet constructs requests.
// EXPECT(gcc): no matching function for call to '.*Request<Command>::Request\(
// EXPECT(clang): no matching constructor for initialization of 'Request'
#include "snippet.hpp"

void snippet(const blkown::TagSetConfig& config) {
#ifdef BLKOWN_WRONG
  use(Request{});
#else
  use(TagSet::create(config, blkown::EndSink<Request>::freeing()));
#endif
  use(config);
}
