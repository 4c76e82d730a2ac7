// SPDX-License-Identifier: BSL-1.0
//
// The driver ends an I/O on its timeout, and leaves the command at the device. A later reset of the
// zone overtakes the write.

#ifndef BLKOWN_TESTS_SIM_BROKEN_ZONED_ENDED_ON_TIMEOUT_HPP
#define BLKOWN_TESTS_SIM_BROKEN_ZONED_ENDED_ON_TIMEOUT_HPP

#include <utility>

#include "sim/zoned_driver.hpp"

namespace zoned {

class EndedOnTimeout : public Driver {
 public:
  using Driver::Driver;

  mq::TimeoutAction timeout(Hw&, const blkown::ARef<Rq>& pin,
                            const blkown::Cookie& cookie) override {
    auto claim = blkown::claim(pin, cookie);
    if (!claim.has_value()) return mq::TimeoutAction::rearm;
    end(*std::move(claim), Status::timed_out);
    return mq::TimeoutAction::handled;
  }
};

}  // namespace zoned

#endif
