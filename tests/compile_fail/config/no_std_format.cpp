// SPDX-License-Identifier: BSL-1.0
// A standard library without std::format is named, with the header to use instead.
// EXPECT: needs std::format
#ifdef BLKOWN_WRONG
#include <blkown/format.hpp>
#else
#include <blkown/ostream.hpp>
#endif
#include "snippet.hpp"
