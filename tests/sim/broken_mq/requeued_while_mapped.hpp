// SPDX-License-Identifier: BSL-1.0
//
// The driver requeues an I/O whose command has failed with its memory still mapped.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_REQUEUED_WHILE_MAPPED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_REQUEUED_WHILE_MAPPED_HPP

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class RequeuedWhileMapped : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  void complete(Hw& hw, Claim<Rq> claim) override {
    const auto& data = claim.data().driver_data;
    if (!data.status.is_success() && data.mapping.has_value()) {
      return try_again(std::move(claim), Status::transport_error);
    }
    VariantDriver::complete(hw, std::move(claim));
  }
};

}  // namespace broken_mq

#endif
