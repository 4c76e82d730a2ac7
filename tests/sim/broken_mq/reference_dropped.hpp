// SPDX-License-Identifier: BSL-1.0
//
// The driver drops the reference that `try_from_shared` returns as its error.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_REFERENCE_DROPPED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_REFERENCE_DROPPED_HPP

#include "sim/broken_mq/variant_driver.hpp"

namespace round_trip::broken {

class ReferenceDropped : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  std::optional<Claim<Rq>> look_up(Hw& hw, const sim::CompletionEntry& entry) override {
    auto reference = hw.tag_to_rq(entry.cookie);
    if (!reference.has_value()) return std::nullopt;
    auto owned = blkown::Owned<Rq>::try_from_shared(*std::move(reference));
    if (!owned.has_value()) return std::nullopt;
    return std::move(*owned).into_claim();
  }
};

}  // namespace round_trip::broken

#endif
