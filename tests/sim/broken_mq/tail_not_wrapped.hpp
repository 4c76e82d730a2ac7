// SPDX-License-Identifier: BSL-1.0
//
// The tail of a submission queue goes round in the ring, but not in the doorbell: in place of 0 the
// driver writes a value that the queue does not have.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_TAIL_NOT_WRAPPED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_TAIL_NOT_WRAPPED_HPP

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class TailNotWrapped : public VariantDriver {
 public:
  explicit TailNotWrapped(sim::MqHost& host) : VariantDriver{host} {
    registers.forgets_wrap = true;
  }
};

}  // namespace broken_mq

#endif
