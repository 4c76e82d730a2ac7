// SPDX-License-Identifier: BSL-1.0
//
// The driver looks up every completion as one of the first queue.

#ifndef BLKOWN_TESTS_SIM_BROKEN_QUEUE_IGNORED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_QUEUE_IGNORED_HPP

#include "sim/broken/variant_driver.hpp"

namespace nvme::broken {

class QueueIgnored : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

 private:
  void complete(QueueIndex, const sim::CompletionEntry& entry) override {
    VariantDriver::complete(QueueIndex{0}, entry);
  }
};

}  // namespace nvme::broken

#endif
