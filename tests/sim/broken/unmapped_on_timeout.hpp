// SPDX-License-Identifier: BSL-1.0
//
// The driver treats a timeout as proof that the device is done, and drops the mapping.

#ifndef BLKOWN_TESTS_SIM_BROKEN_UNMAPPED_ON_TIMEOUT_HPP
#define BLKOWN_TESTS_SIM_BROKEN_UNMAPPED_ON_TIMEOUT_HPP

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class UnmappedOnTimeout : public Driver {
 public:
  using Driver::Driver;

  void timeout(const ARef<R>& pin, const Cookie& cookie) override {
    auto claim = blkown::claim(pin, cookie);
    if (!claim.has_value()) return;
    claim->data().driver.mapping.reset();
    end(*std::move(claim), Status::timed_out);
  }
};

}  // namespace nvme_ring::broken

#endif
