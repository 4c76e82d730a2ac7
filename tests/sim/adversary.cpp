// SPDX-License-Identifier: BSL-1.0
//
// The reference driver on the bare core, or one of the broken ones, under the adversary.

#include <blkown/sim/kit.hpp>

#include "sim/nvme_driver.hpp"

int main(int argc, char** argv) { return blkown::sim::core_main<nvme::Driver>(argc, argv); }
