// SPDX-License-Identifier: BSL-1.0
//
// The driver takes each completion for a success.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_STATUS_IGNORED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_STATUS_IGNORED_HPP

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class StatusIgnored : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  void complete(Hw& hw, Claim<Rq> claim) override {
    claim.data().driver_data.status = {};
    VariantDriver::complete(hw, std::move(claim));
  }
};

}  // namespace broken_mq

#endif
