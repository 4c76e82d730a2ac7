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

  Answer queue_rq(Hw& hw, QueueData&, Idle<Rq> idle, bool) override {
    auto claim = std::move(idle).start().into_claim();
    if (const auto error = map(claim)) {
      return reject(std::move(claim), *error);
    }
    sim::SubmissionEntry entry = command(hw, claim);
    entry.is_fua = 0;
    return send(hw, std::move(claim), entry);
  }
};

}  // namespace round_trip::broken

#endif
