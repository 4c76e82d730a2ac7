// SPDX-License-Identifier: BSL-1.0
//
// The driver handles each completion entry twice.

#ifndef BLKOWN_TESTS_SIM_BROKEN_COMPLETED_TWICE_HPP
#define BLKOWN_TESTS_SIM_BROKEN_COMPLETED_TWICE_HPP

#include "sim/nvme_driver.hpp"

namespace nvme::broken {

class CompletedTwice : public DriverOf<CompletedTwice> {
 public:
  using DriverOf::DriverOf;

 private:
  friend class DriverOf<CompletedTwice>;

  void complete(QueueIndex queue, const sim::CompletionEntry& entry) {
    DriverOf::complete(queue, entry);
    DriverOf::complete(queue, entry);
  }
};

}  // namespace nvme::broken

#endif
