// SPDX-License-Identifier: BSL-1.0
// RED: no line under #ifdef BLKOWN_WRONG
// EXPECT: .
int value = 0;
