// SPDX-License-Identifier: BSL-1.0
//
// The driver builds the command with the cookie of the previous publication.

#ifndef BLKOWN_TESTS_SIM_BROKEN_OLD_COOKIE_HPP
#define BLKOWN_TESTS_SIM_BROKEN_OLD_COOKIE_HPP

#include "sim/nvme_driver.hpp"

namespace nvme::broken {

class OldCookie : public DriverOf<OldCookie> {
 public:
  using DriverOf::DriverOf;

 private:
  friend class DriverOf<OldCookie>;

  sim::SubmissionEntry command(Claim<R>& claim) {
    sim::SubmissionEntry entry = DriverOf::command(claim);
    entry.cookie = claim.cookie().value;
    return entry;
  }
};

}  // namespace nvme::broken

#endif
