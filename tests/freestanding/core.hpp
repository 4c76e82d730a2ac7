// SPDX-License-Identifier: BSL-1.0
//
// What core.cpp offers in each of the ways it is compiled. CORE is the name of that way.

#ifndef BLKOWN_TESTS_FREESTANDING_CORE_HPP
#define BLKOWN_TESTS_FREESTANDING_CORE_HPP

namespace CORE {

/// Uses all of the core and returns the line of core.cpp that found something wrong, 0 if none did.
int use();

/// The core's inline namespace in that build.
const char* abi();

}  // namespace CORE

#endif
