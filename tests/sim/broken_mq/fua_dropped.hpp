// SPDX-License-Identifier: BSL-1.0
//
// The driver sends each write without FUA, although it has told the disk that it supports FUA.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_FUA_DROPPED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_FUA_DROPPED_HPP

#include "dma_round_trip/nvme.hpp"

namespace round_trip::broken {

class FuaDropped : public NvmeSteps<FuaDropped> {
 public:
  using NvmeSteps::NvmeSteps;

  Answer queue_rq(Hw& hw, QueueData&, Idle<Rq> idle, bool) {
    auto claim = std::move(idle).start().into_claim();
    if (const auto error = map(claim)) {
      return reject(std::move(claim), *error);
    }
    sim::SubmissionEntry entry = command(hw, claim);
    entry.is_fua = 0;
    auto issued = std::move(claim).publish([&](const Cookie&) {
      const std::lock_guard lock{hw.data.submission};
      return hw.data.rings->submit(controller_, hw.index().value, entry);
    });
    if (issued.has_value() || !issued.error().claim.has_value()) return Answer::accepted();
    auto back = *std::move(issued.error().claim);
    unmap(back, *dma::EndProof::of(back));
    return reject(std::move(back), Status::device_resource);
  }
};

}  // namespace round_trip::broken

#endif
