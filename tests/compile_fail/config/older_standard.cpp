// SPDX-License-Identifier: BSL-1.0
// The library needs C++23.
// WRONG-FLAGS: -std=c++20
// EXPECT-FIRST-ONLY: blkown needs C\+\+23: compile with -std=c\+\+23
#ifdef BLKOWN_WRONG
#include "snippet.hpp"
#else
#include <blkown/blkown.hpp>
#endif
