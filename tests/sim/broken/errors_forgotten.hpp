// SPDX-License-Identifier: BSL-1.0
//
// The completion handler returns early on an error, without ending the I/O.

#ifndef BLKOWN_TESTS_SIM_BROKEN_ERRORS_FORGOTTEN_HPP
#define BLKOWN_TESTS_SIM_BROKEN_ERRORS_FORGOTTEN_HPP

#include "sim/broken/variant_driver.hpp"

namespace nvme::broken {

class ErrorsForgotten : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  void finish(Claim<R> claim, const sim::CompletionEntry& entry) override {
    const auto status = sim::CompletionEntry::status_of(entry.status_and_phase);
    if (status != DeviceStatus::success) return;
    VariantDriver::finish(std::move(claim), entry);
  }
};

}  // namespace nvme::broken

#endif
