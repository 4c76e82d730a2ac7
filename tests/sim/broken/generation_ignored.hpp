// SPDX-License-Identifier: BSL-1.0
//
// The driver accepts a stale completion for the I/O that has the tag now.

#ifndef BLKOWN_TESTS_SIM_BROKEN_GENERATION_IGNORED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_GENERATION_IGNORED_HPP

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class GenerationIgnored : public Driver {
 public:
  using Driver::Driver;

 private:
  void complete(QueueIndex queue, const nvme::CompletionEntry& entry) override {
    auto claim = host_.claim(queue, entry.command_id);
    if (!claim.has_value() && claim.error().reason == blkown::LookupReason::stale_generation) {
      claim = host_.tags.claim_any_generation(queue, claim.error().tag);
    }
    if (!claim.has_value()) return;
    // A Claim without a generation check gives no proof, so the memory stays mapped.
    if (const auto proof = dma::EndProof::of(*claim)) unmap(*claim, *proof);
    finish(*std::move(claim), entry);
  }
};

}  // namespace nvme_ring::broken

#endif
