// SPDX-License-Identifier: BSL-1.0
//
// The driver ignores the status of a completion.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_FAILURE_TAKEN_FOR_SUCCESS_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_FAILURE_TAKEN_FOR_SUCCESS_HPP

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class FailureTakenForSuccess : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  void complete(Hw& hw, Claim<Rq> claim) override {
    claim.data().driver_data.status = {};
    VariantDriver::complete(hw, std::move(claim));
  }
};

}  // namespace broken_mq

#endif
