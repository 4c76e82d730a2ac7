// SPDX-License-Identifier: BSL-1.0
// BLKOWN_POISON is 0 or 1.
// EXPECT: BLKOWN_POISON is 0 or 1
#ifdef BLKOWN_WRONG
#define BLKOWN_POISON 2
#include "snippet.hpp"
#else
#define BLKOWN_POISON 1
#include "snippet.hpp"
#endif
