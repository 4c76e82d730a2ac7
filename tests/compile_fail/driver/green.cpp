// SPDX-License-Identifier: BSL-1.0
// A correct snippet.
// EXPECT: 'unknown' was not declared|undeclared identifier 'unknown'
#ifdef BLKOWN_WRONG
int value = unknown;
#else
int value = 0;
#endif
