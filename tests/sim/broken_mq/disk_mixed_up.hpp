// SPDX-License-Identifier: BSL-1.0
//
// The driver sends each command to the namespace whose disk was made last.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_DISK_MIXED_UP_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_DISK_MIXED_UP_HPP

#include <cstdint>
#include <expected>

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class DiskMixedUp : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  Status init_hctx(Hw& hw, NamespaceInfo& info) override {
    nsid_ = info.nsid;
    return VariantDriver::init_hctx(hw, info);
  }

 protected:
  [[nodiscard]] std::expected<SubmissionEntry, Status> command(Hw& hw, const NamespaceInfo& info,
                                                               const Claim<Rq>& claim) override {
    auto entry = VariantDriver::command(hw, info, claim);
    if (entry.has_value()) entry->nsid = nsid_;
    return entry;
  }

 private:
  std::uint32_t nsid_ = 0;
};

}  // namespace broken_mq

#endif
