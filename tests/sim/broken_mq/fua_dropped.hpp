// SPDX-License-Identifier: BSL-1.0
//
// The driver sends each write without FUA, although it has told the disk that it supports FUA.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_FUA_DROPPED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_FUA_DROPPED_HPP

#include "sim/broken_mq/variant_driver.hpp"

namespace round_trip::broken {

class FuaDropped : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  sim::SubmissionEntry command(Hw& hw, const Claim<Rq>& claim) override {
    sim::SubmissionEntry entry = VariantDriver::command(hw, claim);
    entry.is_fua = 0;
    return entry;
  }
};

}  // namespace round_trip::broken

#endif
