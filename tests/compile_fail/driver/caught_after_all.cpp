// SPDX-License-Identifier: BSL-1.0
// RED: is refused now
// EXPECT: no diagnostic
#ifdef BLKOWN_WRONG
int value = unknown;
#endif
