// SPDX-License-Identifier: BSL-1.0
//
// The reference driver of the NVMe controller on the bare core, under the adversary.

#include <blkown/sim/kit.hpp>

#include "sim/nvme_ring_driver.hpp"

int main(int argc, char** argv) { return blkown::sim::nvme_main<nvme_ring::Driver>(argc, argv); }
