// SPDX-License-Identifier: BSL-1.0
//
// Runs the driver of examples/nvme, on a simulated NVMe controller, under the adversary.

#include <blkown/sim/kit.hpp>

#include "sim/nvme_world.hpp"

int main(int argc, char** argv) {
  return blkown::sim::detail::world_main<nvme_test::NvmeWorld>(argc, argv,
                                                               nvme_test::NvmeWorld::make_driver);
}
