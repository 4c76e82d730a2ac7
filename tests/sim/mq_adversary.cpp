// SPDX-License-Identifier: BSL-1.0
//
// Runs a driver of the block layer under the adversary: the driver of examples/dma_round_trip, or
// with --driver NAME one of the broken ones, in which the adversary has to find a fault.

#include <blkown/sim/kit.hpp>

#include "dma_round_trip/nvme.hpp"
#include "sim/broken_mq/drivers.hpp"
#include "sim/named_driver.hpp"

int main(int argc, char** argv) {
  return named_driver_main(argc, argv, &blkown::sim::mq_main<round_trip::Nvme>,
                           round_trip::broken::drivers());
}
