// SPDX-License-Identifier: BSL-1.0
//
// Runs the driver of examples/dma_round_trip, a driver of the block layer, under the adversary.

#include <blkown/sim/kit.hpp>

#include "dma_round_trip/nvme.hpp"

int main(int argc, char** argv) { return blkown::sim::mq_main<round_trip::Nvme>(argc, argv); }
