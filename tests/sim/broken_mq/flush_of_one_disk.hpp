// SPDX-License-Identifier: BSL-1.0
//
// The driver sends the flush of each disk to the namespace whose disk was made last.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_FLUSH_OF_ONE_DISK_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_FLUSH_OF_ONE_DISK_HPP

#include <expected>

#include "sim/broken_mq/disk_mixed_up.hpp"

namespace broken_mq {

class FlushOfOneDisk : public DiskMixedUp {
 public:
  using DiskMixedUp::DiskMixedUp;

 protected:
  [[nodiscard]] std::expected<SubmissionEntry, Status> command(Hw& hw, const NamespaceInfo& info,
                                                               const Claim<Rq>& claim) override {
    return claim.data().op() == mq::Op::flush ? DiskMixedUp::command(hw, info, claim)
                                              : VariantDriver::command(hw, info, claim);
  }
};

}  // namespace broken_mq

#endif
