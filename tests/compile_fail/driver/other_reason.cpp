// SPDX-License-Identifier: BSL-1.0
// RED: no error matches: this is not
// EXPECT: this is not what the compiler says
#ifdef BLKOWN_WRONG
int value = unknown;
#endif
