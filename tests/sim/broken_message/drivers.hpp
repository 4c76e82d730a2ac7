// SPDX-License-Identifier: BSL-1.0
//
// The broken drivers of the message device by name.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MESSAGE_DRIVERS_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MESSAGE_DRIVERS_HPP

#include <span>

#include "sim/named_driver.hpp"

namespace message::broken {

std::span<const NamedDriver> drivers();

}  // namespace message::broken

#endif
