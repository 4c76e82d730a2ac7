// SPDX-License-Identifier: BSL-1.0
//
// The driver lets the disk issue again after each timeout, although it has not quiesced the disk:
// another party may have done so.

#ifndef BLKOWN_TESTS_SIM_BROKEN_ZONED_UNQUIESCED_UNASKED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_ZONED_UNQUIESCED_UNASKED_HPP

#include "sim/zoned_driver.hpp"

namespace zoned {

class UnquiescedUnasked : public Driver {
 public:
  using Driver::Driver;

  mq::TimeoutAction timeout(Hw& hw, const blkown::ARef<Rq>& pin,
                            const blkown::Cookie& cookie) override {
    if (!unasked_.is_running()) hw.disk().unquiesce(unasked_);
    return Driver::timeout(hw, pin, cookie);
  }

 private:
  mq::Control unasked_{{[](void*, mq::Control&) {}, nullptr}};
};

}  // namespace zoned

#endif
