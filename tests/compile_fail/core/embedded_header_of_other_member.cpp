// SPDX-License-Identifier: BSL-1.0
// EmbeddedHeader requires a member of type RequestHeader.
// EXPECT(gcc): invalid use of incomplete type '.*EmbeddedHeader<&Mine::sectors>'
// EXPECT(clang): implicit instantiation of undefined template '.*EmbeddedHeader<&Mine::sectors>'
#include "snippet.hpp"

struct Mine {
  blkown::RequestHeader header;
  int sectors = 0;
};

template <>
#ifdef BLKOWN_WRONG
struct blkown::RequestTraits<Mine> : blkown::EmbeddedHeader<&Mine::sectors> {
};
#else
struct blkown::RequestTraits<Mine> : blkown::EmbeddedHeader<&Mine::header> {
};
#endif
