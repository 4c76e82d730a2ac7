// SPDX-License-Identifier: BSL-1.0
//
// Runs a driver on the bare core under the adversary: the right one, or with --driver NAME one of
// the broken ones, in which the adversary has to find a fault.

#include <blkown/sim/kit.hpp>
#include <cstdio>
#include <string>
#include <string_view>

#include "sim/broken/drivers.hpp"
#include "sim/nvme_driver.hpp"

int main(int argc, char** argv) {
  std::string driver_name = "reference";
  std::string program = argv[0];
  if (argc >= 3 && std::string_view{argv[1]} == "--driver") {
    driver_name = argv[2];
    // The kit prints the program's name in the command that replays a run.
    program += " --driver " + driver_name;
    argv += 2;
    argc -= 2;
    argv[0] = program.data();
  }
  if (driver_name == "reference") return blkown::sim::core_main<nvme::Driver>(argc, argv);
  for (const nvme::broken::NamedDriver& driver : nvme::broken::drivers()) {
    if (driver.name == driver_name) return driver.main(argc, argv);
  }
  std::fprintf(stderr, "no driver is called '%s'; the drivers are reference", driver_name.c_str());
  for (const nvme::broken::NamedDriver& driver : nvme::broken::drivers()) {
    std::fprintf(stderr, " %s", driver.name);
  }
  std::fputs("\n", stderr);
  return 2;
}
