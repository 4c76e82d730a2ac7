// SPDX-License-Identifier: BSL-1.0
//
// The driver drops the reference that `try_from_shared` returns as its error.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_REFERENCE_DROPPED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_REFERENCE_DROPPED_HPP

#include "sim/broken_mq/variant_driver.hpp"

namespace round_trip::broken {

class ReferenceDropped : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  void interrupt(blkown::QueueIndex queue) override {
    Hw& hw = disk_->hw_queue(queue);
    const std::lock_guard lock{hw.data.completion};
    while (const auto entry = hw.data.rings->next_completion()) {
      auto reference = hw.tag_to_rq(entry->cookie);
      if (!reference.has_value()) continue;
      auto owned = blkown::Owned<Rq>::try_from_shared(*std::move(reference));
      if (!owned.has_value()) continue;
      auto claim = std::move(*owned).into_claim();
      claim.data().driver_data.result = *entry;
      hw.complete(std::move(claim));
    }
    controller_.ring_completion(queue.value, hw.data.rings->completion_head());
  }
};

}  // namespace round_trip::broken

#endif
