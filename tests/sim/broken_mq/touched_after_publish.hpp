// SPDX-License-Identifier: BSL-1.0
//
// The driver writes to its RequestData after publishing, when the request may be another I/O.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_TOUCHED_AFTER_PUBLISH_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_TOUCHED_AFTER_PUBLISH_HPP

#include <mutex>

#include "sim/broken_mq/variant_driver.hpp"

namespace round_trip::broken {

class TouchedAfterPublish : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  Answer send(Hw& hw, Claim<Rq> claim, const sim::SubmissionEntry& entry) override {
    auto& kept = claim.data().driver_data;
    auto issued = std::move(claim).publish([&](const Cookie&) {
      const std::lock_guard lock{hw.data.submission};
      return hw.data.rings->submit(controller_, hw.index().value, entry);
    });
    kept.tries = 0;
    if (issued.has_value() || !issued.error().claim.has_value()) return Answer::accepted();
    auto back = *std::move(issued.error().claim);
    unmap(back, *dma::EndProof::of(back));
    return reject(std::move(back), Status::device_resource);
  }
};

}  // namespace round_trip::broken

#endif
