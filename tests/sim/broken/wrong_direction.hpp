// SPDX-License-Identifier: BSL-1.0
//
// The driver maps the memory for the opposite direction.

#ifndef BLKOWN_TESTS_SIM_BROKEN_WRONG_DIRECTION_HPP
#define BLKOWN_TESTS_SIM_BROKEN_WRONG_DIRECTION_HPP

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class WrongDirection : public Driver {
 public:
  using Driver::Driver;

 private:
  [[nodiscard]] dma::Direction direction_of(const sim::Io<Driver>& io) const override {
    return io.direction() == dma::Direction::to_device ? dma::Direction::from_device
                                                       : dma::Direction::to_device;
  }
};

}  // namespace nvme_ring::broken

#endif
