// SPDX-License-Identifier: BSL-1.0
// An atomic provider must have a name, which distinguishes its types from another provider's.
// EXPECT: define BLKOWN_ATOMIC \(.*\) and BLKOWN_ATOMIC_NAME \(.*\) together
#include <atomic>
#define BLKOWN_ATOMIC std::atomic
#ifdef BLKOWN_WRONG
#include "snippet.hpp"
#else
#define BLKOWN_ATOMIC_NAME another
#include "snippet.hpp"
#endif
