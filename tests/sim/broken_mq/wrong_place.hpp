// SPDX-License-Identifier: BSL-1.0
//
// The driver sends each command to a wrong sector, always the same one: reads return the data that
// was written.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_WRONG_PLACE_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_WRONG_PLACE_HPP

#include <blkown/sim/harness/workload.hpp>

#include "dma_round_trip/nvme.hpp"

namespace round_trip::broken {

class WrongPlace : public NvmeSteps<WrongPlace> {
 public:
  using NvmeSteps::NvmeSteps;

  Answer queue_rq(Hw& hw, QueueData&, Idle<Rq> idle, bool) {
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
