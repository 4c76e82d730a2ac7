// SPDX-License-Identifier: BSL-1.0
//
// The driver ends the I/Os of a lost connection first, and connects again after many refused
// messages: the device still reads the memory of their writes, which the submitter reuses.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MESSAGE_ENDED_BEFORE_RECONNECT_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MESSAGE_ENDED_BEFORE_RECONNECT_HPP

#include "sim/broken_message/variant_driver.hpp"

namespace message::broken {

class EndedBeforeReconnect : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  void failed() override {
    for_each_queue([&](QueueIndex queue) {
      if (host_.device.is_connected(queue.value)) return;
      interrupt(queue);
      host_.tags.for_each_in_flight(queue, [&](const ARef<R>& pin, const Cookie& cookie) {
        auto claim = blkown::claim(pin, cookie);
        if (claim.has_value()) end(*std::move(claim), Status::transport_error);
      });
    });
  }

 private:
  void refused(Claim<R> claim) override {
    const QueueIndex queue = claim.queue();
    const bool is_lost = !host_.device.is_connected(queue.value);
    if (is_lost && ++refused_ % 512 == 0) host_.device.connect(queue.value);
    VariantDriver::refused(std::move(claim));
  }

  unsigned refused_ = 0;
};

}  // namespace message::broken

#endif
