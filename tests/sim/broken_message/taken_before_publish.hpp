// SPDX-License-Identifier: BSL-1.0
//
// The driver sends the message first and publishes later: the reply finds no I/O in flight.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MESSAGE_TAKEN_BEFORE_PUBLISH_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MESSAGE_TAKEN_BEFORE_PUBLISH_HPP

#include "sim/broken_message/variant_driver.hpp"

namespace message::broken {

class TakenBeforePublish : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  void issue(Claim<R> claim) override {
    const sim::Message message = message_of(claim);
    const auto taken = host_.device.take(claim.queue().value, message);
    if (!taken.has_value()) return refused(std::move(claim));
    std::move(claim).publish([](const Cookie&) {});
  }
};

}  // namespace message::broken

#endif
