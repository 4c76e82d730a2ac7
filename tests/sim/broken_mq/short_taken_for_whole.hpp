// SPDX-License-Identifier: BSL-1.0
//
// The driver ignores the number of bytes transferred.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_SHORT_TAKEN_FOR_WHOLE_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_SHORT_TAKEN_FOR_WHOLE_HPP

#include "sim/broken_mq/variant_driver.hpp"

namespace round_trip::broken {

class ShortTakenForWhole : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  void complete(Hw& hw, Claim<Rq> claim) override {
    Payload& payload = claim.data();
    payload.driver_data.result.transferred_bytes =
        static_cast<std::uint32_t>(payload.length_bytes());
    VariantDriver::complete(hw, std::move(claim));
  }
};

}  // namespace round_trip::broken

#endif
