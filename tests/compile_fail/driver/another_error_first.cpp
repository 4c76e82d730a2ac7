// SPDX-License-Identifier: BSL-1.0
// RED: the first error does not match: second
// EXPECT: first
// EXPECT-FIRST: second
#ifdef BLKOWN_WRONG
#error first
#error second
#endif
