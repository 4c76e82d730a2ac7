// SPDX-License-Identifier: BSL-1.0
//
// The driver drops the reference that `try_from_shared` returns as its error.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_REFERENCE_DROPPED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_REFERENCE_DROPPED_HPP

#include <span>

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class ReferenceDropped : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  void take(Hw& lookup, std::span<const CompletionEntry> entries, Caller) override {
    for (const CompletionEntry& entry : entries) take(lookup, entry);
  }
  void take(Hw& lookup, const CompletionEntry& entry) {
    auto reference = lookup.tag_to_rq(entry.command_id);
    if (!reference.has_value()) return;
    auto owned = blkown::Owned<Rq>::try_from_shared(*std::move(reference));
    if (owned.has_value()) pass_on(std::move(*owned).into_claim(), entry);
  }
};

}  // namespace broken_mq

#endif
