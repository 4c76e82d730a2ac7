// SPDX-License-Identifier: BSL-1.0
//
// A command of the driver's own, with a reserved tag, is in flight when the driver stops, and is
// not ended.

#ifndef BLKOWN_TESTS_SIM_BROKEN_COMMAND_LEFT_HPP
#define BLKOWN_TESTS_SIM_BROKEN_COMMAND_LEFT_HPP

#include <utility>

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class CommandLeft : public Driver {
 public:
  using Driver::Driver;

  void stop() override {
    Driver::stop();
    auto idle = host_.tags.allocate_reserved(QueueIndex{0});
    if (!idle.has_value()) std::abort();
    std::move(*idle).start().park();
  }
};

}  // namespace nvme_ring::broken

#endif
