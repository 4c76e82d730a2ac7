// SPDX-License-Identifier: BSL-1.0
//
// The reference driver on the bare core under the adversary, or with --driver NAME one of the
// broken ones, which it has to catch.

#include <blkown/sim/kit.hpp>
#include <cstdio>
#include <string>
#include <vector>

#include "sim/broken/drivers.hpp"
#include "sim/nvme_driver.hpp"

int main(int argc, char** argv) {
  std::vector<std::string> words{argv + 1, argv + argc};
  std::string name = "reference";
  std::string program = argv[0];
  if (words.size() >= 2 && words[0] == "--driver") {
    name = words[1];
    program += " --driver " + name;
    words.erase(words.begin(), words.begin() + 2);
  }
  if (name == "reference") {
    return blkown::sim::kit_main<blkown::sim::CoreWorld<nvme::Driver>>(program, words);
  }
  for (const nvme::broken::NamedDriver& driver : nvme::broken::drivers()) {
    if (driver.name == name) return driver.run(program, words);
  }
  std::fprintf(stderr, "%s: no driver is called '%s'; there are reference", argv[0], name.c_str());
  for (const nvme::broken::NamedDriver& driver : nvme::broken::drivers()) {
    std::fprintf(stderr, " %s", driver.name);
  }
  std::fputs("\n", stderr);
  return 2;
}
