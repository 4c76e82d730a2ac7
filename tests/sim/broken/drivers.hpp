// SPDX-License-Identifier: BSL-1.0
//
// The broken drivers by name, each with the main function that runs it under the adversary.

#ifndef BLKOWN_TESTS_SIM_BROKEN_DRIVERS_HPP
#define BLKOWN_TESTS_SIM_BROKEN_DRIVERS_HPP

#include <span>

namespace nvme::broken {

struct NamedDriver {
  const char* name;
  int (*main)(int argc, char** argv);
};

std::span<const NamedDriver> drivers();

}  // namespace nvme::broken

#endif
