// SPDX-License-Identifier: BSL-1.0
//
// A correct driver. Each snippet breaks one rule.

#ifndef BLKOWN_TESTS_COMPILE_FAIL_MQ_DRIVER_HPP
#define BLKOWN_TESTS_COMPILE_FAIL_MQ_DRIVER_HPP

#include <blkown/mq/mq.hpp>
#include <utility>

namespace mq = blkown::mq;

/// The types of a driver and a correct queue_rq. D is the driver.
template <class D>
struct RightDriver {
  struct RequestData {};
  struct HwData {};
  struct QueueData {};
  using Rq = mq::Request<D>;
  mq::Dispatch<D> queue_rq(mq::HwQueue<D>&, QueueData&, blkown::Idle<Rq> idle, bool) {
    std::move(idle).start().end_ok();
    return mq::Dispatch<D>::accepted();
  }
};

#endif
