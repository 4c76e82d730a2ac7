// SPDX-License-Identifier: BSL-1.0
// RED: the right form compiles, but not silently
// EXPECT: 'unknown' was not declared|undeclared identifier 'unknown'
#ifdef BLKOWN_WRONG
int value = unknown;
#else
#warning "not silent"
#endif
