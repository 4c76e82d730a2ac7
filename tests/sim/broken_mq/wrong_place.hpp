// SPDX-License-Identifier: BSL-1.0
//
// The driver sends each command to a wrong block, always the same one: reads return the data that
// was written.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_WRONG_PLACE_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_WRONG_PLACE_HPP

#include <blkown/sim/harness/workload.hpp>

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class WrongPlace : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  std::expected<SubmissionEntry, Status> command(Hw& hw, const NamespaceInfo& info,
                                                 const Claim<Rq>& claim) override {
    auto entry = VariantDriver::command(hw, info, claim);
    const mq::Op op = claim.data().op();
    if (op == mq::Op::flush || op == mq::Op::discard) return entry;
    const std::uint32_t slot_blocks = sim::Workload::slot_sectors * 512 / info.block_bytes();
    entry->cdw10 = entry->cdw10 ^ slot_blocks;  // the lower half of SLBA
    return entry;
  }
};

}  // namespace broken_mq

#endif
