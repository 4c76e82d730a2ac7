// SPDX-License-Identifier: BSL-1.0
//
// The driver accepts a stale completion for the I/O that has the tag now.

#ifndef BLKOWN_TESTS_SIM_BROKEN_GENERATION_IGNORED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_GENERATION_IGNORED_HPP

#include "sim/broken/variant_driver.hpp"

namespace nvme::broken {

class GenerationIgnored : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  void complete(QueueIndex queue, const sim::CompletionEntry& entry) override {
    auto claim = host_.claim(queue, entry.cookie);
    if (!claim.has_value() && claim.error().reason == blkown::LookupReason::stale_generation) {
      claim = host_.tags.claim_any_generation(queue, claim.error().tag);
    }
    if (!claim.has_value()) return;
    // A Claim without a generation check gives no proof, so the memory stays mapped.
    if (const auto proof = dma::EndProof::of(*claim)) unmap(*claim, *proof);
    finish(*std::move(claim), entry);
  }
};

}  // namespace nvme::broken

#endif
