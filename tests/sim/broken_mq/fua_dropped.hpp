// SPDX-License-Identifier: BSL-1.0
//
// The driver sends each write without FUA, although it has told the disk that it supports FUA.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_FUA_DROPPED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_FUA_DROPPED_HPP

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class FuaDropped : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  std::expected<SubmissionEntry, Status> command(Hw& hw, const NamespaceInfo& info,
                                                 const Claim<Rq>& claim) override {
    auto entry = VariantDriver::command(hw, info, claim);
    const mq::Op op = claim.data().op();
    if (op != mq::Op::write && op != mq::Op::write_zeroes) return entry;
    constexpr std::uint32_t fua = std::uint32_t{1} << 30;
    entry->cdw12 = entry->cdw12 & ~fua;
    return entry;
  }
};

}  // namespace broken_mq

#endif
