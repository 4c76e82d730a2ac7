// SPDX-License-Identifier: BSL-1.0
//
// The driver handles each completion entry twice.

#ifndef BLKOWN_TESTS_SIM_BROKEN_COMPLETED_TWICE_HPP
#define BLKOWN_TESTS_SIM_BROKEN_COMPLETED_TWICE_HPP

#include "sim/broken/variant_driver.hpp"

namespace nvme::broken {

class CompletedTwice : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  void complete(QueueIndex queue, const sim::CompletionEntry& entry) override {
    VariantDriver::complete(queue, entry);
    VariantDriver::complete(queue, entry);
  }
};

}  // namespace nvme::broken

#endif
