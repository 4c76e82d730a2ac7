// SPDX-License-Identifier: BSL-1.0
//
// The driver acknowledges a flush at once, without sending it: earlier writes are not durable yet.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_FLUSH_FORGOTTEN_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_FLUSH_FORGOTTEN_HPP

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class FlushForgotten : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  Answer queue_rq(Hw& hw, const NamespaceInfo& info, Idle<Rq> idle, bool is_last) override {
    if (idle.data().op() == mq::Op::flush) {
      std::move(idle).start().end_ok();
      return Answer::accepted();
    }
    return VariantDriver::queue_rq(hw, info, std::move(idle), is_last);
  }
};

}  // namespace broken_mq

#endif
