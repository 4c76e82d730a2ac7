// SPDX-License-Identifier: BSL-1.0
//
// The driver ignores the number of bytes transferred.

#ifndef BLKOWN_TESTS_SIM_BROKEN_SHORT_TAKEN_FOR_WHOLE_HPP
#define BLKOWN_TESTS_SIM_BROKEN_SHORT_TAKEN_FOR_WHOLE_HPP

#include "sim/broken/variant_driver.hpp"

namespace nvme::broken {

class ShortTakenForWhole : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  void finish(Claim<R> claim, const sim::CompletionEntry& entry) override {
    const auto status = sim::CompletionEntry::status_of(entry.status_and_phase);
    if (status == DeviceStatus::success) return end(std::move(claim), Status::ok);
    VariantDriver::finish(std::move(claim), entry);
  }
};

}  // namespace nvme::broken

#endif
