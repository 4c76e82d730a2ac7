// SPDX-License-Identifier: BSL-1.0
//
// A timeout ends the I/O without an abort, while the device still executes it.

#ifndef BLKOWN_TESTS_SIM_BROKEN_ENDED_ON_TIMEOUT_HPP
#define BLKOWN_TESTS_SIM_BROKEN_ENDED_ON_TIMEOUT_HPP

#include "sim/broken/variant_driver.hpp"

namespace nvme::broken {

class EndedOnTimeout : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  void timeout(const ARef<R>& pin, const Cookie& cookie) override {
    auto claim = blkown::claim(pin, cookie);
    if (claim.has_value()) end(*std::move(claim), Status::timed_out);
  }
};

}  // namespace nvme::broken

#endif
