// SPDX-License-Identifier: BSL-1.0
//
// The broken drivers by name, each to be run under the adversary.

#ifndef BLKOWN_TESTS_SIM_BROKEN_DRIVERS_HPP
#define BLKOWN_TESTS_SIM_BROKEN_DRIVERS_HPP

#include <span>
#include <string>
#include <vector>

namespace nvme::broken {

struct NamedDriver {
  const char* name;
  /// The kit's main function for it.
  int (*run)(const std::string& program, const std::vector<std::string>& words);
};

std::span<const NamedDriver> drivers();

}  // namespace nvme::broken

#endif
