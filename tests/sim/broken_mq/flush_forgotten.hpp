// SPDX-License-Identifier: BSL-1.0
//
// The driver acknowledges a flush at once, without sending it: earlier writes are not durable yet.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_FLUSH_FORGOTTEN_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_FLUSH_FORGOTTEN_HPP

#include "dma_round_trip/nvme.hpp"

namespace round_trip::broken {

class FlushForgotten : public NvmeSteps<FlushForgotten> {
 public:
  using NvmeSteps::NvmeSteps;

  Answer queue_rq(Hw& hw, QueueData& data, Idle<Rq> idle, bool is_last) {
    if (idle.data().op() == mq::Op::flush) {
      std::move(idle).start().end_ok();
      return Answer::accepted();
    }
    return NvmeSteps::queue_rq(hw, data, std::move(idle), is_last);
  }
};

}  // namespace round_trip::broken

#endif
