// SPDX-License-Identifier: BSL-1.0
//
// The driver takes completions and never rings the doorbell of the completion queue, which
// becomes full.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_COMPLETION_DOORBELL_FORGOTTEN_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_COMPLETION_DOORBELL_FORGOTTEN_HPP

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class CompletionDoorbellForgotten : public VariantDriver {
 public:
  explicit CompletionDoorbellForgotten(sim::MqHost& host) : VariantDriver{host} {
    registers.forgets_completion_doorbells = true;
  }
};

}  // namespace broken_mq

#endif
