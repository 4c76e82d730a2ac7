// SPDX-License-Identifier: BSL-1.0
// BLKOWN_TRACKING is 0 or 1.
// EXPECT: BLKOWN_TRACKING is 0 or 1
#ifdef BLKOWN_WRONG
#define BLKOWN_TRACKING 2
#include "snippet.hpp"
#else
#define BLKOWN_TRACKING 1
#include "snippet.hpp"
#endif
