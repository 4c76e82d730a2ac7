// SPDX-License-Identifier: BSL-1.0
//
// The driver drains the stopped device once: memory that cannot be unmapped then is forgotten.

#ifndef BLKOWN_TESTS_SIM_BROKEN_DRAIN_NOT_REPEATED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_DRAIN_NOT_REPEATED_HPP

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class DrainNotRepeated : public Driver {
 public:
  using Driver::Driver;

 private:
  [[nodiscard]] bool drain(const dma::EndProof& proof) override {
    static_cast<void>(Driver::drain(proof));
    return true;
  }
};

}  // namespace nvme_ring::broken

#endif
