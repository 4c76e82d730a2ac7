// SPDX-License-Identifier: BSL-1.0
//
// The driver looks up each completion entry twice: first for a pin, then for a Claim.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_COMPLETED_TWICE_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_COMPLETED_TWICE_HPP

#include "sim/broken_mq/variant_driver.hpp"

namespace round_trip::broken {

class CompletedTwice : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  void interrupt(blkown::QueueIndex queue) override {
    Hw& hw = disk_->hw_queue(queue);
    const std::lock_guard lock{hw.data.completion};
    while (const auto entry = hw.data.rings->next_completion()) {
      const auto pin = hw.tag_to_rq(entry->cookie);
      if (!pin.has_value()) continue;
      auto claim = hw.claim(entry->cookie);
      if (!claim.has_value()) continue;
      claim->data().driver_data.result = *entry;
      hw.complete(*std::move(claim));
    }
    controller_.ring_completion(queue.value, hw.data.rings->completion_head());
  }
};

}  // namespace round_trip::broken

#endif
