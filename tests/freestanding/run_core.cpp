// SPDX-License-Identifier: BSL-1.0
//
// Runs one build of core.cpp, or of SOURCE.

#include <cstdio>

#include "core.hpp"

#ifndef SOURCE
#define SOURCE "core.cpp"
#endif

int main() {
  const int wrong_line = CORE::use();
  if (wrong_line != 0) {
    std::fprintf(stderr, SOURCE ":%d does not hold in %s\n", wrong_line, CORE::abi());
    return 1;
  }
  std::printf(SOURCE " works in %s\n", CORE::abi());
  return 0;
}
