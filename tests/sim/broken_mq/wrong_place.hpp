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

  sim::SubmissionEntry command(Hw& hw, const Claim<Rq>& claim) override {
    sim::SubmissionEntry entry = VariantDriver::command(hw, claim);
    entry.sector ^= sim::Workload::slot_sectors;
    return entry;
  }
};

}  // namespace round_trip::broken

#endif
