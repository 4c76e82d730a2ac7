// SPDX-License-Identifier: BSL-1.0
//
// The driver drops the completions of a queue that the disk has given up.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_LEFT_QUEUE_IGNORED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_LEFT_QUEUE_IGNORED_HPP

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class LeftQueueIgnored : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  void exit_hctx(Hw& hw, NamespaceInfo& info) override {
    VariantDriver::exit_hctx(hw, info);
    hw.data.queue->hw = nullptr;
  }
};

}  // namespace broken_mq

#endif
