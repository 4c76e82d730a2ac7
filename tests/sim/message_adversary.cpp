// SPDX-License-Identifier: BSL-1.0
//
// Runs a driver of the message device under the adversary: the right one, or with --driver NAME one
// of the broken ones, in which the adversary has to find a fault.

#include <blkown/sim/kit.hpp>

#include "sim/broken_message/drivers.hpp"
#include "sim/message_driver.hpp"
#include "sim/named_driver.hpp"

int main(int argc, char** argv) {
  return named_driver_main(argc, argv, &blkown::sim::message_main<message::Driver>,
                           message::broken::drivers());
}
