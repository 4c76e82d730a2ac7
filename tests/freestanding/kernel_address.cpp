// SPDX-License-Identifier: BSL-1.0
//
// Goal: a freestanding program with the sanitizer of kernels (-fsanitize=kernel-address) does not
// use AddressSanitizer's interface for programs, which a kernel does not have.

#include <blkown/config.hpp>

static_assert(BLKOWN_POISON == 0);
