// SPDX-License-Identifier: BSL-1.0
//
// The driver of an example, one of the block layer, under the adversary.

#include <blkown/sim/harness/mq_world.hpp>
#include <blkown/sim/kit.hpp>

#include "dma_round_trip/nvme.hpp"

int main(int argc, char** argv) {
  return blkown::sim::kit_main<blkown::sim::MqWorld<round_trip::Nvme>>(argv[0],
                                                                       {argv + 1, argv + argc});
}
