// SPDX-License-Identifier: BSL-1.0
//
// The timeout hook waits for the completion, which may never come.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_TIMEOUT_WAITS_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_TIMEOUT_WAITS_HPP

#include <cstdint>

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class TimeoutWaits : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  mq::TimeoutAction timeout(Hw& hw, const ARef<Rq>&, const Cookie& cookie) override {
    const auto id = static_cast<std::uint16_t>(cookie.value);
    while (!service(*hw.data.queue, Caller::hook, id).has_id) {
    }
    return mq::TimeoutAction::rearm;
  }
};

}  // namespace broken_mq

#endif
