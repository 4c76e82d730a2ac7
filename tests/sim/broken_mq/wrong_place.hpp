// SPDX-License-Identifier: BSL-1.0
//
// The driver sends each command to a wrong sector, always the same one: reads return the data that
// was written.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_WRONG_PLACE_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_WRONG_PLACE_HPP

#include <blkown/sim/harness/workload.hpp>

#include "sim/broken_mq/variant_driver.hpp"

namespace round_trip::broken {

class WrongPlace : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  Answer queue_rq(Hw& hw, QueueData&, Idle<Rq> idle, bool) override {
    auto claim = std::move(idle).start().into_claim();
    if (const auto error = map(claim)) {
      return reject(std::move(claim), *error);
    }
    sim::SubmissionEntry entry = command(hw, claim);
    entry.sector ^= sim::Workload::slot_sectors;
    return send(hw, std::move(claim), entry);
  }
};

}  // namespace round_trip::broken

#endif
