// SPDX-License-Identifier: BSL-1.0
//
// The driver requeues a short transfer with its memory still mapped.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_REQUEUED_WHILE_MAPPED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_REQUEUED_WHILE_MAPPED_HPP

#include "sim/broken_mq/variant_driver.hpp"

namespace round_trip::broken {

class RequeuedWhileMapped : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  void complete(Hw& hw, Claim<Rq> claim) override {
    const Payload& payload = claim.data();
    const sim::CompletionEntry& result = payload.driver_data.result;
    const bool is_short =
        !payload.segments().empty() && result.transferred_bytes != payload.length_bytes();
    if (is_short) return try_again(std::move(claim), Status::transport_error);
    VariantDriver::complete(hw, std::move(claim));
  }
};

}  // namespace round_trip::broken

#endif
