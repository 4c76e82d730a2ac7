// SPDX-License-Identifier: BSL-1.0
//
// try_from_shared returns the reference as its error, because the mapping is a second reference.
// The driver drops the returned reference.

#ifndef BLKOWN_TESTS_SIM_BROKEN_REFERENCE_DROPPED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_REFERENCE_DROPPED_HPP

#include "sim/broken/variant_driver.hpp"

namespace nvme::broken {

class ReferenceDropped : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  void complete(QueueIndex queue, const sim::CompletionEntry& entry) override {
    auto reference = host_.tag_to_rq(queue, entry.cookie);
    if (!reference.has_value()) return;
    auto owned = blkown::Owned<R>::try_from_shared(*std::move(reference));
    if (!owned.has_value()) return;
    finish(std::move(*owned).into_claim(), entry);
  }
};

}  // namespace nvme::broken

#endif
