// SPDX-License-Identifier: BSL-1.0
//
// A timeout ends the I/O without an abort, while the device still executes it.

#ifndef BLKOWN_TESTS_SIM_BROKEN_ENDED_ON_TIMEOUT_HPP
#define BLKOWN_TESTS_SIM_BROKEN_ENDED_ON_TIMEOUT_HPP

#include "sim/nvme_driver.hpp"

namespace nvme::broken {

class EndedOnTimeout : public DriverOf<EndedOnTimeout> {
 public:
  using DriverOf::DriverOf;

  void timeout(const ARef<R>& pin, const Cookie& cookie) {
    auto claim = blkown::claim(pin, cookie);
    if (claim.has_value()) end(*std::move(claim), Status::timed_out);
  }

 private:
  friend class DriverOf<EndedOnTimeout>;
};

}  // namespace nvme::broken

#endif
