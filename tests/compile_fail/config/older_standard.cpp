// SPDX-License-Identifier: BSL-1.0
// The library needs C++23. The error has one sequel, with which the compiler stops.
// WRONG-FLAGS: -std=c++20
// EXPECT-FIRST: blkown needs C\+\+23: compile with -std=c\+\+23
// EXPECT: fatal error: .?blkown needs -std=c\+\+23.?(: No such file or directory| file not found)
#ifdef BLKOWN_WRONG
#include "snippet.hpp"
#else
#include <blkown/blkown.hpp>
#endif
