// SPDX-License-Identifier: BSL-1.0
// A TagSet's EndSink has the TagSet's request type.
// EXPECT(gcc): no matching function for call to '.*::create\(.*EndSink<.*Geometry
// EXPECT(clang): no matching function for call to 'create'
#include "snippet.hpp"

using Other = blkown::Request<Geometry>;

void snippet(const blkown::TagSetConfig& config) {
#ifdef BLKOWN_WRONG
  use(TagSet::create(config, blkown::EndSink<Other>::freeing()));
#else
  use(TagSet::create(config, blkown::EndSink<Request>::freeing()));
#endif
  use(config);
}
