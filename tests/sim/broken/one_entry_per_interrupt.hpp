// SPDX-License-Identifier: BSL-1.0
//
// The interrupt handler takes one entry, as if each entry had an interrupt of its own.

#ifndef BLKOWN_TESTS_SIM_BROKEN_ONE_ENTRY_PER_INTERRUPT_HPP
#define BLKOWN_TESTS_SIM_BROKEN_ONE_ENTRY_PER_INTERRUPT_HPP

#include "sim/nvme_ring_driver.hpp"

namespace nvme_ring::broken {

class OneEntryPerInterrupt : public Driver {
 public:
  using Driver::Driver;

 private:
  void take_all(QueueIndex queue) override {
    pair_of(queue).poll([&](const nvme::CompletionEntry& entry) {
      complete(queue, entry);
      return false;
    });
  }
};

}  // namespace nvme_ring::broken

#endif
