// SPDX-License-Identifier: BSL-1.0
//
// The drivers of an adversary's program by name.

#ifndef BLKOWN_TESTS_SIM_NAMED_DRIVER_HPP
#define BLKOWN_TESTS_SIM_NAMED_DRIVER_HPP

#include <cstdio>
#include <span>
#include <string>
#include <string_view>

/// A driver, with the main function that runs it under the adversary.
struct NamedDriver {
  const char* name;
  int (*main)(int argc, char** argv);
};

/// Runs the first driver, or with the options --driver NAME the one of that name. Returns as the
/// driver's main function, and 2 for an unknown name.
inline int named_driver_main(int argc, char** argv, std::span<const NamedDriver> drivers) {
  std::string driver_name = drivers.front().name;
  std::string program = argv[0];
  if (argc >= 3 && std::string_view{argv[1]} == "--driver") {
    driver_name = argv[2];
    // The kit prints the program's name in the command that replays a run.
    program += " --driver " + driver_name;
    argv += 2;
    argc -= 2;
    argv[0] = program.data();
  }
  for (const NamedDriver& driver : drivers) {
    if (driver.name == driver_name) return driver.main(argc, argv);
  }
  std::fprintf(stderr, "no driver is called '%s'; the drivers are", driver_name.c_str());
  for (const NamedDriver& driver : drivers) std::fprintf(stderr, " %s", driver.name);
  std::fputs("\n", stderr);
  return 2;
}

#endif
