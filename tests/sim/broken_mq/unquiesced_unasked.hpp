// SPDX-License-Identifier: BSL-1.0
//
// When the controller has failed, the driver unquiesces a disk that it has not quiesced: it undoes
// the quiesce of another party.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_UNQUIESCED_UNASKED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_UNQUIESCED_UNASKED_HPP

#include "dma_round_trip/nvme.hpp"

namespace round_trip::broken {

class UnquiescedUnasked : public NvmeSteps<UnquiescedUnasked> {
 public:
  using NvmeSteps::NvmeSteps;

  void failed() {
    if (!unasked_.is_running()) disk_->unquiesce(unasked_);
    reset();
  }

 private:
  mq::Control unasked_{{[](void*, mq::Control&) {}, nullptr}};
};

}  // namespace round_trip::broken

#endif
