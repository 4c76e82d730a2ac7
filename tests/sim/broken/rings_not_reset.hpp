// SPDX-License-Identifier: BSL-1.0
//
// The driver starts the controller again with the indexes and the phases of before.

#ifndef BLKOWN_TESTS_SIM_BROKEN_RINGS_NOT_RESET_HPP
#define BLKOWN_TESTS_SIM_BROKEN_RINGS_NOT_RESET_HPP

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class RingsNotReset : public Driver {
 public:
  using Driver::Driver;

 private:
  void reset_rings() override {}
};

}  // namespace nvme_ring::broken

#endif
