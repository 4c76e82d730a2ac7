// SPDX-License-Identifier: BSL-1.0
// RED: no EXPECT for
// Without a line that says what the compiler answers.
#ifdef BLKOWN_WRONG
int value = unknown;
#endif
