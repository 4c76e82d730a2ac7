// SPDX-License-Identifier: BSL-1.0
//
// The driver unmaps with the proof of the previous completion.

#ifndef BLKOWN_TESTS_SIM_BROKEN_PROOF_OF_ANOTHER_HPP
#define BLKOWN_TESTS_SIM_BROKEN_PROOF_OF_ANOTHER_HPP

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class ProofOfAnother : public Driver {
 public:
  using Driver::Driver;

 private:
  void complete(QueueIndex queue, const nvme::CompletionEntry& entry) override {
    auto claim = host_.claim(queue, entry.command_id);
    if (!claim.has_value()) return;
    const auto proof = std::exchange(last_, dma::EndProof::of(*claim));
    if (proof.has_value()) unmap(*claim, *proof);
    finish(*std::move(claim), entry);
  }

  std::optional<dma::EndProof> last_;
};

}  // namespace nvme_ring::broken

#endif
