// SPDX-License-Identifier: BSL-1.0
// A rejection consumes the handle, so an ended request cannot be rejected.
// EXPECT(gcc): no diagnostic
// EXPECT(clang): argument not in expected state; expected 'unconsumed', observed 'consumed'
#include "driver.hpp"

struct Mine : RightDriver<Mine> {
  mq::Dispatch<Mine> queue_rq(mq::HwQueue<Mine>&, QueueData&, blkown::Idle<Rq> idle, bool) {
    auto owned = std::move(idle).start();
#ifdef BLKOWN_WRONG
    std::move(owned).end_ok();
    return mq::Dispatch<Mine>::rejected(std::move(owned), blkown::Status::io_error);  // refused
#else
    return mq::Dispatch<Mine>::rejected(std::move(owned), blkown::Status::io_error);
#endif
  }
};
