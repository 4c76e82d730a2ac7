// SPDX-License-Identifier: BSL-1.0
//
// The driver writes to the request's data after publishing, when the request may be another I/O.

#ifndef BLKOWN_TESTS_SIM_BROKEN_TOUCHED_AFTER_PUBLISH_HPP
#define BLKOWN_TESTS_SIM_BROKEN_TOUCHED_AFTER_PUBLISH_HPP

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class TouchedAfterPublish : public Driver {
 public:
  using Driver::Driver;

 private:
  void send(Claim<R> claim, const SubmissionEntry& entry) override {
    sim::Io<Driver>& io = claim.data();
    Driver::send(std::move(claim), entry);
    io.segment_count = 0;
  }
};

}  // namespace nvme_ring::broken

#endif
