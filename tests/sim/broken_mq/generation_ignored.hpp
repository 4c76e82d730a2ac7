// SPDX-License-Identifier: BSL-1.0
//
// The driver accepts a stale completion for the I/O that has the tag now.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_GENERATION_IGNORED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_GENERATION_IGNORED_HPP

#include "sim/broken_mq/variant_driver.hpp"

namespace round_trip::broken {

class GenerationIgnored : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  std::optional<Claim<Rq>> look_up(Hw& hw, const sim::CompletionEntry& entry) override {
    auto claim = hw.claim(entry.cookie);
    if (!claim.has_value() && claim.error().reason == blkown::LookupReason::stale_generation) {
      claim = disk_->pool().tags().claim_any_generation(hw.tag_queue(), claim.error().tag);
    }
    if (!claim.has_value()) return std::nullopt;
    return *std::move(claim);
  }

  void complete(Hw& hw, Claim<Rq> claim) override {
    if (dma::EndProof::of(claim).has_value()) return VariantDriver::complete(hw, std::move(claim));
    // A Claim without a generation check gives no proof, so the memory stays mapped.
    end(std::move(claim), Status::ok);
  }
};

}  // namespace round_trip::broken

#endif
