// SPDX-License-Identifier: BSL-1.0
//
// The driver writes to its RequestData after publishing, when the request may be another I/O.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_TOUCHED_AFTER_PUBLISH_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_TOUCHED_AFTER_PUBLISH_HPP

#include <mutex>

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class TouchedAfterPublish : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  Answer send(Hw& hw, Claim<Rq> claim, const SubmissionEntry& entry, bool is_last) override {
    auto& kept = claim.data().driver_data;
    auto& queue = *hw.data.queue;
    std::unique_lock lock{queue.submission};
    auto published = queue.pair.publish(std::move(claim), entry);
    if (published.has_value() && is_last) queue.pair.ring_doorbell();
    lock.unlock();
    kept.tries = 0;
    if (published.has_value() || !published.error().claim.has_value()) return Answer::accepted();
    Claim<Rq> refused = *std::move(published.error().claim);
    unmap(refused, *blkown::dma::EndProof::of(refused));
    return reject(hw, std::move(refused), blkown::Status::device_resource);
  }
};

}  // namespace broken_mq

#endif
