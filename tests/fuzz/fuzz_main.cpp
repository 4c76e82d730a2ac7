// SPDX-License-Identifier: BSL-1.0
//
// The entry point of a libFuzzer target.

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "fuzz_case.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (!fuzz::run_case({data, size}).empty()) std::abort();
  return 0;
}
