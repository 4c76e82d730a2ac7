// SPDX-License-Identifier: BSL-1.0
//
// The driver ignores the number of bytes transferred.

#ifndef BLKOWN_TESTS_SIM_BROKEN_SHORT_TAKEN_FOR_WHOLE_HPP
#define BLKOWN_TESTS_SIM_BROKEN_SHORT_TAKEN_FOR_WHOLE_HPP

#include "sim/nvme_driver.hpp"

namespace nvme::broken {

class ShortTakenForWhole : public DriverOf<ShortTakenForWhole> {
 public:
  using DriverOf::DriverOf;

 private:
  friend class DriverOf<ShortTakenForWhole>;

  void finish(Claim<R> claim, const sim::CompletionEntry& entry) {
    const auto status = sim::CompletionEntry::status_of(entry.status_and_phase);
    if (status == DeviceStatus::success) return end(std::move(claim), Status::ok);
    DriverOf::finish(std::move(claim), entry);
  }
};

}  // namespace nvme::broken

#endif
