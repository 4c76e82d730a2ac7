// SPDX-License-Identifier: BSL-1.0
//
// The driver unmaps with the proof of the previous completion.

#ifndef BLKOWN_TESTS_SIM_BROKEN_PROOF_OF_ANOTHER_HPP
#define BLKOWN_TESTS_SIM_BROKEN_PROOF_OF_ANOTHER_HPP

#include "sim/broken/variant_driver.hpp"

namespace nvme::broken {

class ProofOfAnother : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  void complete(QueueIndex queue, const sim::CompletionEntry& entry) override {
    auto claim = host_.claim(queue, entry.cookie);
    if (!claim.has_value()) return;
    const auto proof = std::exchange(last_, dma::EndProof::of(*claim));
    if (proof.has_value()) unmap(*claim, *proof);
    finish(*std::move(claim), entry);
  }

  std::optional<dma::EndProof> last_;
};

}  // namespace nvme::broken

#endif
