// SPDX-License-Identifier: BSL-1.0
//
// The driver ends a flush that the device has failed with Status::ok: the data that the flush was
// to make durable may be lost.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_FLUSH_ERROR_IGNORED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_FLUSH_ERROR_IGNORED_HPP

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class FlushErrorIgnored : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  void complete(Hw& hw, Claim<Rq> claim) override {
    if (claim.data().op() == mq::Op::flush) return end(std::move(claim), Status::ok);
    VariantDriver::complete(hw, std::move(claim));
  }
};

}  // namespace broken_mq

#endif
