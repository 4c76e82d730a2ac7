// SPDX-License-Identifier: BSL-1.0
//
// The driver builds the command with the cookie of the previous publication.

#ifndef BLKOWN_TESTS_SIM_BROKEN_OLD_COOKIE_HPP
#define BLKOWN_TESTS_SIM_BROKEN_OLD_COOKIE_HPP

#include "sim/broken/variant_driver.hpp"

namespace nvme::broken {

class OldCookie : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  sim::SubmissionEntry command(const Claim<R>& claim) override {
    sim::SubmissionEntry entry = VariantDriver::command(claim);
    entry.cookie = claim.cookie().value;
    return entry;
  }
};

}  // namespace nvme::broken

#endif
