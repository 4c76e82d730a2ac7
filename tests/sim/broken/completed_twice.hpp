// SPDX-License-Identifier: BSL-1.0
//
// The driver handles each completion entry twice.

#ifndef BLKOWN_TESTS_SIM_BROKEN_COMPLETED_TWICE_HPP
#define BLKOWN_TESTS_SIM_BROKEN_COMPLETED_TWICE_HPP

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class CompletedTwice : public Driver {
 public:
  using Driver::Driver;

 private:
  void complete(QueueIndex queue, const nvme::CompletionEntry& entry) override {
    Driver::complete(queue, entry);
    Driver::complete(queue, entry);
  }
};

}  // namespace nvme_ring::broken

#endif
