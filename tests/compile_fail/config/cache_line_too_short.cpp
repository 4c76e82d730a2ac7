// SPDX-License-Identifier: BSL-1.0
// A cache line is a power of two of bytes, at least 64.
// EXPECT: static assertion failed.*: BLKOWN_CACHE_LINE_BYTES is a power of two, 64 at least
// EXPECT: no data, one line
#ifdef BLKOWN_WRONG
#define BLKOWN_CACHE_LINE_BYTES 32
#include "snippet.hpp"
#else
#define BLKOWN_CACHE_LINE_BYTES 128
#include "snippet.hpp"
#endif
