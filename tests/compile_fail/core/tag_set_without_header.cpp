// SPDX-License-Identifier: BSL-1.0
// A TagSet requires a type in which RequestTraits finds a RequestHeader.
// EXPECT-FIRST-ONLY: TagSet<R>: R is blkown::Request<T>, or a struct with a RequestHeader member
#include "snippet.hpp"

struct Bare {
  int sectors = 0;
};
struct WithHeader {
  blkown::RequestHeader header;
  int sectors = 0;
};
template <>
struct blkown::RequestTraits<WithHeader> : blkown::EmbeddedHeader<&WithHeader::header> {};

void snippet(const blkown::TagSetConfig& config) {
#ifdef BLKOWN_WRONG
  use(blkown::TagSet<Bare>::create(config, blkown::EndSink<Bare>::freeing()));
#else
  const auto build = [](blkown::QueueIndex, blkown::Tag) { return WithHeader{}; };
  use(blkown::TagSet<WithHeader>::create(config, blkown::EndSink<WithHeader>::freeing(), build));
#endif
  use(config);
}
