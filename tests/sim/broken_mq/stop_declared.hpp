// SPDX-License-Identifier: BSL-1.0
//
// The driver declares at a timeout that the device has stopped, which still runs, and takes that
// for the proof to unmap.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_STOP_DECLARED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_STOP_DECLARED_HPP

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class StopDeclared : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  mq::TimeoutAction timeout(Hw&, const ARef<Rq>& pin, const Cookie& cookie) override {
    auto claim = blkown::claim(pin, cookie);
    if (!claim.has_value()) return mq::TimeoutAction::rearm;
    unmap(*claim, controller().device().declare_stopped());
    try_again(*std::move(claim), Status::timed_out);
    return mq::TimeoutAction::handled;
  }
};

}  // namespace broken_mq

#endif
