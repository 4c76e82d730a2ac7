// SPDX-License-Identifier: BSL-1.0
//
// The driver requeues an I/O that has failed with its memory still mapped.

#ifndef BLKOWN_TESTS_SIM_BROKEN_REQUEUED_WHILE_MAPPED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_REQUEUED_WHILE_MAPPED_HPP

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class RequeuedWhileMapped : public Driver {
 public:
  using Driver::Driver;

 private:
  void complete(QueueIndex queue, const nvme::CompletionEntry& entry) override {
    auto claim = host_.claim(queue, entry.command_id);
    if (!claim.has_value()) return;
    const nvme::StatusField status = entry.status();
    const bool may_retry = !status.is_success() && !status.do_not_retry();
    if (may_retry && claim->data().driver.tries++ < 8) return std::move(*claim).requeue();
    unmap(*claim, *dma::EndProof::of(*claim));
    finish(*std::move(claim), entry);
  }
};

}  // namespace nvme_ring::broken

#endif
