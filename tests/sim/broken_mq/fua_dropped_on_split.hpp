// SPDX-License-Identifier: BSL-1.0
//
// The driver sends the second part of a split write without FUA.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_FUA_DROPPED_ON_SPLIT_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_FUA_DROPPED_ON_SPLIT_HPP

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class FuaDroppedOnSplit : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  std::expected<SubmissionEntry, Status> command(Hw& hw, const NamespaceInfo& info,
                                                 const Claim<Rq>& claim) override {
    auto entry = VariantDriver::command(hw, info, claim);
    const auto& payload = claim.data();
    if (payload.op() != mq::Op::write || !payload.flags().fua) return entry;
    const bool continues = payload.sector() == end_of_latest_;
    end_of_latest_ = payload.sector() + payload.length_bytes() / 512;
    constexpr std::uint32_t fua = std::uint32_t{1} << 30;
    if (continues) entry->cdw12 = entry->cdw12 & ~fua;
    return entry;
  }

  std::uint64_t end_of_latest_ = UINT64_MAX;
};

}  // namespace broken_mq

#endif
