// SPDX-License-Identifier: BSL-1.0
//
// The reference driver, which counts the requests that a full ring has refused: some seeds have
// rings that are shorter than the tags.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_FULL_RINGS_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_FULL_RINGS_HPP

#include <utility>

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class FullRings : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  static inline unsigned refusals = 0;  // of all runs

 private:
  Answer reject(Hw& hw, Claim<Rq> claim, Status status) override {
    if (status == Status::device_resource) ++refusals;
    return VariantDriver::reject(hw, std::move(claim), status);
  }
};

}  // namespace broken_mq

#endif
