// SPDX-License-Identifier: BSL-1.0
// The sector of a request that others may have pinned does not change.
// EXPECT(gcc): use of deleted function
// EXPECT(clang): call to deleted function 'set_sector'
#include "driver.hpp"

struct Mine : RightDriver<Mine> {
  mq::Dispatch<Mine> queue_rq(mq::HwQueue<Mine>&, QueueData&, blkown::Idle<Rq> idle, bool) {
#ifdef BLKOWN_WRONG
    auto claim = std::move(idle).start().into_claim();
    mq::set_sector(claim, claim.data().sector() + 8);  // refused
    std::move(claim).end_ok();
#else
    auto owned = std::move(idle).start();
    mq::set_sector(owned, owned.data().sector() + 8);
    std::move(owned).end_ok();
#endif
    return mq::Dispatch<Mine>::accepted();
  }
};
