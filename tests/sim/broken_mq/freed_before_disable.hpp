// SPDX-License-Identifier: BSL-1.0
//
// The driver frees its rings before it disables the controller, which has a command left: an abort
// for which the driver does not wait.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_FREED_BEFORE_DISABLE_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_FREED_BEFORE_DISABLE_HPP

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class FreedBeforeDisable : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  [[nodiscard]] bool stop() override {
    owner->abort(1, 0);
    if (!owner->free(controller().device().declare_stopped())) return false;
    platform.pause();
    return VariantDriver::stop();
  }
};

}  // namespace broken_mq

#endif
