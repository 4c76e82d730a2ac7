// SPDX-License-Identifier: BSL-1.0
//
// try_from_shared returns the reference as its error, because the mapping is a second reference.
// The driver drops the returned reference.

#ifndef BLKOWN_TESTS_SIM_BROKEN_REFERENCE_DROPPED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_REFERENCE_DROPPED_HPP

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class ReferenceDropped : public Driver {
 public:
  using Driver::Driver;

 private:
  void complete(QueueIndex queue, const nvme::CompletionEntry& entry) override {
    auto reference = host_.tag_to_rq(queue, entry.command_id);
    if (!reference.has_value()) return;
    auto owned = blkown::Owned<R>::try_from_shared(*std::move(reference));
    if (!owned.has_value()) return;
    finish(std::move(*owned).into_claim(), entry);
  }
};

}  // namespace nvme_ring::broken

#endif
