// SPDX-License-Identifier: BSL-1.0
//
// The driver accepts a stale completion for the I/O that has the tag now.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_GENERATION_IGNORED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_GENERATION_IGNORED_HPP

#include <span>

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class GenerationIgnored : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  void complete(Hw& hw, Claim<Rq> claim) override {
    if (dma::EndProof::of(claim).has_value()) return VariantDriver::complete(hw, std::move(claim));
    // A Claim without a generation check gives no proof, so the memory stays mapped.
    end(std::move(claim), Status::ok);
  }

 private:
  void take(Hw& lookup, std::span<const CompletionEntry> entries, Caller) override {
    for (const CompletionEntry& entry : entries) take(lookup, entry);
  }
  void take(Hw& lookup, const CompletionEntry& entry) {
    auto claim = lookup.claim(entry.command_id);
    if (!claim.has_value() && claim.error().reason == blkown::LookupReason::stale_generation) {
      auto& tags = lookup.disk().pool().tags();
      claim = tags.claim_any_generation(lookup.tag_queue(), claim.error().tag);
    }
    if (claim.has_value()) pass_on(*std::move(claim), entry);
  }
};

}  // namespace broken_mq

#endif
