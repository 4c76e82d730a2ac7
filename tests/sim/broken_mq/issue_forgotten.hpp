// SPDX-License-Identifier: BSL-1.0
//
// The driver accepts an I/O whose memory it could not map now, and never issues the I/O. Its
// timeout hook does nothing.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_ISSUE_FORGOTTEN_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_ISSUE_FORGOTTEN_HPP

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class IssueForgotten : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  mq::TimeoutAction timeout(Hw&, const ARef<Rq>&, const Cookie&) override {
    return mq::TimeoutAction::handled;
  }

 private:
  Answer reject(Hw&, Claim<Rq> claim, Status) override {
    static_cast<void>(std::move(claim).publish([](const Cookie&) {}));
    return Answer::accepted();
  }
};

}  // namespace broken_mq

#endif
