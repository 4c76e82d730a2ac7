// SPDX-License-Identifier: BSL-1.0
//
// The driver drains memory that could not be unmapped with the proof of a stop that it has only
// declared: the device still runs.

#ifndef BLKOWN_TESTS_SIM_BROKEN_DRAINED_WITHOUT_STOP_HPP
#define BLKOWN_TESTS_SIM_BROKEN_DRAINED_WITHOUT_STOP_HPP

#include <utility>

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class DrainedWithoutStop : public Driver {
 public:
  using Driver::Driver;

 private:
  void note_quarantine() override { is_drain_due_ = true; }
  void complete(QueueIndex queue, const nvme::CompletionEntry& entry) override {
    if (std::exchange(is_drain_due_, false)) {
      host_.device.drain(host_.device.declare_stopped());
    }
    Driver::complete(queue, entry);
  }

  bool is_drain_due_ = false;
};

}  // namespace nvme_ring::broken

#endif
