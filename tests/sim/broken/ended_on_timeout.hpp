// SPDX-License-Identifier: BSL-1.0
//
// A timeout ends the I/O without an abort, while the device still executes it.

#ifndef BLKOWN_TESTS_SIM_BROKEN_ENDED_ON_TIMEOUT_HPP
#define BLKOWN_TESTS_SIM_BROKEN_ENDED_ON_TIMEOUT_HPP

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class EndedOnTimeout : public Driver {
 public:
  using Driver::Driver;

  void timeout(const ARef<R>& pin, const Cookie& cookie) override {
    auto claim = blkown::claim(pin, cookie);
    if (claim.has_value()) end(*std::move(claim), Status::timed_out);
  }
};

}  // namespace nvme_ring::broken

#endif
