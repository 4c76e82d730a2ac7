// SPDX-License-Identifier: BSL-1.0
//
// The interrupt handler leaves its loop at a completion that the lookup refuses.

#ifndef BLKOWN_TESTS_SIM_BROKEN_STOPPED_AT_REFUSAL_HPP
#define BLKOWN_TESTS_SIM_BROKEN_STOPPED_AT_REFUSAL_HPP

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class StoppedAtRefusal : public Driver {
 public:
  using Driver::Driver;

 private:
  void take_all(QueueIndex queue) override {
    pair_of(queue).poll([&](const nvme::CompletionEntry& entry) {
      auto claim = host_.claim(queue, entry.command_id);
      if (!claim.has_value()) return false;
      unmap(*claim, *dma::EndProof::of(*claim));
      finish(*std::move(claim), entry);
      return true;
    });
  }
};

}  // namespace nvme_ring::broken

#endif
