// SPDX-License-Identifier: BSL-1.0
// RED: no EXPECT for
// A snippet without an EXPECT line.
#ifdef BLKOWN_WRONG
int value = unknown;
#endif
