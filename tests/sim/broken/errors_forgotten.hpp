// SPDX-License-Identifier: BSL-1.0
//
// The completion handler returns early on an error, without ending the I/O.

#ifndef BLKOWN_TESTS_SIM_BROKEN_ERRORS_FORGOTTEN_HPP
#define BLKOWN_TESTS_SIM_BROKEN_ERRORS_FORGOTTEN_HPP

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class ErrorsForgotten : public Driver {
 public:
  using Driver::Driver;

 private:
  void finish(Claim<R> claim, const nvme::CompletionEntry& entry) override {
    if (!entry.status().is_success()) return;
    Driver::finish(std::move(claim), entry);
  }
};

}  // namespace nvme_ring::broken

#endif
