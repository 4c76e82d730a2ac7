// SPDX-License-Identifier: BSL-1.0
// The ownership word has 64 or 32 bits.
// EXPECT: BLKOWN_WORD_BITS is 64 or 32
#ifdef BLKOWN_WRONG
#define BLKOWN_WORD_BITS 16
#include "snippet.hpp"
#else
#define BLKOWN_WORD_BITS 32
#include "snippet.hpp"
#endif
