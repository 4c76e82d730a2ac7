// SPDX-License-Identifier: BSL-1.0
//
// The completion handler returns early on an error, without ending the I/O.

#ifndef BLKOWN_TESTS_SIM_BROKEN_ERRORS_FORGOTTEN_HPP
#define BLKOWN_TESTS_SIM_BROKEN_ERRORS_FORGOTTEN_HPP

#include "sim/nvme_driver.hpp"

namespace nvme::broken {

class ErrorsForgotten : public DriverOf<ErrorsForgotten> {
 public:
  using DriverOf::DriverOf;

 private:
  friend class DriverOf<ErrorsForgotten>;

  void finish(Claim<R> claim, const sim::CompletionEntry& entry) {
    const auto status = sim::CompletionEntry::status_of(entry.status_and_phase);
    if (status != DeviceStatus::success) return;
    DriverOf::finish(std::move(claim), entry);
  }
};

}  // namespace nvme::broken

#endif
