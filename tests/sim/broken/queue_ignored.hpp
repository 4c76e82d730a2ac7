// SPDX-License-Identifier: BSL-1.0
//
// The driver looks up every completion as one of the first queue.

#ifndef BLKOWN_TESTS_SIM_BROKEN_QUEUE_IGNORED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_QUEUE_IGNORED_HPP

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class QueueIgnored : public Driver {
 public:
  using Driver::Driver;

 private:
  void complete(QueueIndex, const nvme::CompletionEntry& entry) override {
    Driver::complete(QueueIndex{0}, entry);
  }
};

}  // namespace nvme_ring::broken

#endif
