// SPDX-License-Identifier: BSL-1.0
//
// The driver requeues a short transfer with its memory still mapped.

#ifndef BLKOWN_TESTS_SIM_BROKEN_REQUEUED_WHILE_MAPPED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_REQUEUED_WHILE_MAPPED_HPP

#include "sim/broken/variant_driver.hpp"

namespace nvme::broken {

class RequeuedWhileMapped : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  void complete(QueueIndex queue, const sim::CompletionEntry& entry) override {
    auto claim = host_.claim(queue, entry.cookie);
    if (!claim.has_value()) return;
    const bool is_short = entry.transferred_bytes != claim->data().length_bytes();
    if (is_short && claim->data().segment_count != 0) return std::move(*claim).requeue();
    unmap(*claim, *dma::EndProof::of(*claim));
    finish(*std::move(claim), entry);
  }
};

}  // namespace nvme::broken

#endif
