// SPDX-License-Identifier: BSL-1.0
// RED: line 9 is refused, and it is right
// EXPECT: 'unknown' was not declared|undeclared identifier 'unknown'
#ifdef BLKOWN_WRONG
int value = unknown;
#else
#define unknown 0
#endif
int other = unknown;
