// SPDX-License-Identifier: BSL-1.0
//
// The driver treats a timeout as proof that the device is done, and drops the mapping.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_UNMAPPED_ON_TIMEOUT_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_UNMAPPED_ON_TIMEOUT_HPP

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class UnmappedOnTimeout : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  mq::TimeoutAction timeout(Hw&, const ARef<Rq>& pin, const Cookie& cookie) override {
    auto claim = blkown::claim(pin, cookie);
    if (!claim.has_value()) return mq::TimeoutAction::rearm;
    claim->data().driver_data.mapping.reset();
    end(*std::move(claim), Status::timed_out);
    return mq::TimeoutAction::handled;
  }
};

}  // namespace broken_mq

#endif
