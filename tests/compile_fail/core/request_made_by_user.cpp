// SPDX-License-Identifier: BSL-1.0
// Only a TagSet constructs requests.
// EXPECT(gcc): Request\(Build&.*is private within this context
// EXPECT(clang): calling a private constructor of class '.*Request<Command>'
#include "snippet.hpp"

Command build(blkown::QueueIndex queue, blkown::Tag tag);

void snippet(const blkown::TagSetConfig& config) {
#ifdef BLKOWN_WRONG
  use(Request{build, blkown::QueueIndex{0}, blkown::Tag{0}});
#else
  use(TagSet::create(config, blkown::EndSink<Request>::freeing(), build));
#endif
  use(config);
}
