// SPDX-License-Identifier: BSL-1.0
//
// The driver ends an I/O on its timeout, and leaves the mapping in the request's data.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_ENDED_ON_TIMEOUT_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_ENDED_ON_TIMEOUT_HPP

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class EndedOnTimeout : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  mq::TimeoutAction timeout(Hw&, const ARef<Rq>& pin, const Cookie& cookie) override {
    auto claim = blkown::claim(pin, cookie);
    if (!claim.has_value()) return mq::TimeoutAction::rearm;
    end(*std::move(claim), Status::timed_out);
    return mq::TimeoutAction::handled;
  }
};

}  // namespace broken_mq

#endif
