// SPDX-License-Identifier: BSL-1.0
//
// The driver writes to the request's data after publishing, when the request may be another I/O.

#ifndef BLKOWN_TESTS_SIM_BROKEN_TOUCHED_AFTER_PUBLISH_HPP
#define BLKOWN_TESTS_SIM_BROKEN_TOUCHED_AFTER_PUBLISH_HPP

#include "sim/broken/variant_driver.hpp"

namespace nvme::broken {

class TouchedAfterPublish : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  void issue(Claim<R> claim) override {
    if (const auto error = map(claim)) return give_back(std::move(claim), *error);
    const sim::SubmissionEntry entry = command(claim);
    const QueueIndex queue = claim.queue();
    sim::Io<VariantDriver>& io = claim.data();
    auto issued = std::move(claim).publish([&](const Cookie&) {
      return rings_[queue.value].submit(host_.controller, queue.value, entry);
    });
    io.segment_count = 0;
    if (!issued.has_value() && issued.error().claim.has_value()) {
      refused(*std::move(issued.error().claim));
    }
  }
};

}  // namespace nvme::broken

#endif
