// SPDX-License-Identifier: BSL-1.0
//
// The driver looks up each completion entry twice: first for a pin, then for a Claim.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_COMPLETED_TWICE_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_COMPLETED_TWICE_HPP

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class CompletedTwice : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  void take(Hw& lookup, const CompletionEntry& entry) override {
    const auto pin = lookup.tag_to_rq(entry.command_id);
    if (pin.has_value()) VariantDriver::take(lookup, entry);
  }
};

}  // namespace broken_mq

#endif
