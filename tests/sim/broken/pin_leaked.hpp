// SPDX-License-Identifier: BSL-1.0
//
// The driver forgets a pin of the request that it has turned into a raw pointer.

#ifndef BLKOWN_TESTS_SIM_BROKEN_PIN_LEAKED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_PIN_LEAKED_HPP

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class PinLeaked : public Driver {
 public:
  using Driver::Driver;

 private:
  void issue(Claim<R> claim) override {
    if (claim.tag().value % 4 == 3) static_cast<void>(claim.pin().into_raw());
    Driver::issue(std::move(claim));
  }
};

}  // namespace nvme_ring::broken

#endif
