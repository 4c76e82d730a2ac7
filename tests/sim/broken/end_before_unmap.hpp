// SPDX-License-Identifier: BSL-1.0
//
// The driver ends the I/O first and unmaps its memory at the next completion.

#ifndef BLKOWN_TESTS_SIM_BROKEN_END_BEFORE_UNMAP_HPP
#define BLKOWN_TESTS_SIM_BROKEN_END_BEFORE_UNMAP_HPP

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class EndBeforeUnmap : public Driver {
 public:
  using Driver::Driver;

 private:
  void complete(QueueIndex queue, const nvme::CompletionEntry& entry) override {
    for (auto& [mapping, proof] : std::exchange(later_, {})) {
      static_cast<void>(std::move(mapping).unmap(proof));
    }
    auto claim = host_.claim(queue, entry.command_id);
    if (!claim.has_value()) return;
    if (auto mapping = std::exchange(claim->data().driver.mapping, std::nullopt)) {
      later_.emplace_back(std::move(*mapping), *dma::EndProof::of(*claim));
    }
    finish(*std::move(claim), entry);
  }

  std::vector<std::pair<dma::ActiveMapping, dma::EndProof>> later_;
};

}  // namespace nvme_ring::broken

#endif
