// SPDX-License-Identifier: BSL-1.0
//
// Runs one build of core.cpp.

#include <cstdio>

#include "core.hpp"

int main() {
  const int wrong_line = CORE::use();
  if (wrong_line != 0) {
    std::fprintf(stderr, "core.cpp:%d does not hold in %s\n", wrong_line, CORE::abi());
    return 1;
  }
  std::printf("all of the core works in %s\n", CORE::abi());
  return 0;
}
