// SPDX-License-Identifier: BSL-1.0
//
// The driver looks up each completion entry twice: first for a pin, then for a Claim.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_COMPLETED_TWICE_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_COMPLETED_TWICE_HPP

#include "sim/broken_mq/variant_driver.hpp"

namespace round_trip::broken {

class CompletedTwice : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  std::optional<Claim<Rq>> look_up(Hw& hw, const sim::CompletionEntry& entry) override {
    const auto pin = hw.tag_to_rq(entry.cookie);
    if (!pin.has_value()) return std::nullopt;
    return VariantDriver::look_up(hw, entry);
  }
};

}  // namespace round_trip::broken

#endif
