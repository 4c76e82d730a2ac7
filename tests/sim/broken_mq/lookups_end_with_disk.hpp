// SPDX-License-Identifier: BSL-1.0
//
// When one disk goes, the driver looks up no completion of the queues that the others share with
// it.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_LOOKUPS_END_WITH_DISK_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_LOOKUPS_END_WITH_DISK_HPP

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class LookupsEndWithDisk : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  void exit_hctx(Hw& hw, NamespaceInfo& info) override {
    VariantDriver::exit_hctx(hw, info);
    if (hw.index().value == 0) hw.data.queue->hw = nullptr;
  }
};

}  // namespace broken_mq

#endif
