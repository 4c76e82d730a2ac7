// SPDX-License-Identifier: BSL-1.0
//
// The driver looks up each completion entry twice: first for a pin, then for a Claim.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_COMPLETED_TWICE_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_COMPLETED_TWICE_HPP

#include <span>

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class CompletedTwice : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  void take(Hw& lookup, std::span<const CompletionEntry> entries, Caller caller) override {
    for (const CompletionEntry& entry : entries) take(lookup, entry, caller);
  }
  void take(Hw& lookup, const CompletionEntry& entry, Caller caller) {
    const auto pin = lookup.tag_to_rq(entry.command_id);
    if (pin.has_value()) VariantDriver::take(lookup, std::span{&entry, 1}, caller);
  }
};

}  // namespace broken_mq

#endif
