// SPDX-License-Identifier: BSL-1.0
//
// The driver sends an I/O that has failed again, as often as it fails.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_RETRIES_ENDLESS_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_RETRIES_ENDLESS_HPP

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class RetriesEndless : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  void complete(Hw& hw, Claim<Rq> claim) override {
    const auto status = claim.data().driver_data.status;
    if (!status.is_success() && !status.do_not_retry()) claim.data().driver_data.tries = 0;
    VariantDriver::complete(hw, std::move(claim));
  }
};

}  // namespace broken_mq

#endif
