// SPDX-License-Identifier: BSL-1.0
//
// Runs a driver on the bare core under the adversary: the right one, or with --driver NAME one of
// the broken ones, in which the adversary has to find a fault.

#include <blkown/sim/kit.hpp>

#include "sim/broken/drivers.hpp"
#include "sim/named_driver.hpp"
#include "sim/nvme_driver.hpp"

int main(int argc, char** argv) {
  return named_driver_main(argc, argv, &blkown::sim::core_main<nvme::Driver>,
                           nvme::broken::drivers());
}
