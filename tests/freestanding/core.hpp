// SPDX-License-Identifier: BSL-1.0
//
// The functions of core.cpp. CORE is the namespace of one build of core.cpp.

#ifndef BLKOWN_TESTS_FREESTANDING_CORE_HPP
#define BLKOWN_TESTS_FREESTANDING_CORE_HPP

namespace CORE {

/// Uses the whole core. Returns the line of core.cpp of a failed check, or 0.
int use();

/// Returns the name of the core's inline namespace.
const char* abi();

}  // namespace CORE

#endif
