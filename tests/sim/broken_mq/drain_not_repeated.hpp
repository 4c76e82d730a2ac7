// SPDX-License-Identifier: BSL-1.0
//
// The driver drains the stopped device once: memory that cannot be unmapped then is forgotten.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_DRAIN_NOT_REPEATED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_DRAIN_NOT_REPEATED_HPP

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class DrainNotRepeated : public VariantDriver {
 public:
  explicit DrainNotRepeated(sim::MqHost& host) : VariantDriver{host, 1} {}
};

}  // namespace broken_mq

#endif
