// SPDX-License-Identifier: BSL-1.0
// RED: the right form does not compile
// EXPECT: 'unknown' was not declared|undeclared identifier 'unknown'
#ifdef BLKOWN_WRONG
int value = unknown;
#else
int value = absent;
#endif
