// SPDX-License-Identifier: BSL-1.0
//
// The driver rings the doorbell before it publishes: the lookup of a fast completion fails.

#ifndef BLKOWN_TESTS_SIM_BROKEN_ISSUE_BEFORE_PUBLISH_HPP
#define BLKOWN_TESTS_SIM_BROKEN_ISSUE_BEFORE_PUBLISH_HPP

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class IssueBeforePublish : public Driver {
 public:
  using Driver::Driver;

 private:
  void send(Claim<R> claim, const SubmissionEntry& entry) override {
    SubmissionEntry numbered = entry;
    numbered.command_id = static_cast<std::uint16_t>(claim.next_cookie().value);
    Pair& pair = pair_of(claim.queue());
    if (!pair.submit(numbered).has_value()) return refused(std::move(claim));
    pair.ring_doorbell();
    std::move(claim).publish([](const Cookie&) {});
  }
};

}  // namespace nvme_ring::broken

#endif
