// SPDX-License-Identifier: BSL-1.0
// RED: refused for another reason
// EXPECT: 'unknown' was not declared|undeclared identifier 'unknown'
#ifdef BLKOWN_WRONG
int value = unknown;
int text = "text";
#endif
