// SPDX-License-Identifier: BSL-1.0
//
// The driver builds the command with the cookie of the previous publication.

#ifndef BLKOWN_TESTS_SIM_BROKEN_OLD_COOKIE_HPP
#define BLKOWN_TESTS_SIM_BROKEN_OLD_COOKIE_HPP

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class OldCookie : public Driver {
 public:
  using Driver::Driver;

 private:
  void send(Claim<R> claim, const SubmissionEntry& entry) override {
    SubmissionEntry numbered = entry;
    numbered.command_id = static_cast<std::uint16_t>(claim.cookie().value);
    Pair& pair = pair_of(claim.queue());
    auto issued = std::move(claim).publish([&](const Cookie&) { return pair.submit(numbered); });
    if (issued.has_value()) return pair.ring_doorbell();
    if (issued.error().claim.has_value()) refused(*std::move(issued.error().claim));
  }
};

}  // namespace nvme_ring::broken

#endif
