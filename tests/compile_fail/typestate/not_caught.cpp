// SPDX-License-Identifier: BSL-1.0
// What typestate does not see. Should a later compiler refuse one of these, this snippet goes red,
// and the list in the README gets shorter.
// EXPECT(clang): no diagnostic
#ifdef BLKOWN_WRONG
#include "not_caught.hpp"
#endif
