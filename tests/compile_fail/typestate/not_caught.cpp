// SPDX-License-Identifier: BSL-1.0
// Programs that typestate does not refuse. If a later compiler refuses one, this test fails; then
// shorten the list in the README.
// EXPECT(clang): no diagnostic
#ifdef BLKOWN_WRONG
#include "not_caught.hpp"
#endif
