// SPDX-License-Identifier: BSL-1.0
//
// A reset ends all I/Os and drops their mappings without stopping the device.

#ifndef BLKOWN_TESTS_SIM_BROKEN_BUFFERS_REUSED_ON_RESET_HPP
#define BLKOWN_TESTS_SIM_BROKEN_BUFFERS_REUSED_ON_RESET_HPP

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class BuffersReusedOnReset : public Driver {
 public:
  using Driver::Driver;

 private:
  void reset() override {
    for (QueueIndex queue; queue.value != host_.queue_count(); ++queue.value) {
      host_.tags.for_each_in_flight(queue, [&](const ARef<R>& pin, const Cookie& cookie) {
        auto claim = blkown::claim(pin, cookie);
        if (!claim.has_value()) return;
        claim->data().driver.mapping.reset();
        end(*std::move(claim), Status::io_error);
      });
    }
  }
};

}  // namespace nvme_ring::broken

#endif
