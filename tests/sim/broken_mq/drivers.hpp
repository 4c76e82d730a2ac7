// SPDX-License-Identifier: BSL-1.0
//
// The broken drivers of the block layer by name, each with the main function that runs it under the
// adversary.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_DRIVERS_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_DRIVERS_HPP

#include <span>

#include "sim/named_driver.hpp"

namespace round_trip::broken {

std::span<const NamedDriver> drivers();

}  // namespace round_trip::broken

#endif
