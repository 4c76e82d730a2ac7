// SPDX-License-Identifier: BSL-1.0
// RED: line 6 is not refused
// EXPECT: 'unknown' was not declared|undeclared identifier 'unknown'
#ifdef BLKOWN_WRONG
int value = unknown;
int other = 0;
#endif
