// SPDX-License-Identifier: BSL-1.0
// RED: the wrong form compiles
// EXPECT: .
int value = 0;
#ifdef BLKOWN_WRONG
int other = 0;
#endif
