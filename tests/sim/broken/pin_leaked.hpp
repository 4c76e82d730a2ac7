// SPDX-License-Identifier: BSL-1.0
//
// The driver forgets a pin of the request that it has turned into a raw pointer.

#ifndef BLKOWN_TESTS_SIM_BROKEN_PIN_LEAKED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_PIN_LEAKED_HPP

#include "sim/nvme_driver.hpp"

namespace nvme::broken {

class PinLeaked : public DriverOf<PinLeaked> {
 public:
  using DriverOf::DriverOf;

 private:
  friend class DriverOf<PinLeaked>;

  sim::SubmissionEntry command(Claim<R>& claim) {
    if (claim.tag().value % 4 == 3) static_cast<void>(claim.pin().into_raw());
    return DriverOf::command(claim);
  }
};

}  // namespace nvme::broken

#endif
